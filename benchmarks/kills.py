"""Twenty kills over one training run: its last checkpoint must equal, bit for bit, that of a run left alone.

    python benchmarks/kills.py [--kills=20] [--out=DIR]

Trains the renderer at the `test` preset through `python -m gid_jax.train`, on scenes rendered for it, and kills it by
turns during its start, during steps, and between the beginning and the commit of a save: four of five times by SIGKILL,
else by SIGTERM. Whether a kill hit a save is told by what it leaves behind: an unfinished checkpoint.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
from absl import flags

from gid_jax import cli
from gid_jax.checkpoints.checkpoint import PARTS, newest_step
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_integer("kills", 20, "how many", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("out", "", "folder to work in; by default one that is removed", flag_values=FLAGS)

STEPS = 240
SETTINGS = ("--config.checkpoint_every=9", "--config.log_every=1", "--config.eval_every=50", "--config.eval_batches=1")
MOMENTS = ("start", "save", "steps", "save")
FINISHED, SAVED = 0, 128 + signal.SIGTERM


class Run:
    """A run of the training command in a workdir."""

    def __init__(self, root: Path, name: str):
        self.workdir = root / name
        self._command = [sys.executable, "-m", "gid_jax.train", "--config=configs/renderer.py:test", *SETTINGS]
        self._command += [
            f"--workdir={self.workdir}",
            f"--config.data_dir={root / 'data'}",
            f"--config.num_steps={STEPS}",
        ]
        self._environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(root / "cache")}

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self._command, env=self._environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def finish(self) -> None:
        process = self.start()
        problem = process.communicate()[1]
        if process.returncode != FINISHED:
            raise UserError(f"{self.workdir}: exit code {process.returncode}: {problem[-2000:]}")

    def unfinished(self) -> set[str]:
        return {path.name for path in (self.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp")}

    def lines(self) -> int:
        path = self.workdir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def leaves(self) -> dict[str, np.ndarray]:
        found = {}
        for part in PARTS:
            path = self.workdir / "checkpoints" / str(STEPS) / part
            found |= ocp.PyTreeCheckpointHandler().restore(path)
        return found


def kill(run: Run, moment: str, number: int, rng: random.Random) -> dict:
    """Starts the run, kills it, and tells what that hit."""
    process, began = run.start(), time.monotonic()
    before, old = run.lines(), run.unfinished()
    wait = rng.uniform(0, 6) if moment == "start" else rng.randint(1, 25) if moment == "steps" else rng.uniform(0, 0.03)
    while process.poll() is None:
        if moment == "start" and time.monotonic() - began > wait:
            break
        if moment == "steps" and run.lines() >= before + wait:
            break
        if moment == "save" and run.unfinished() - old:
            time.sleep(wait)
            break
        time.sleep(0.001)
    how = signal.SIGTERM if number % 5 == 3 else signal.SIGKILL
    process.send_signal(how)
    problem = process.communicate()[1]
    if process.returncode not in (FINISHED, SAVED, -how):
        raise UserError(f"{run.workdir}: exit code {process.returncode} after {how.name}: {problem[-2000:]}")
    interrupted = bool(run.unfinished() - old) and how == signal.SIGKILL
    step = newest_step(str(run.workdir))
    return {"moment": moment, "signal": how.name, "code": process.returncode, "in_save": interrupted, "step": step}


def measure(root: Path, kills: int) -> dict:
    sizes = ["--width=64", "--height=40"]
    for command in (
        ["data_pipeline.procedural", f"--out={root / 'clips'}", "--clips=6", *sizes],
        ["data_pipeline.build", f"--videos={root / 'clips'}", f"--data_dir={root / 'data'}", "--holdout=test_*"]
        + ["--config=configs/data.py:test"],
    ):
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    straight, killed, rng = Run(root, "straight"), Run(root, "killed"), random.Random(0)
    straight.finish()
    hits: list[dict] = []
    while len(hits) < kills:
        hits.append(kill(killed, MOMENTS[len(hits) % len(MOMENTS)], len(hits), rng))
        print(json.dumps(hits[-1]), flush=True)
    killed.finish()
    first, second = straight.leaves(), killed.leaves()
    equal = first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    return {
        "kills": len(hits),
        "sigkill": sum(hit["signal"] == "SIGKILL" for hit in hits),
        "sigterm": sum(hit["signal"] == "SIGTERM" for hit in hits),
        "between beginning and commit of a save": sum(hit["in_save"] for hit in hits),
        "leaves": len(first),
        "bit-equal": equal,
    }


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag")
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(measure(Path(FLAGS.out or temporary).absolute(), FLAGS.kills)))


if __name__ == "__main__":
    cli.run(main, FLAGS)
