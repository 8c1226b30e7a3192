"""Renders swaying scenes with exact motion: plants, grass, vines, lanterns, candle flames, and cloth to test on.

    python -m data_pipeline.procedural --out=DIR --clips=N

leaves clip_00000.mp4, clip_00000.npz, ... in DIR. With --split=all the last eighth of the clips (at least one) come from
the test split and are called test_00000 and so on; every other of those shows cloth, which no training clip does. Clips
that are already there are kept, so that an interrupted run continues.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from absl import flags

from data_pipeline.procedural import render_clip, save_clip, scenes
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.progress import progress

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", None, "folder for the clips", flag_values=FLAGS)
flags.DEFINE_integer("clips", 40, "how many clips", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("width", 128, "width in px, even", lower_bound=32, flag_values=FLAGS)
flags.DEFINE_integer("height", 80, "height in px, even", lower_bound=32, flag_values=FLAGS)
flags.DEFINE_integer("frames", 160, "frames of each clip at 30 fps", lower_bound=150, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "other seeds give other scenes", flag_values=FLAGS)
flags.DEFINE_enum("split", "all", ["train", "test", "all"], "which scenes", flag_values=FLAGS)


def names(clips: int, split: str) -> list[tuple[str, int]]:
    """(split, number) of each clip."""
    held_out = {"train": 0, "test": clips, "all": max(1, round(clips / 8))}[split] if clips > 1 or split != "all" else 0
    return [("train", i) for i in range(clips - held_out)] + [("test", i) for i in range(held_out)]


def write(out: Path, seed: int, split: str, number: int, width: int, height: int, frames: int) -> None:
    """Renders and writes one clip; its scene depends on seed, split and number only."""
    entropy = int(np.random.SeedSequence([seed, ("train", "test").index(split), number]).generate_state(1, np.uint64)[0])
    kinds = tuple(scenes.TEST_ONLY) if split == "test" and number % 2 == 0 else None
    clip = render_clip(entropy, width=width, height=height, num_frames=frames, kinds=kinds)
    save_clip(clip, _path(out, split, number))


def _path(out: Path, split: str, number: int) -> Path:
    return out / f"{'clip' if split == 'train' else 'test'}_{number:05d}"


def main(arguments: list[str]) -> None:
    if not FLAGS.out:
        raise UserError("--out: name the folder for the clips")
    if FLAGS.width % 2 or FLAGS.height % 2:
        raise UserError(f"--width={FLAGS.width} --height={FLAGS.height}: H.264 video needs even sizes")
    out = Path(FLAGS.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out}: {error.strerror}; choose a folder that can be written") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"--out={out}: not writable; choose a folder that can be written")
    wanted = names(FLAGS.clips, FLAGS.split)
    missing = [clip for clip in wanted if not _path(out, *clip).with_suffix(".mp4").exists()]
    size = FLAGS.width, FLAGS.height, FLAGS.frames
    workers = max(1, min(os.cpu_count() or 1, len(missing)))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(write, out, FLAGS.seed, *clip, *size) for clip in missing]
        bar = progress(as_completed(running), name="rendering clips", total=len(wanted), initial=len(wanted) - len(missing), unit="clip")
        for done in bar:
            done.result()


if __name__ == "__main__":
    cli.run(main, FLAGS)
