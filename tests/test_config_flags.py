"""Configurations: the project's own from anywhere, others by their path, one line for what is wrong with them."""

import os
from pathlib import Path

import pytest
from ml_collections import config_flags

from gid_jax import cli
from gid_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def parse(*arguments, default=""):
    argv = ["program", *arguments]
    values = cli.ConfigFlags(default)
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=argv)
    values(argv)
    return values.config


def write(text):
    Path("mine.py").write_text(text)
    return "--config=mine.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["vae", "denoiser", "coordinated", "renderer", "volume", "data", "eval"])
def test_presets_are_found_from_anywhere(name):
    assert (
        parse(f"--config=configs/{name}.py:demo").to_dict() == parse("--config", f"./configs/{name}.py:demo").to_dict()
    )
    assert parse("--config.seed=3", default="configs/eval.py:demo").seed == 3
    assert len(cli.from_file("configs/sweeps/ablation.py:test", "get_points")) > 3


def test_a_file_that_is_here_comes_first():
    os.mkdir("configs")
    Path("configs/vae.py").write_text(
        "from ml_collections import ConfigDict\ndef get_config(p):\n    return ConfigDict({'p': p})"
    )
    assert parse("--config=configs/vae.py:mine").p == "mine"
    assert parse(f"--config={ROOT}/configs/vae.py:test", "--config.mesh.data=4").mesh.data == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", r"--config=mine.py: SyntaxError: invalid syntax \(mine.py, line 1\)"),
        ("\n\nimport nothere", "--config=mine.py: ModuleNotFoundError in line 3: No module named 'nothere'"),
        ("def get_config():\n    return {}[3]", "--config=mine.py: KeyError in line 2: 3"),
        ("x = 1", r"--config=mine.py: has no function get_config\(preset\)"),
        ("def get_config(): return {}", "--config=mine.py: get_config returns dict, not a ConfigDict"),
        ("def get_config(): pass", "--config=mine.py: get_config returns NoneType"),
        ("raise SystemExit(0)", "--config=mine.py: SystemExit in line 1"),
        ("def get_config(): raise ValueError('a\\nb')", "--config=mine.py: ValueError in line 1"),
    ],
)
def test_a_broken_configuration_is_one_line(text, message):
    with pytest.raises(UserError, match=message):
        parse(write(text))


@pytest.mark.parametrize("name", ["", "absent.py", "configs/absent.py", ".", "configs"])
def test_a_missing_configuration_names_those_there_are(name):
    with pytest.raises(
        UserError, match=f"--config={name}: no such configuration file; configs has coordinated, data, "
    ):
        parse(f"--config={name}")
    with pytest.raises(UserError, match="no such sweep; configs/sweeps has ablation, learning_rate, table2"):
        cli.from_file(name, "get_points")


def test_a_generator_that_fails_is_one_line():
    write("def get_points(preset):\n    yield 1\n    yield preset + 1")
    with pytest.raises(UserError, match=r"--config=mine\.py:x: TypeError in line 3"):
        cli.from_file("mine.py:x", "get_points")


@pytest.mark.parametrize("override", ["nope", "model.nope", "seed.nope", "model.multipliers[9]", "", "seed."])
def test_a_setting_that_does_not_exist_is_one_line(override):
    with pytest.raises(UserError, match="no such setting in the configuration: "):
        parse("--config=configs/vae.py:test", f"--config.{override}=3")
