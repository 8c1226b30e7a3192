"""The command itself, in processes of their own: killed and continued, finished, refused."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from gid_jax.checkpoints.checkpoint import newest_step

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--config.model.decoder_channels=(8,)", "--config.augment=False", "--config.eval_batches=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set in `data` and a compilation cache that the processes share."""
    root = tmp_path_factory.mktemp("train")
    tiny.write_dataset(root / "data")
    return root


def start(place, workdir, *settings, config="configs/renderer.py:test"):
    arguments = (f"--config={config}", f"--workdir={place / workdir}", f"--config.data_dir={place / 'data'}")
    return subprocess.Popen(
        [sys.executable, "-m", "gid_jax.train", *arguments, *settings],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(place / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(place):
    settings = (*SMALL, "--config.num_steps=60", "--config.checkpoint_every=7", "--config.log_every=1")
    assert finish(start(place, "straight", *settings))[0] == 0
    for kill in range(2):
        process = start(place, "killed", *settings)
        wait_for_steps(place / "killed" / "metrics.jsonl", random.Random(kill).randint(5, 25) + 25 * kill, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, out, err = finish(start(place, "killed", *settings))
    assert code == 0 and "finished, 60 steps of 60" in out, err
    straight, killed = tiny.saved_leaves(place / "straight", 60), tiny.saved_leaves(place / "killed", 60)
    assert straight.keys() == killed.keys()
    for path in straight:
        np.testing.assert_array_equal(straight[path], killed[path], err_msg=path)


def wait_for_steps(path, count, process):
    while process.poll() is None and (not path.exists() or len(path.read_text().splitlines()) < count):
        time.sleep(0.01)
    assert process.poll() is None, "ended before it could be killed"


def test_a_finished_run_says_so_and_another_architecture_is_refused(place):
    settings = (*SMALL, "--config.num_steps=2")
    code, out, err = finish(start(place, "short", *settings))
    assert code == 0 and "finished, 2 steps of 2" in out, err
    again = start(place, "short", *settings)
    other = start(place, "short", *settings, "--config.model.width=16")
    code, out, _ = finish(again)
    assert code == 0 and "2 steps of 2 are done" in out
    code, _, err = finish(other)
    assert code == 2 and "the run there has model.width = 8, this configuration 16" in err


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        ("configs/vae.py:test", ("--config.model.depth=3",), "'depth'"),
        ("configs/vae.py:huge", (), "unknown preset 'huge'"),
        ("configs/vae.py:test", ("--config.data_dir=nowhere",), "nowhere"),
        ("configs/vae.py:test", ("--resume=must",), "--resume=must: no checkpoint in --workdir="),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(place, config, settings, message):
    code, _, err = finish(start(place, "bad", *settings, config=config))
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2 and len(lines) == 1 and message in lines[0], err
    assert not (place / "bad").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_with_its_own_code(place, number):
    settings = (*SMALL, "--config.num_steps=100000", "--config.log_every=1", "--config.checkpoint_every=100000")
    workdir = f"stopped [{number}]*?%"
    process = start(place, workdir, *settings)
    wait_for_steps(place / workdir / "metrics.jsonl", 3, process)
    process.send_signal(number)
    code, out, err = finish(process)
    step = newest_step(str(place / workdir))
    assert code == 128 + number and step >= 3, err
    assert f"stopped on request; the same command goes on from what is saved, {step} steps of" in out
