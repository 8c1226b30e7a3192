"""The benchmark of an accelerator: one part's end is not the others', nothing takes longer than it may."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def accelerator():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import accelerator

        yield accelerator


def works(setting, tell):
    tell({"preset": setting.preset})


def runs_out_of_memory(setting, tell):
    tell({"steps/s": 2.0})
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nwhile trying to allocate 90 GiB")


def is_killed(setting, tell):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(setting, tell):
    time.sleep(600)


def test_a_part_that_fails_keeps_its_figures_and_ends_no_other(accelerator):
    parts = {"memory": (runs_out_of_memory, 60), "killed": (is_killed, 60), "works": (works, 60)}
    found = accelerator.measure_all(parts, accelerator.Setting("test"), 180)
    message = "RuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 90 GiB"
    assert found == {
        "memory": {"steps/s": 2.0, "failed": message},
        "killed": {"failed": "its process ended with exit code -9"},
        "works": {"preset": "test"},
    }


def test_a_part_that_hangs_is_ended_and_what_no_longer_fits_is_skipped(accelerator, capsys):
    parts = {"hangs": (hangs, 2), "late": (works, 60)}
    found = accelerator.measure_all(parts, accelerator.Setting("test"), accelerator.LEAST + 1)
    assert found["hangs"] == {"failed": "ended after 2 s, its limit"}
    assert found["late"]["skipped"].startswith("of 16 s only")
    assert not multiprocessing.active_children()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["hangs", "late"]


def test_the_roofline_is_the_longer_of_operations_and_bytes(accelerator):
    card = accelerator.CARDS["NVIDIA H100 80GB HBM3"]
    assert card.seconds(989e12, 1, "bf16") == card.seconds(495e12, 1, "tf32") == card.seconds(1, 3.35e12, "fp32") == 1
    setting = accelerator.Setting("paper", card)
    found = accelerator.against_roofline(setting, 4.0, 989e12, 3.35e12 / 2, "bf16")
    assert found["of roofline"] == 0.25 and found["roofline, ms"] == 1000


@pytest.mark.parametrize(("gibibytes", "volumes"), [(None, 1), (17.0, 1), (29.6, 2), (59.2, 4), (105.0, 4)])
def test_a_training_step_takes_as_many_volumes_as_fit(accelerator, gibibytes, volumes):
    assert accelerator.Setting("paper", gibibytes=gibibytes).volumes == volumes


def test_pytorch_that_sees_another_card_is_not_compared(accelerator):
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    told = []
    accelerator.pytorch(accelerator.Setting("test", accelerator.CARDS["NVIDIA H200"]), told.append)
    assert len(told) == 1 and "sees" in told[0]["skipped"]


@pytest.mark.slow
def test_every_part_runs_at_preset_test():
    command = [sys.executable, str(ROOT / "benchmarks" / "accelerator.py"), "--preset=test"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["card"]["source"] == "measured" and found["jax"] == jax.__version__
    skipped = {name for name, figures in found["parts"].items() if "skipped" in figures}
    assert skipped <= {"pytorch"}
    for name, figures in found["parts"].items():
        assert "failed" not in figures, (name, figures)
        rates = [value for key, value in figures.items() if key.endswith("/s") or key.endswith(", ms")]
        assert name in skipped or (rates and all(rate > 0 for rate in rates)), name
