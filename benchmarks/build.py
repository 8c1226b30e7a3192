"""The whole chain from video to data set: seconds per 100 start frames, memory of the worker, cost of the paper's set.

    python benchmarks/build.py [--videos='../shared/clips/tree_?_loop.mp4'] [--preset=paper] [--starts=2] [--flow=fast]

Builds one, then `--starts` start frames of each clip, each time in a process of its own, and prints the peak memory of
it and its decoder. The work of a start frame is the difference in processor time, all cores together, so that start-up
and compilation drop out and neighbours on the machine hardly matter; divided by the cores it is the time on an idle
machine, if the flow keeps them busy. The wall's time stands beside it. Prices are assumptions; look them up.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("videos", "../shared/clips/tree_?_loop.mp4", "glob of two or more clips", flag_values=FLAGS)
flags.DEFINE_enum("preset", "paper", ["paper", "highres", "demo", "test"], "sizes", flag_values=FLAGS)
flags.DEFINE_enum("flow", "fast", ["fast", "accurate"], "preset of the flow", flag_values=FLAGS)
flags.DEFINE_integer("starts", 2, "start frames a clip", lower_bound=2, flag_values=FLAGS)

PAPER_EXAMPLES, PAPER_PAIRS = 150_000, 22_350_000  # 149 each
MACHINES = {  # cores, assumed US dollars an hour on demand, assumed speed of a core against one here
    "c3-standard-176 (88 cores)": (88, 9.2, 1.0),
    "c7i.48xlarge (96 cores)": (96, 8.6, 1.0),
}
CHIPS = {"v5litepod-1 at 150 pairs/s": (150, 1.2)}  # assumed pairs a second, assumed dollars an hour


def watched(command: list[str]) -> float:
    """Runs it. GiB that it and the largest of its children have had in memory at most."""
    peaks: dict[int, int] = {}
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):  # one has just ended
                children = Path(f"/proc/{process.pid}/task").glob("*/children")
                for member in [process.pid, *(int(pid) for path in children for pid in path.read_text().split())]:
                    lines = Path(f"/proc/{member}/status").read_text().splitlines()
                    peaks[member] = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
            time.sleep(0.2)
    if process.returncode:
        raise UserError("--videos: the build failed; see above")
    return (peaks.pop(process.pid) + max(peaks.values(), default=0)) / 2**20


def build(root: Path, starts: int) -> tuple[dict, float, float]:
    """The report; GiB that the build and its largest decoder have had in memory at most; processor time in s."""
    command = [sys.executable, "-m", "data_pipeline.build", f"--videos={FLAGS.videos}", f"--data_dir={root}"]
    command += ["--loops=*_loop*", f"--config=configs/data.py:{FLAGS.preset}"]
    command += [f"--config.flow_preset={FLAGS.flow}", f"--config.max_starts={starts}"]
    began = processor_time()
    gibibytes = watched(command)
    return json.loads((root / "build_report.json").read_text()), gibibytes, processor_time() - began


def processor_time() -> float:
    """s, of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: list[str]) -> None:
    cores_here = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/jax")
        build(Path(folder) / "warm", 1)  # compiles
        few, _, few_seconds = build(Path(folder) / "few", 1)
        many, peak, many_seconds = build(Path(folder) / "many", FLAGS.starts)
    wall = [example["seconds"] for video in many["videos"] for example in video["accepted"]]
    added = sum(many["examples"].values()) - sum(few["examples"].values())
    seconds = (many_seconds - few_seconds) / added
    hours = PAPER_EXAMPLES * seconds / 3600
    figures = {
        "preset": FLAGS.preset, "flow": FLAGS.flow, "cores": cores_here, "start frames": added,
        "load average": round(os.getloadavg()[0], 1), "peak GiB": round(peak, 2),
        "core seconds per 100 start frames": round(100 * seconds),
        "s per 100 start frames, idle": round(100 * seconds / cores_here),
        "s per 100 start frames, wall": round(100 * float(np.median(wall))),
        "core hours of the paper's set": round(hours),
    }  # fmt: skip
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
