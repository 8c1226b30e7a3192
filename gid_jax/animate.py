"""A video of natural motion from one picture.

    python -m gid_jax.animate PHOTO --out=VIDEO.mp4 [--bundle=BUNDLE]

PHOTO is any picture, of any size. The video has its size and starts as the photo; --out ends in .mp4, .webm or .gif,
or is a pattern such as frames/%04d.png. Without --bundle the demo's models are used, which came of an hour on a CPU.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.inference import command, generate
from gid_jax.inference.video import check_output, check_video, write_video
from gid_jax.motion.spectrum import from_rest, splatting_weight
from gid_jax.progress import progress
from gid_jax.render import colour
from gid_jax.viewer.page import FPS

FLAGS = flags.FlagValues()
command.define_flags(FLAGS)
flags.DEFINE_integer("frames", 150, "how many frames", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("fps", 30.0, "frames a second", lower_bound=1.0, upper_bound=240.0, flag_values=FLAGS)
flags.DEFINE_float("slow", 1.0, "slow motion: how many times as slow", lower_bound=0.01, flag_values=FLAGS)
flags.DEFINE_string("xt_slice", None, "PNG of one row of pixels over time, time downwards", flag_values=FLAGS)
flags.DEFINE_string("motion_map", None, "PNG of how much each pixel moves", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if not FLAGS.out:
        raise UserError("--out is missing: name the video, such as --out=video.mp4")
    out = check_video(FLAGS.out)
    for name in (FLAGS.xt_slice, FLAGS.motion_map):
        if name:
            check_output(name, (".png",))
    photo, bundle = command.read_inputs(arguments, FLAGS)
    spectrum = command.predict(photo, bundle, FLAGS)
    weight = np.asarray(splatting_weight(FLAGS.magnify * from_rest(spectrum), *photo.shape[:2]))
    if FLAGS.motion_map:
        save_motion_map(FLAGS.motion_map, weight)

    times = np.arange(FLAGS.frames) * FPS / (FLAGS.fps * FLAGS.slow)
    frames: Iterable[np.ndarray] = generate.render_frames(bundle, photo, spectrum, times, FLAGS.magnify)
    row = int(np.argmax(weight.mean(axis=1)))
    line: list[np.ndarray] = []
    write_video(out, _keeping(row, progress(frames, name="rendering", total=len(times), unit="frame"), line), FLAGS.fps)
    if FLAGS.xt_slice:
        Image.fromarray(np.stack(line)).save(FLAGS.xt_slice)
    print(f"{out}: {len(times)} frames, {photo.shape[1]} x {photo.shape[0]}, mean motion {weight.mean():.2f} px")


def save_motion_map(path: str | Path, weight: np.ndarray) -> None:
    """Mean |F_t| as colours, black to the largest."""
    colours = np.asarray(colour.magnitude(weight, float(weight.max())))
    Image.fromarray(np.rint(255 * colours).astype(np.uint8)).save(path)


def _keeping(row: int, frames: Iterable[np.ndarray], line: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Passes frames on and keeps a copy of one row of each."""
    for frame in frames:
        line.append(frame[row].copy())
        yield frame


if __name__ == "__main__":
    cli.run(main, FLAGS)
