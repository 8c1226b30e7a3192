"""A phone's photo, 4032 x 3024, through `python -m gid_jax.animate` as a user starts it: time and memory.

    PYTHONPATH=. python benchmarks/animate_photo.py [--runs=2] [--whole_frames=24]

Each line is a process of its own: start, prediction, compilation, rendering, mp4. The first run warms the disk's cache
and is not counted. With `--longest_side=0` so many frames are made at the photo's own size, and a second time half as
many: the difference tells what a frame takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from data_pipeline.procedural import render_clip
from gid_jax import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("width", 4032, "px", lower_bound=64, flag_values=FLAGS)
flags.DEFINE_integer("height", 3024, "px", lower_bound=64, flag_values=FLAGS)
flags.DEFINE_integer("runs", 2, "with no flag, after the first", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("whole_frames", 24, "at full size; 0: none", lower_bound=0, flag_values=FLAGS)


def make_photo(path: Path, width: int, height: int) -> None:
    """A rendered scene, enlarged, with grain."""
    clip = render_clip(0, width=504, height=378, num_frames=1)
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    large = np.asarray(Image.fromarray(clip.frames[0]).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(path, quality=92)


def animate(photo: Path, *extra: str) -> tuple[float, float, float]:
    """Seconds, those of the processors, and peak memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gid_jax.animate", str(photo), f"--out={folder}/video.mp4", *extra]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        make_photo(photo, FLAGS.width, FLAGS.height)
        timed = [animate(photo) for _ in range(1 + FLAGS.runs)]
        for seconds, work, memory in timed:
            print(f"no flag, 150 frames: {seconds:.1f} s, of processors {work:.1f} s, {memory:.2f} GB", flush=True)
        result = dict(zip(("seconds", "processor seconds"), np.min(timed[1:], axis=0), strict=False))
        result["GB"] = max(memory for *_, memory in timed)
        if FLAGS.whole_frames:
            counts = (FLAGS.whole_frames, FLAGS.whole_frames // 2)
            whole = [animate(photo, "--longest_side=0", f"--frames={count}") for count in counts if count]
            for count, (seconds, work, memory) in zip(counts, whole, strict=False):
                print(f"--longest_side=0, {count} frames: {seconds:.1f} s, {work:.1f} s, {memory:.2f} GB", flush=True)
            result |= {"whole GB": whole[0][2]}
            if len(whole) == 2:
                result["whole, processor seconds a frame"] = (whole[0][1] - whole[1][1]) / (counts[0] - counts[1])
    print(json.dumps({name: round(float(value), 2) for name, value in result.items()}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
