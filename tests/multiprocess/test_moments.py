"""Four real processes on loopback, each with the moments of its share of the features: the FID of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gid_jax.metrics import distances

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 4
SCRIPT = """
import json, pickle, sys
import jax, numpy as np
from jax.experimental import multihost_utils
from gid_jax.metrics import distances
from gid_jax.metrics.frechet import Moments

address, index, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(address, 4, index)
merged = []
for name in ("real", "fake"):
    features = np.load(f"{folder}/{name}.npy")
    own = pickle.dumps(Moments.of(np.array_split(features, 4)[index]))  # as bytes: arrays would arrive in float32
    shares = multihost_utils.process_allgather(np.frombuffer(own, np.uint8))
    merged.append(sum(map(pickle.loads, map(bytes, shares[1:])), pickle.loads(bytes(shares[0]))))
print(json.dumps({"count": merged[0].count, "fid": distances.fid(*merged)}))
"""


@pytest.mark.slow
def test_four_processes_have_the_fid_of_one(tmp_path):
    random = np.random.default_rng(0)
    sets = {"real": random.normal(size=(402, 96)), "fake": 0.3 + 1.2 * random.normal(size=(311, 96))}
    for name, features in sets.items():
        np.save(tmp_path / f"{name}.npy", features)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(index), str(tmp_path)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        for index in range(PROCESSES)
    ]  # fmt: skip
    said = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in running]
    assert all(entry["count"] == 402 for entry in said)
    alone = distances.fid(sets["real"], sets["fake"])
    np.testing.assert_allclose([entry["fid"] for entry in said], alone, rtol=1e-9)
