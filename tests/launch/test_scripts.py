"""The scripts that people run: their usage and nothing else, or one line about what they do not know."""

import os
import subprocess
from pathlib import Path

import pytest

import launch

FOLDER = Path(launch.__file__).parent


def run(name: str, *arguments: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess:
    environment = os.environ | {"VENV": "/nowhere", "PYTHON": "/nowhere/python", "PATH": "/usr/bin:/bin"}
    command = ["bash", str(Path(os.path.relpath(FOLDER, cwd)) / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=cwd, env=environment)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.sh") if path.name != "usage.sh"))
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_the_usage_and_nothing_else(name, flag, tmp_path):
    done = run(name, flag, cwd=tmp_path)
    comment = [line for line in (FOLDER / name).read_text().splitlines()[1:] if line.startswith("#")]
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[0] == comment[0].removeprefix("# ")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("quickstart.sh", "--nonsense"),
        ("quickstart.sh", "a", "b"),
        ("train_demo.sh", "-x"),
        ("setup.sh", "--upgrade"),
        ("setup.sh", "nonsense"),
        ("setup.sh", "test", "dev"),
        ("tpu_train.sh", "--nonsense"),
    ],
)
def test_what_a_script_does_not_know_is_one_line(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert not os.listdir(tmp_path)
