"""Optical flow over whole clips against the exact motion of procedural scenes.

    python benchmarks/flow_clips.py --out=FOLDER [--clips=8] [--width=256] [--wind=1] [--scenes=flames,corn]
        [--methods=fast,accurate]

Motion is estimated from frame 0 to each of the 149 others, as the data set's builder does (`flow.follow`); a method
called `alone` (`fast alone`) is the search of each frame by itself (`flow.estimate`). Counted are the moving
pixels: mean |F_t| over the clip above 0.5 px at a width of 256, and never hidden nor outside.

Amplitude, k = 1 ... 8: 20 log10(|S_estimated(k)| / |S_exact(k)|) dB with |S| over both components, of each such
pixel; the median over the pixels of all clips, of the error and of its absolute value. Both also by place: `edge`
pixels touch one whose exact motion differs by more than half of their own (time averages), `inner` pixels touch none.
End-point error: mean |F_estimated - F_exact| over these pixels against t; also its median over pixels and times, and
by the exact length |F_t| its mean and the share that is lost, in error by more than 2 px and half that length. Drift:
the slope b of the fit a + b t + c mean |F_t| to it. Jump: mean |E_(t+1) - E_t| of the error E over mean
|F_(t+1) - F_t| of the exact motion.
At rest: mean |F| over all pixels whose exact motion is 0. Stopped: the share of the exact motion of all pixels that is
estimated to be exactly 0 (`data_pipeline.emptiness`). Both are means of the clips. Lengths are px at a width of 256.
"""

import functools
import json
import time
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from absl import flags
from flow_accuracy import Estimator, estimators

from data_pipeline.procedural import render_clip
from data_pipeline.trajectories import estimate_trajectories
from gid_jax import cli, flow
from gid_jax.errors import UserError
from gid_jax.motion.spectrum import to_spectrum

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "folder for flow_clips.png", flag_values=FLAGS)
flags.DEFINE_integer("clips", 8, "scenes, of seeds `seed`, `seed` + 1, ...", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the first scene", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("wind", 1.0, "times the usual strength, at most 3", flag_values=FLAGS)
flags.DEFINE_list("scenes", None, "kinds of scenes to choose from; default: those of training", flag_values=FLAGS)
flags.DEFINE_integer("width", 256, "px; the height is 5 / 8 of it", lower_bound=64, flag_values=FLAGS)
flags.DEFINE_list("methods", ["fast", "accurate", "DIS medium"], "columns of the table", flag_values=FLAGS)

FRAMES = 150
BINS = slice(1, 9)
LENGTHS = (0, 2, 5, 10, 20)
"""px; where one class of exact lengths ends and the next begins"""


def moving_pixels(exact: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """bool [h, w] of trajectories [t, h, w, 2] and bool [t, h, w]."""
    length = np.linalg.norm(exact, axis=-1).mean(axis=0) * (256 / exact.shape[2])
    return (length > 0.5) & visibility.all(axis=0)


def edge_pixels(exact: np.ndarray) -> np.ndarray:
    """bool [h, w]: pixels of trajectories [t, h, w, 2] that touch another motion."""
    height, width = exact.shape[1:3]
    padded = np.pad(exact, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    length = np.linalg.norm(exact, axis=-1).mean(axis=0)
    found = np.zeros((height, width), bool)
    for dy, dx in np.ndindex(3, 3):
        apart = np.linalg.norm(padded[:, dy : dy + height, dx : dx + width] - exact, axis=-1).mean(axis=0)
        found |= apart > 0.5 * length
    return found


def moduli(trajectories: np.ndarray) -> np.ndarray:
    """|S(k)| [k, h, w], px x frames, of trajectories [t, h, w, 2]."""
    return np.linalg.norm(np.asarray(to_spectrum(trajectories, BINS.stop))[BINS], axis=-1)


class Tally:
    """What is gathered of one method over the clips."""

    def __init__(self):
        self.decibels, self.edge = [], []
        self.error_sum, self.pixels = np.zeros(FRAMES), 0
        self.length_sum = np.zeros(FRAMES)
        self.jump, self.step, self.seconds = 0.0, 0.0, 0.0
        self.distances, self.lengths = [], []
        self.rest, self.stopped = [], []

    def add(self, estimated: np.ndarray, exact: np.ndarray, moving: np.ndarray) -> None:
        """Trajectories [t, h, w, 2] in px at 256 wide, of which the pixels `moving` [h, w] count."""
        self.decibels.append(20 * np.log10(moduli(estimated)[:, moving] / moduli(exact)[:, moving]))
        self.edge.append(edge_pixels(exact)[moving])
        error = (estimated - exact)[:, moving]
        self.error_sum += np.linalg.norm(error, axis=-1).sum(axis=1)
        self.length_sum += np.linalg.norm(exact[:, moving], axis=-1).sum(axis=1)
        self.pixels += int(moving.sum())
        self.jump += np.linalg.norm(np.diff(error, axis=0), axis=-1).sum()
        self.step += np.linalg.norm(np.diff(exact[:, moving], axis=0), axis=-1).sum()
        self.distances.append(np.linalg.norm(error[1:], axis=-1).ravel())
        self.lengths.append(np.linalg.norm(exact[1:, moving], axis=-1).ravel())
        length = np.linalg.norm(exact, axis=-1).mean(axis=0)
        self.rest.append(np.linalg.norm(estimated[:, length == 0], axis=-1).mean())
        self.stopped.append(length[(estimated == 0).all(axis=(0, 3))].sum() / length.sum())

    @property
    def error(self) -> np.ndarray:
        """Mean end-point error, px, at each t."""
        return self.error_sum / self.pixels

    @property
    def length(self) -> np.ndarray:
        """Mean |F_t| of the exact motion, px."""
        return self.length_sum / self.pixels

    def figures(self) -> dict[str, float]:
        decibels, edge = np.concatenate(self.decibels, axis=1), np.concatenate(self.edge)
        figures = {}
        for place, chosen in (("", np.ones_like(edge)), (" inner", ~edge), (" edge", edge)):
            figures[f"dB{place}"] = float(np.median(decibels[:, chosen]))
            figures[f"|dB|{place}"] = float(np.median(np.abs(decibels[:, chosen])))
        figures["share of edge pixels"] = float(edge.mean())
        figures |= {f"dB k = {k}": float(np.median(row)) for k, row in enumerate(decibels, start=1)}
        figures |= {f"|dB| k = {k}": float(np.median(np.abs(row))) for k, row in enumerate(decibels, start=1)}
        figures |= {f"error px t = {t}": float(self.error[t]) for t in (1, 5, 20, 50, 75, 100, 125, 149)}
        distances, lengths = np.concatenate(self.distances), np.concatenate(self.lengths)
        figures["error px, mean"] = float(distances.mean())
        figures["error px, median"] = float(np.median(distances))
        lost = distances > np.maximum(2, 0.5 * lengths)
        figures["lost"] = float(lost.mean())
        for low, high in pairwise((*LENGTHS, np.inf)):
            of_class = (lengths >= low) & (lengths < high)
            for row, values in (("error px", distances), ("lost", lost)):
                if of_class.any():
                    figures[f"{row}, {low} to {high:g} px"] = float(values[of_class].mean())
        figures["at rest px"] = float(np.mean(self.rest))
        figures["stopped"] = float(np.mean(self.stopped))
        regressors = np.stack([np.ones(FRAMES), np.arange(FRAMES), self.length], axis=1)[1:]
        figures["drift px in 100 frames"] = float(100 * np.linalg.lstsq(regressors, self.error[1:])[0][1])
        figures["jump"] = float(self.jump / self.step)
        figures["core ms per pair"] = float(1e3 * self.seconds / (len(self.edge) * (FRAMES - 1)))
        return figures


def methods() -> dict[str, Estimator]:
    def followed(source: np.ndarray, targets: np.ndarray, preset: str) -> np.ndarray:
        return np.asarray(flow.follow(source, targets, preset))

    single = {f"{name} alone" if name in flow.PRESETS else name: method for name, method in estimators().items()}
    return {name: functools.partial(followed, preset=name) for name in flow.PRESETS} | single


def plot(tallies: dict[str, Tally], path: Path) -> None:
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    left.plot(next(iter(tallies.values())).length, color="0.7", label="mean |F|, exact")
    for name, tally in tallies.items():
        left.plot(tally.error, label=name)
        decibels = np.concatenate(tally.decibels, axis=1)
        line = right.plot(range(1, 9), np.median(decibels, axis=1), marker="o", label=name)[0]
        low, high = np.percentile(decibels, (25, 75), axis=1)
        right.fill_between(range(1, 9), low, high, alpha=0.15, color=line.get_color())
    left.set(xlabel="t, frames", ylabel="end-point error, px", title="moving pixels, mean")
    right.set(xlabel="k", ylabel="dB", title="amplitude, median and quartiles", ylim=(-4, 4))
    right.axhspan(-0.5, 0.5, color="0.9", zorder=0)
    left.legend()
    right.legend()
    plt.savefig(path, dpi=110)


def main(arguments: list[str]) -> None:
    known = methods()
    if unknown := [name for name in FLAGS.methods if name not in known]:
        raise UserError(f"--methods: no {unknown[0]!r}; choose from {', '.join(known)}")
    if not FLAGS.out:
        raise UserError("--out: name the folder for flow_clips.png")
    tallies = {name: Tally() for name in FLAGS.methods}
    for seed in range(FLAGS.seed, FLAGS.seed + FLAGS.clips):
        clip = render_clip(
            seed,
            width=FLAGS.width,
            height=FLAGS.width * 5 // 8,
            num_frames=FRAMES,
            kinds=FLAGS.scenes,
            wind=FLAGS.wind,
        )
        to_256 = 256 / FLAGS.width
        moving = moving_pixels(clip.trajectories, clip.visibility)
        for name, tally in tallies.items():
            if seed == FLAGS.seed:
                known[name](clip.frames[0] / 255, clip.frames[1:] / 255)  # compiles
            began = time.process_time()
            estimated = estimate_trajectories(clip.frames, name, lambda a, b, name: known[name](a, b))
            tally.seconds += time.process_time() - began
            tally.add(to_256 * estimated, to_256 * clip.trajectories, moving)
            decibels = np.median(tally.decibels[-1])
            print(f"seed {seed} {clip.scene:9s} moving {moving.mean():.2f} {name:12s} {decibels:6.2f} dB", flush=True)
    table = {name: tally.figures() for name, tally in tallies.items()}
    print(f"{'':24s}" + "".join(f"{name:>14s}" for name in table))
    for row in next(iter(table.values())):
        print(f"{row:24s}" + "".join(f"{figures[row]:14.3f}" for figures in table.values()))
    Path(FLAGS.out).mkdir(parents=True, exist_ok=True)
    plot(tallies, Path(FLAGS.out) / "flow_clips.png")
    print(json.dumps({name: {row: round(value, 4) for row, value in f.items()} for name, f in table.items()}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
