"""A video of natural motion from one picture.

    python -m gid_jax.animate PHOTO --out=VIDEO.mp4 [--bundle=BUNDLE]

PHOTO is any picture, of any size. The video has its size and starts as the photo; --out ends in .mp4, .webm, .webp or
.gif, or is a pattern such as frames/%04d.png. Without --bundle the demo's models are used, which came of an hour on a
CPU. With --loop it repeats without a seam.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_file, written
from gid_jax.inference import command, generate, video
from gid_jax.motion.spectrum import PERIOD, from_rest, splatting_weight
from gid_jax.progress import progress
from gid_jax.render import colour
from gid_jax.viewer.page import FPS

MOST_FRAMES = 1_000_000

FLAGS = flags.FlagValues()
command.define_flags(FLAGS)
flags.DEFINE_integer("frames", 150, "how many frames", lower_bound=1, upper_bound=MOST_FRAMES, flag_values=FLAGS)
cli.DEFINE_float("fps", 30.0, "frames a second", lower_bound=1.0, upper_bound=240.0, flag_values=FLAGS)
cli.DEFINE_float("slow", 1.0, "slow motion: how many times as slow", lower_bound=0.01, flag_values=FLAGS)
cli.DEFINE_path("xt_slice", None, "PNG of one row of pixels over time, time downwards", flag_values=FLAGS)
cli.DEFINE_path("motion_map", None, "PNG of how much each pixel moves", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if not FLAGS.out:
        raise UserError("--out is missing: name the video, such as --out=video.mp4")
    out, fps = Path(FLAGS.out), min(FLAGS.fps, video.highest_rate(FLAGS.out))
    count = frames_of_a_loop(fps) if FLAGS.loop else max(1, round(FLAGS.frames * fps / FLAGS.fps))
    outputs = {"--out": video.check_video(out, count)}
    for flag, name in (("--xt_slice", FLAGS.xt_slice), ("--motion_map", FLAGS.motion_map)):
        if name:
            outputs[flag] = [check_file(name, (".png",), flag)]
    command.check_outputs(outputs, arguments, FLAGS)
    photo, bundle = command.read_inputs(arguments, FLAGS)
    video.check_size(out, photo.shape[1], photo.shape[0])
    if fps < FLAGS.fps:
        say(f"--fps={FLAGS.fps:g}: {out.suffix} plays at most {fps:g} frames a second; it gets {count}, as long in all")

    spectrum = command.predict(photo, bundle, FLAGS)
    weight = np.asarray(splatting_weight(FLAGS.magnify * from_rest(spectrum), *photo.shape[:2]))
    if FLAGS.motion_map:
        save_motion_map(FLAGS.motion_map, weight)

    times = np.arange(count) * (PERIOD / count if FLAGS.loop else FPS / (fps * FLAGS.slow))
    frames: Iterable[np.ndarray] = generate.render_frames(bundle, photo, spectrum, times, FLAGS.magnify)
    row = int(np.argmax(weight.mean(axis=1)))
    line: list[np.ndarray] = []
    frames = _keeping(row, progress(frames, name="rendering", total=count, unit="frame"), line)
    video.write_video(out, frames, fps)
    if FLAGS.xt_slice:
        save_png(FLAGS.xt_slice, np.stack(line), "--xt_slice")
    print(f"{out}: {count} frames, {photo.shape[1]} x {photo.shape[0]}, mean motion {weight.mean():.2f} px")
    if later := video.later_frames(out, count):
        say(f"{later[0]} to {later[-1]}: {len(later)} frames of an earlier, longer video are still there; remove them")


def frames_of_a_loop(fps: float) -> int:
    """As many as one period of the motion has, so that the file repeats perfectly. Raises UserError beside --frames."""
    count = max(1, round(PERIOD / FPS * fps * FLAGS.slow))
    if count > MOST_FRAMES:
        raise UserError(f"--slow={FLAGS.slow:g}: the loop would have {count} frames; a video has at most {MOST_FRAMES}")
    if not FLAGS["frames"].using_default_value and FLAGS.frames != count:
        raise UserError(
            f"--frames={FLAGS.frames}: a loop lasts one period of the motion, here {count} frames; leave --frames out, "
            "or change --slow"
        )
    return count


def save_motion_map(path: str | Path, weight: np.ndarray) -> None:
    """Mean |F_t| as colours, black to the largest."""
    colours = np.asarray(colour.magnitude(weight, float(weight.max())))
    save_png(path, np.rint(255 * colours).astype(np.uint8), "--motion_map")


def save_png(path: str | Path, picture: np.ndarray, flag: str) -> None:
    with written(path, flag) as partial:
        Image.fromarray(picture).save(partial, "PNG")


def say(text: str) -> None:
    """A remark, apart from the result."""
    print(text, file=sys.stderr)


def _keeping(row: int, frames: Iterable[np.ndarray], line: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Passes frames on and keeps a copy of one row of each."""
    for frame in frames:
        line.append(frame[row].copy())
        yield frame


if __name__ == "__main__":
    cli.run(main, FLAGS)
