"""Photometric residual of the optical flow on real clips, both presets and, where OpenCV is installed, DIS medium.

    python benchmarks/flow_residual.py [--clips=../shared/clips] [--names=fern,rose,cloth]

Mean |I_t(p + F_t(p)) - I_0(p)|, of 255, over pixels, channels and t = 5, 19, 33, ..., 145 as far as the clip goes, read
bicubically with the border repeated. Pictures are the clip's own frames, centre-cropped to 8:5 and averaged over areas
to 256 x 160. `still` is the residual of no motion. A small residual is no proof of right motion: false motion can
explain noise away.
"""

import json
from pathlib import Path

import av
import numpy as np
from absl import flags
from flow_accuracy import HEIGHT, WIDTH, estimators

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("clips", "../shared/clips", "folder of the clips", flag_values=FLAGS)
flags.DEFINE_list("names", ["fern", "rose", "cloth"], "how the files' names begin", flag_values=FLAGS)
TIMES = range(5, 146, 14)


def read(name: str) -> np.ndarray:
    """Frames 0 and TIMES of a clip, float32 [t, 160, 256, 3] in [0, 1]."""
    import cv2

    found = sorted(Path(FLAGS.clips).glob(f"{name}*"))
    if not found:
        raise UserError(f"--clips: no {name}* in {FLAGS.clips}; give a folder of videos, --names chooses among them")
    pictures = []
    with av.open(found[0]) as container:
        for t, frame in enumerate(container.decode(video=0)):
            if t in (0, *TIMES):
                picture = frame.to_ndarray(format="rgb24")
                width = round(picture.shape[0] * WIDTH / HEIGHT)
                left = (picture.shape[1] - width) // 2
                pictures.append(
                    cv2.resize(picture[:, left : left + width], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                )
    return np.stack(pictures).astype(np.float32) / 255


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
