"""Two and four real processes on loopback, four devices in all: the same losses as one process, exact resume."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from gid_jax.checkpoints.checkpoint import newest_step

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "--config=configs/renderer.py:test",
    "--config.model.decoder_channels=(8,)",
    "--config.augment=False",
    "--config.eval_batches=1",
    "--config.log_every=1",
    "--config.checkpoint_every=3",
    "--config.images_every=6",
    "--config.mesh.fsdp=2",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("processes")
    tiny.write_dataset(root / "data")
    return root


def start(place, workdir, num_steps, processes):
    """The processes of one job with four devices in all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gid_jax.train", *SETTINGS, f"--workdir={place / workdir}"]
    command += [f"--config.data_dir={place / 'data'}", f"--config.num_steps={num_steps}"]
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(4 // processes),
        "JAX_COMPILATION_CACHE_DIR": str(place / f"cache{processes}"),
    }
    running = []
    for index in range(processes):
        flags = [f"--coordinator={address}", f"--num_processes={processes}", f"--process_id={index}"]
        running.append(
            subprocess.Popen(
                command + (flags if processes > 1 else []),
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return running


def train(place, workdir, num_steps, processes):
    """Runs to the end and returns the losses by step."""
    running = start(place, workdir, num_steps, processes)
    try:
        outputs = [process.communicate(timeout=400)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * processes, "\n".join(outputs)
    records = [json.loads(line) for line in (place / workdir / "metrics.jsonl").read_text().splitlines()]
    return {(record["split"], record["step"]): record["loss"] for record in records}


@pytest.mark.slow
def test_two_processes_resume_exactly_and_agree_with_one(place):
    straight = train(place, "straight", 6, processes=2)
    train(place, "broken", 3, processes=2)
    resumed = train(place, "broken", 6, processes=2)
    first, second = tiny.saved_leaves(place / "straight", 6), tiny.saved_leaves(place / "broken", 6)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert straight.items() <= resumed.items()
    alone = train(place, "alone", 6, processes=1)
    np.testing.assert_allclose([alone[key] for key in straight], list(straight.values()), atol=1e-5)
    for step in (0, 6):
        pictures = [
            np.asarray(Image.open(place / name / f"images/frames-000000{step}.png"), int)
            for name in ("straight", "alone")
        ]
        assert np.abs(pictures[0] - pictures[1]).mean() < 0.5


@pytest.mark.slow
def test_ctrl_c_in_one_process_saves_and_ends_both(place):
    name = "run [1]*?"  # which Orbax, left alone, could not read again
    running = start(place, name, 100_000, processes=2)
    metrics, deadline = place / name / "metrics.jsonl", time.monotonic() + 300
    while not metrics.exists() or metrics.read_text().count("\n") < 2:
        assert time.monotonic() < deadline and all(process.poll() is None for process in running)
        time.sleep(0.02)
    running[1].send_signal(signal.SIGINT)
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [143, 130], "\n".join(outputs)
    done = newest_step(str(place / name))
    assert f"the same command goes on from what is saved, {done} steps of" in outputs[0]
    assert ("train", done + 2) in train(place, name, done + 2, processes=2)


@pytest.mark.slow
def test_two_processes_go_on_where_four_were_killed(place):
    running = start(place, "killed", 6, processes=4)
    metrics, deadline = place / "killed" / "metrics.jsonl", time.monotonic() + 300
    while not metrics.exists() or metrics.read_text().count("\n") < 4:  # past the save at step 3
        assert time.monotonic() < deadline and all(process.poll() is None for process in running)
        time.sleep(0.02)
    for process in running:
        process.kill()
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [-signal.SIGKILL] * 4, "\n".join(outputs)
    resumed = train(place, "killed", 6, processes=2)
    alone = train(place, "one", 6, processes=1)
    assert resumed.keys() == alone.keys()
    np.testing.assert_allclose([resumed[key] for key in alone], list(alone.values()), atol=1e-5)
