"""The whole chain from video to data set: seconds per 100 start frames, memory of the worker, cost of the paper's set.

    python benchmarks/build.py [--videos=../shared/clips/rose_loop.mp4] [--preset=paper] [--starts=2] [--flow=accurate]

Builds `--starts` start frames of one clip (and a second, so that there is a test split) in a process of its own, whose
peak memory with that of its decoder is printed. Compilation is left out: the time of a start frame is what the store
notes for it, of all but the first. Prices are assumptions in `MACHINES`; look them up before you rely on them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("videos", "../shared/clips/*o*e_*loop.mp4", "glob of two or more clips", flag_values=FLAGS)
flags.DEFINE_enum("preset", "paper", ["paper", "highres", "demo", "test"], "sizes", flag_values=FLAGS)
flags.DEFINE_enum("flow", "fast", ["fast", "accurate"], "preset of the flow", flag_values=FLAGS)
flags.DEFINE_integer("starts", 2, "start frames a clip", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "where to build; a temporary folder by default", flag_values=FLAGS)

PAPER_EXAMPLES, PAPER_PAIRS = 150_000, 22_350_000  # 149 each
MACHINES = {  # cores, assumed US dollars an hour on demand, assumed speed of a core against one here
    "c3-standard-176 (88 cores)": (88, 9.2, 1.0),
    "c7i.48xlarge (96 cores)": (96, 8.6, 1.0),
}
CHIPS = {"v5litepod-1 at 150 pairs/s": (150, 1.2)}  # assumed pairs a second, assumed dollars an hour


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(FLAGS.data_dir or temporary)
        settings = [f"--config.flow_preset={FLAGS.flow}", f"--config.max_starts={FLAGS.starts}"]
        command = [sys.executable, "-m", "data_pipeline.build", f"--videos={FLAGS.videos}", f"--data_dir={root}"]
        command += ["--loops=*_loop*", f"--config=configs/data.py:{FLAGS.preset}", *settings]
        if subprocess.run(command).returncode:
            raise UserError("--videos: the build failed; see above")
        report = json.loads((root / "build_report.json").read_text())
    # Of the largest process among the build and its decoder; a decoder's limit is in data_pipeline.isolation.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    seconds = [example["seconds"] for video in report["videos"] for example in video["accepted"]]
    steady = float(np.median(sorted(seconds)[: max(1, len(seconds) - 1)]))
    overhead = (report["seconds"]["total"] - sum(seconds)) / len(seconds)
    per_example = steady + overhead
    figures = {
        "preset": FLAGS.preset, "flow": FLAGS.flow, "cores": os.cpu_count(), "start frames": len(seconds),
        "load average": round(os.getloadavg()[0], 1), "peak GiB": round(peak, 2),
        "s per 100 start frames": round(100 * per_example), "of that flow and coding": round(100 * steady),
    }  # fmt: skip
    hours = PAPER_EXAMPLES * per_example * (os.cpu_count() or 1) / 3600
    figures["core hours of the paper's set"] = round(hours)
    for name, (cores, price, speed) in MACHINES.items():
        needed = hours / cores / speed
        print(f"{name} at {price:.2f} $/h (assumed): {needed:.0f} machine hours, {needed * price:.0f} $")
        figures[name] = round(needed * price)
    for name, (rate, price) in CHIPS.items():
        needed = PAPER_PAIRS / rate / 3600
        print(f"{name}, {price:.2f} $/h (both assumed): {needed:.0f} chip hours, {needed * price:.0f} $")
        figures[name] = round(needed * price)
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
