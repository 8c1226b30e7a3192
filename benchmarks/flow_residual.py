"""Photometric residual of the optical flow on real clips, both presets and, where OpenCV is installed, DIS medium.

    python benchmarks/flow_residual.py [--clips=../shared/clips] [--names=fern,rose,cloth]

Mean |I_t(p + F_t(p)) - I_0(p)|, of 255, over pixels, channels and t = 5, 19, 33, ..., 145, read bicubically with the
border repeated. Pictures come from the data set builder's own reader: 30 fps, 256 x 160. `still` is the residual of no
motion. A small residual is no proof of right motion: false motion can explain noise away.
"""

import itertools
import json
from pathlib import Path

import numpy as np
from absl import flags
from flow_accuracy import HEIGHT, WIDTH, estimators

from data_pipeline.video import read_frames
from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("clips", "../shared/clips", "folder of the clips", flag_values=FLAGS)
flags.DEFINE_list("names", ["fern", "rose", "cloth"], "how the files' names begin", flag_values=FLAGS)
TIMES = range(5, 146, 14)


def read(name: str) -> np.ndarray:
    """Frames 0 and TIMES, float32 [t, 160, 256, 3] in [0, 1], of a clip that loops."""
    found = sorted(Path(FLAGS.clips).glob(f"{name}*"))
    if not found:
        raise UserError(f"--clips: no {name}* in {FLAGS.clips}; give a folder of videos, --names chooses among them")
    frames = itertools.islice(read_frames(found[0], fps=30, width=WIDTH, height=HEIGHT, loop=True), TIMES[-1] + 1)
    return np.stack([f for t, f in enumerate(frames) if t in (0, *TIMES)]).astype(np.float32) / 255


def residual(frames: np.ndarray, motion: np.ndarray) -> float:
    import cv2

    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    warped = [
        cv2.remap(target, x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for target, field in zip(frames[1:], motion, strict=True)
    ]
    return float(255 * np.abs(np.stack(warped) - frames[0]).mean())


def main(arguments: list[str]) -> None:
    methods = estimators()
    if "DIS medium" not in methods:
        raise UserError("bicubic warps need OpenCV: ./launch/setup.sh dev")
    methods["still"] = lambda source, targets: np.zeros((*targets.shape[:3], 2), np.float32)
    table: dict[str, dict[str, float]] = {}
    for name in FLAGS.names:
        frames = read(name)
        table[name] = {m: round(residual(frames, method(frames[0], frames[1:])), 2) for m, method in methods.items()}
    print(f"{'':12s}" + "".join(f"{method:>12s}" for method in methods))
    for name, row in table.items():
        print(f"{name:12s}" + "".join(f"{value:12.2f}" for value in row.values()))
    print(json.dumps(table))


if __name__ == "__main__":
    cli.run(main, FLAGS)
