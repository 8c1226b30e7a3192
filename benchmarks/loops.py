"""Loops three ways, on pictures that the demo bundle was not trained on.

    python benchmarks/loops.py [--pictures=20] [--steps=25] [--methods=closed,latents,network] [--shared=../shared]

Half of the pictures are procedural, half first frames of the paper's page clips that training never saw (all procedural
where `--shared` is absent). Printed for each method, means over pictures (and the worst): wrap jump; the change of
velocity across the seam, over the mean step; the largest change of a band's amplitude against the unguided sample; the
correlation of its motion map with the unguided one's; processor seconds a picture. Last, as JSON, the same.
"""

import itertools
import json
import time
from pathlib import Path

import numpy as np
from absl import flags

from data_pipeline.procedural import render_clip
from data_pipeline.video import read_frames
from gid_jax import cli
from gid_jax.inference import command, generate
from gid_jax.inference.bundle import Bundle, load_bundle
from gid_jax.metrics.motion import amplitude_error_db, map_correlation, wrap_jump
from gid_jax.motion import loops
from gid_jax.motion.spectrum import PERIOD, to_trajectories

FLAGS = flags.FlagValues()
flags.DEFINE_integer("pictures", 20, "how many pictures", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_integer("steps", 25, "DDIM steps", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list("methods", list(generate.LOOPS), "of --loop_method", flag_values=FLAGS)
flags.DEFINE_string("shared", "../shared", "folder of the page clips", flag_values=FLAGS)

UNSEEN = "fern", "rose", "cloth", "leaves_close", "tree_0"


def pictures(count: int, width: int, height: int, shared: Path) -> list[np.ndarray]:
    """float32 [h, w, 3] in [0, 1]."""
    clips = sorted(path for name in UNSEEN for path in (shared / "clips").glob(f"{name}*.mp4"))[: count // 2]
    real = [next(iter(read_frames(path, fps=30, width=width, height=height))) for path in clips]
    made = [
        render_clip(50_000 + seed, width=width, height=height, num_frames=1).frames[0]
        for seed in range(count - len(real))
    ]
    return [np.asarray(picture, np.float32) / 255 for picture in itertools.chain(real, made)]


def figures(spectrum: np.ndarray, free: np.ndarray, seconds: float) -> dict[str, float]:
    moved, unguided = (np.asarray(to_trajectories(volume, PERIOD)) for volume in (spectrum, free))
    steps = np.diff(np.concatenate([moved, moved[:2]]), axis=0)
    bend = np.linalg.norm(steps[-1] - steps[-3], axis=-1).mean() / np.linalg.norm(steps, axis=-1).mean()
    maps = (np.linalg.norm(motion, axis=-1).mean(axis=0) for motion in (moved, unguided))
    return {
        "wrap jump": float(wrap_jump(moved)),
        "velocity": float(bend),
        "band dB": float(np.abs(amplitude_error_db(spectrum, free))[1:].max()),
        "map": float(map_correlation(*maps)),
        "seconds": seconds,
    }


def measure(bundle: Bundle, picture: np.ndarray, seed: int, methods: list[str], steps: int) -> dict[str, dict]:
    start = time.process_time()
    free = generate.predict_spectrum(bundle, picture, seed=seed, num_steps=steps)
    found = {"none": figures(free, free, time.process_time() - start)}
    for method in methods:
        start = time.process_time()
        if method == "closed":
            spectrum = loops.close(free)
        else:
            spectrum = generate.predict_spectrum(bundle, picture, seed=seed, num_steps=steps, loop=method)
        found[method] = figures(spectrum, free, time.process_time() - start)
    return found


def main(arguments: list[str]) -> None:
    bundle = load_bundle(command.DEMO)
    found = [
        measure(bundle, picture, seed, FLAGS.methods, FLAGS.steps)
        for seed, picture in enumerate(pictures(FLAGS.pictures, bundle.width, bundle.height, Path(FLAGS.shared)))
    ]
    summary = {}
    for method in found[0]:
        values = {name: [each[method][name] for each in found] for name in found[0][method]}
        summary[method] = {name: [float(np.mean(v)), float(np.max(v))] for name, v in values.items()}
        print(method, *(f"{name} {mean:.2f} ({most:.2f})" for name, (mean, most) in summary[method].items()), sep="  ")
    print(json.dumps(summary))


if __name__ == "__main__":
    cli.run(main, FLAGS)
