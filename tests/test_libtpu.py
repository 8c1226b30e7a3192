"""libtpu is left alone where there is no TPU, unless the user or preflight asks for it."""

import importlib.util
import os
import subprocess
import sys

import pytest

from gid_jax import libtpu

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("TPU_", "JAX_"))}
PROGRAM = """
import sys
{first}
from gid_jax import cli
from absl import flags
def main(arguments):
    import jax
    print(jax.devices()[0].platform)
cli.run(main, flags.FlagValues())
"""


@pytest.fixture
def environment(monkeypatch):
    """Without what names platforms or TPUs, on a machine without a TPU, with libtpu."""
    for name in os.environ.keys() - CLEAN.keys():
        monkeypatch.delenv(name)
    monkeypatch.setattr(libtpu, "_may_have_tpu", lambda: False)
    spec = importlib.util.spec_from_file_location("libtpu", "/packages/libtpu/__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    yield monkeypatch
    os.environ.pop("TPU_LIBRARY_PATH", None)


@pytest.mark.skipif(libtpu._may_have_tpu(), reason="this machine may have a TPU")
@pytest.mark.parametrize("first", ["", "import jax"])
def test_a_command_says_nothing_of_tpus(first):
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install -e .[test]")
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    done = subprocess.run(command, env={**CLEAN, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cpu\n", "")


def test_what_jax_sets_itself_is_no_wish(environment):
    environment.setenv("TPU_LIBRARY_PATH", "/packages/libtpu/libtpu.so")
    environment.setenv("TPU_SKIP_MDS_QUERY", "1")
    libtpu.leave_alone()
    assert os.environ["TPU_LIBRARY_PATH"] == libtpu.NOT_A_LIBRARY
    libtpu.ask()
    assert "TPU_LIBRARY_PATH" not in os.environ


@pytest.mark.parametrize(
    ("name", "value"),
    [("JAX_PLATFORMS", "tpu"), ("TPU_LIBRARY_PATH", "/my/libtpu.so"), ("TPU_NAME", "fir"), ("JAX_FORCE_TPU_INIT", "1")],
)
def test_the_wishes_of_the_user_count(environment, name, value):
    environment.setenv(name, value)
    libtpu.leave_alone()
    assert os.environ.get("TPU_LIBRARY_PATH") == (value if name == "TPU_LIBRARY_PATH" else None)


def test_a_machine_with_a_tpu_is_as_ever(environment):
    environment.setattr(libtpu, "_may_have_tpu", lambda: True)
    libtpu.leave_alone()
    assert "TPU_LIBRARY_PATH" not in os.environ
