"""Accuracy, false motion and speed of the optical flow on the Middlebury pairs of a folder, both presets.

    python benchmarks/flow_accuracy.py [--pairs=../shared/flow] [--targets=64] [--repeats=3]

A pair is a folder with frame10.png, frame11.png and flow10.flo. Pictures are resized to cover 256 x 160 and
centre-cropped. Error: mean end-point error, px. Noise: mean |F| between two copies of a picture under independent
Gaussian noise of 2 and of 5 of 255, px. Time: least of the calls on a batch of targets, the methods called in turn, by
the clock, and summed over the cores, which other jobs of the machine disturb less. DIS medium joins the table, as the
reference of noise and time, where OpenCV is installed (extra `dev`).
"""

import functools
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from gid_jax import cli, flow
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("pairs", "../shared/flow", "folder of the pairs", flag_values=FLAGS)
flags.DEFINE_integer("targets", 64, "targets of one timed call", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("repeats", 3, "timed calls of each", lower_bound=1, flag_values=FLAGS)

WIDTH, HEIGHT = 256, 160
UNKNOWN = 1e3
"""px; larger vectors of a .flo file mean that the motion is not known"""

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cover(planes: np.ndarray, filter: Image.Resampling) -> np.ndarray:
    """float32 [h, w, c] resized to cover WIDTH x HEIGHT, centre-cropped."""
    height, width = planes.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = round(width * scale), round(height * scale)
    resized = [np.asarray(Image.fromarray(planes[..., c]).resize(size, filter)) for c in range(planes.shape[2])]
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    return np.stack(resized, axis=-1)[top : top + HEIGHT, left : left + WIDTH]


def read_pair(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures float32 [160, 256, 3] in [0, 1] and the exact motion [160, 256, 2] px, NaN where unknown."""
    pictures = []
    for name in ("frame10.png", "frame11.png"):
        picture = np.asarray(Image.open(folder / name).convert("RGB"), np.float32) / 255
        pictures.append(np.clip(cover(picture, Image.Resampling.LANCZOS), 0, 1))
    raw = np.fromfile(folder / "flow10.flo", np.float32)
    width, height = (int(n) for n in raw[1:3].view(np.int32))
    motion = raw[3:].reshape(height, width, 2)
    motion = np.where(np.abs(motion).max(axis=-1, keepdims=True) > UNKNOWN, np.nan, motion).astype(np.float32)
    scale = max(WIDTH / width, HEIGHT / height)
    factor = np.array([round(width * scale) / width, round(height * scale) / height], np.float32)
    return pictures[0], pictures[1], cover(motion, Image.Resampling.NEAREST) * factor


def estimators() -> dict[str, Estimator]:
    def ours(source: np.ndarray, targets: np.ndarray, preset: str) -> np.ndarray:
        return np.asarray(flow.estimate(source, targets, preset))

    found: dict[str, Estimator] = {name: functools.partial(ours, preset=name) for name in flow.PRESETS}
    if importlib.util.find_spec("cv2"):
        found["DIS medium"] = dis_medium
    return found


def dis_medium(source: np.ndarray, targets: np.ndarray) -> np.ndarray:
    import cv2

    def grey(picture: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(np.round(picture * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)

    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.stack([method.calc(grey(source), grey(target), None) for target in targets])


def noisy_copies(picture: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    first, second = (picture * 255 + random.normal(0, sigma, picture.shape) for _ in range(2))
    return tuple(np.clip(np.round(p), 0, 255).astype(np.float32) / 255 for p in (first, second))


def measure(estimate: Estimator, pairs: dict[str, tuple[np.ndarray, ...]]) -> dict[str, float]:
    figures: dict[str, float] = {}
    lengths: dict[int, list[float]] = {2: [], 5: []}
    for name, (source, target, exact) in pairs.items():
        figures[name] = float(np.nanmean(np.linalg.norm(estimate(source, target[None])[0] - exact, axis=-1)))
        for sigma, found in lengths.items():
            first, second = noisy_copies(source, sigma)
            found.append(float(np.linalg.norm(estimate(first, second[None])[0], axis=-1).mean()))
    figures["mean error"] = float(np.mean([figures[name] for name in pairs]))
    return figures | {f"noise {sigma}": float(np.mean(found)) for sigma, found in lengths.items()}


def milliseconds(methods: dict[str, Estimator], source: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each method per pair, by the clock and of all cores together. Calls take turns."""
    batch = np.stack([target] * FLAGS.targets)
    least: dict[str, dict[str, float]] = {}
    for repeat in range(FLAGS.repeats + 1):
        for name, estimate in methods.items():
            wall, cores = time.perf_counter(), time.process_time()
            estimate(source, batch)
            spent = {"ms per pair": time.perf_counter() - wall, "core ms per pair": time.process_time() - cores}
            spent = {row: 1e3 * seconds / FLAGS.targets for row, seconds in spent.items()}
            if repeat > 0:  # the first call compiles
                least[name] = {row: min(value, least.get(name, spent)[row]) for row, value in spent.items()}
    return least


def main(arguments: list[str]) -> None:
    folders = sorted(p.parent for p in Path(FLAGS.pairs).glob("*/flow10.flo"))
    if not folders:
        raise UserError(
            f"--pairs: no */flow10.flo in {FLAGS.pairs}; skipped: give a folder of Middlebury training pairs"
        )
    pairs = {folder.name: read_pair(folder) for folder in folders}
    methods = estimators()
    table = {name: measure(estimate, pairs) for name, estimate in methods.items()}
    for name, durations in milliseconds(methods, *next(iter(pairs.values()))[:2]).items():
        table[name] |= durations
    if reference := table.get("DIS medium"):
        for row in ("noise 2", "noise 5", "ms per pair", "core ms per pair"):
            for figures in table.values():
                figures[f"{row} / DIS"] = figures[row] / reference[row]
    print(f"{'':18s}" + "".join(f"{name:>14s}" for name in table))
    for row in next(iter(table.values())):
        print(f"{row:18s}" + "".join(f"{figures[row]:14.4f}" for figures in table.values()))
    print(json.dumps({name: {row: round(value, 4) for row, value in f.items()} for name, f in table.items()}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
