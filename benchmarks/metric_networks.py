"""I3D and Inception-v3, as FVD and FID use them, beside the same networks in PyTorch, on this CPU; and their memory.

    python benchmarks/metric_networks.py [--threads=2] [--repeats=7] [--only=i3d|inception] [--memory=64]

Random weights, float32, one window of 16 x 224 x 224 or four pictures of 299 x 299, alternating in one run. PyTorch
runs in its own layout of memory and with channels last, and the faster one counts. Memory is the peak of a process of
its own that streams --memory inputs of 256 x 160, and of one that streams four times as many. Prints medians and, last
of every line, PyTorch's time over ours (above 1: we are faster).
"""

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import clock
import numpy as np
from absl import flags

from gid_jax import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("threads", os.cpu_count() or 1, "threads of PyTorch (XLA takes every core)", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 7, "timed runs of each", flag_values=FLAGS)
flags.DEFINE_string("only", None, "the one network to run", flag_values=FLAGS)
flags.DEFINE_integer("memory", 64, "inputs streamed for the peak of memory; 0 leaves it out", flag_values=FLAGS)

SHAPES = {"i3d": (1, 16, 224, 224, 3), "inception": (4, 299, 299, 3)}
UNITS = {"i3d": "windows", "inception": "pictures"}


def ours(name: str, x: np.ndarray) -> Callable[[], None]:
    import jax

    from gid_jax.metrics.networks import ENTRIES

    network = ENTRIES[{"i3d": "i3d-kinetics400", "inception": "fid-inception"}[name]].network
    params = network.init(jax.random.key(0))
    run = jax.jit(lambda params, x: network.bind(params)(x))
    return lambda: run(params, x).block_until_ready()


def torchs(name: str, x: np.ndarray, channels_last: bool) -> Callable[[], None]:
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "models"))
    import feature_networks as theirs

    torch.set_num_threads(FLAGS.threads)
    network = theirs.randomise(theirs.I3D(400, 1e-3, 2) if name == "i3d" else theirs.Inception())
    given = torch.from_numpy(x).movedim(-1, 1).contiguous()
    if channels_last:
        layout = torch.channels_last_3d if name == "i3d" else torch.channels_last
        network, given = network.to(memory_format=layout), given.to(memory_format=layout)

    def run() -> None:
        with torch.inference_mode():
            network(given)

    return run


def speed(name: str) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, SHAPES[name]).astype(np.float32)
    contestants = {"jax": ours(name, x), "torch": torchs(name, x, False), "channels last": torchs(name, x, True)}
    times = clock.in_turn(contestants, FLAGS.repeats, warm_up=2)
    medians = {contestant: statistics.median(found) / len(x) for contestant, found in times.items()}
    best = min(medians["torch"], medians["channels last"])
    rates = ", ".join(f"{contestant} {1 / median:.2f}" for contestant, median in medians.items())
    print(f"{name}, {UNITS[name]}/s: {rates}, ratio {best / medians['jax']:.2f}", flush=True)


def peak(name: str, count: int) -> float:
    """GiB of this process after streaming `count` inputs through the metric's own function, with random weights."""
    import jax
    from safetensors.numpy import save_file

    from gid_jax.metrics import i3d, inception
    from gid_jax.metrics.networks import ENTRIES
    from gid_jax.trees import path_name

    metric, shape = (i3d, (16, 160, 256, 3)) if name == "i3d" else (inception, (160, 256, 3))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GID_JAX_CACHE"] = folder
        leaves = jax.tree_util.tree_leaves_with_path(ENTRIES[metric.NAME].network.init(jax.random.key(0)))
        arrays = {path_name(path): np.asarray(leaf) for path, leaf in leaves}
        save_file(arrays, Path(folder) / f"{metric.NAME}.safetensors", {"network": metric.NAME})
        rng = np.random.default_rng(0)
        inputs = (rng.integers(0, 256, shape, np.uint8) for _ in range(count))
        assert sum(1 for _ in metric.Features()(inputs)) == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(arguments: list[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    for name in SHAPES:
        if FLAGS.only not in (None, name):
            continue
        for count in (FLAGS.memory, 4 * FLAGS.memory) if FLAGS.memory else ():
            with spawn.Pool(1) as pool:
                print(f"{name}: {count} {UNITS[name]}, peak {pool.apply(peak, (name, count)):.2f} GiB", flush=True)
        speed(name)


if __name__ == "__main__":
    cli.run(main, FLAGS)
