"""Trains every point of a sweep, several at a time, and lays the results side by side.

    python -m launch.sweep --config=configs/sweeps/NAME.py[:PRESET] --workdir=DIR --config.data_dir=DATA

`--config.x.y=v` sets something for every point. Each point has the workdir DIR/POINT and the log DIR/logs/POINT.log;
DIR/summary.csv has a row for each, DIR/sweep.png their losses. The same command started again runs what is not
finished. Exit code 1: not all points finished; 130 or 143: stopped by Ctrl-C or SIGTERM, and the running points saved.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.progress import progress
from launch import sweep_summary
from launch.sweep_points import LOGS, Run, load_points, look, prepare


class SweepFlags(flags.FlagValues):
    """Leaves `--config.x=v`, which are not this command's, among the positional arguments."""

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        return super().__call__(argv, known_only=True)


FLAGS = SweepFlags()
cli.DEFINE_path("config", None, "Sweep: configs/sweeps/NAME.py or NAME.py:PRESET.", flag_values=FLAGS)
cli.DEFINE_path("workdir", None, "Folder of the sweep; gs://... with --backend=tpu.", flag_values=FLAGS)
flags.DEFINE_enum("backend", "local", ["local", "tpu"], "This machine, or TPU slices.", flag_values=FLAGS)
flags.DEFINE_integer("parallel", 1, "Points that run at the same time.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_bool("dry_run", False, "Print the commands and run none.", flag_values=FLAGS)
flags.DEFINE_string("tpu", None, "Each point has the TPU slice NAME-POINT, deleted when it ends.", flag_values=FLAGS)
flags.DEFINE_string("zone", None, "Zone of the TPU slices.", flag_values=FLAGS)
flags.DEFINE_string("accelerator", None, "Type of the TPU slices, such as v5litepod-16.", flag_values=FLAGS)

TRAIN = {"local": (sys.executable, "-m", "gid_jax.train"), "tpu": ("launch/tpu_train.sh",)}
POLL_SECONDS = 0.1
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)  # gid_jax.train saved; or had not begun yet


def main(arguments: list[str]) -> None:
    for name in ("config", "workdir", *(("tpu", "zone", "accelerator") if FLAGS.backend == "tpu" else ())):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    workdir = FLAGS.workdir if "://" in FLAGS.workdir else os.path.abspath(FLAGS.workdir)
    runs = prepare(load_points(FLAGS.config), workdir, arguments)
    if FLAGS.backend == "tpu" and len({slice_name(run) for run in runs}) < len(runs):
        raise UserError(f"{FLAGS.config}: two points would have one TPU slice; let names differ in letters or digits")
    if FLAGS.dry_run:
        for run in runs:
            print(f"# {run.point.name}\n{shlex.join(command(run))}")
        return

    try:
        for run in runs:
            look(run)
        sweep_summary.recall_seconds(runs, workdir)
        received = Scheduler(runs, workdir, FLAGS.parallel).go()
        files = sweep_summary.write(runs, workdir), sweep_summary.draw(runs, workdir)
    except ImportError as error:  # of what reads gs://
        raise UserError(f"--workdir={workdir}: {error}; launch/setup.sh tpu installs it") from error
    except OSError as error:
        raise UserError(f"{error.filename or workdir}: {error.strerror}; mend it or name another --workdir") from error
    for run in runs:
        if run.state != "finished":
            print(f"{run.point.name}: {run.state}{f', {run.note}' if run.note else ''}")
    finished = sum(run.state == "finished" for run in runs)
    print(f"{workdir}: {finished} of {len(runs)} points finished")
    print(*files, sep="\n")
    sys.exit(128 + received if received else int(finished < len(runs)))


def command(run: Run) -> list[str]:
    """What trains a point."""
    slice_flags = []
    if FLAGS.backend == "tpu":
        # A slice of its own: launch/tpu_train.sh joins what already runs on a slice, which must be this very point.
        slice_flags = [f"--tpu={slice_name(run)}", f"--zone={FLAGS.zone}", f"--accelerator={FLAGS.accelerator}"]
        slice_flags += ["--delete_when_done"]
    point_flags = [f"--config={run.point.config}", f"--workdir={run.workdir}", *run.settings]
    return [*TRAIN[FLAGS.backend], *slice_flags, *point_flags]


def slice_name(run: Run) -> str:
    return f"{FLAGS.tpu}-{re.sub('[^a-z0-9]', '-', run.point.name.lower())}"


class Scheduler:
    """Runs what is not finished, in the sweep's order, `parallel` at a time.

    The first SIGINT, SIGTERM or SIGHUP is passed on as SIGTERM, at which points save and end (on a TPU slice the job
    goes on, to be joined by the next start); the second kills them.
    """

    def __init__(self, runs: Sequence[Run], workdir: str, parallel: int):
        self.runs, self.workdir, self.parallel = runs, workdir, parallel
        self.logs = log_folder(workdir)
        self.children: list[tuple[Run, subprocess.Popen, TextIO, float]] = []  # with log and time of the start
        self.received: list[int] = []

    def go(self) -> int:
        """Returns when nothing runs any more: the first signal that came, or 0."""
        self.logs.mkdir(parents=True, exist_ok=True)
        sweep_summary.write(self.runs, self.workdir)
        done = sum(run.state == "finished" for run in self.runs)
        self.bar = progress(name="sweep", total=len(self.runs), initial=done, unit="point")
        every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        kinds = [kind for kind in every if signal.getsignal(kind) != signal.SIG_IGN]  # nohup ignores SIGHUP
        previous = {kind: signal.signal(kind, lambda number, frame: self.received.append(number)) for kind in kinds}
        passed_on = 0
        try:
            while True:
                if passed_on < min(len(self.received), 2):
                    passed_on += 1
                    self.stop(signal.SIGTERM if passed_on == 1 else signal.SIGKILL)
                for ended in [entry for entry in self.children if entry[1].poll() is not None]:
                    self.children.remove(ended)
                    self.collect(*ended)
                if not self.received:
                    self.start()
                if not self.children:
                    return self.received[0] if self.received else 0
                time.sleep(POLL_SECONDS)
        finally:
            self.bar.close()
            for _, child, _, _ in self.children:  # only after an error here
                child.terminate()
            for kind, handler in previous.items():
                signal.signal(kind, handler)

    def start(self) -> None:
        """Starts points that have what they need; those that never will are blocked."""
        states = {run.point.name: run.state for run in self.runs}
        for run in self.runs:
            if run.state != "waiting":
                continue
            missing = [name for name in run.point.needs.values() if states[name] != "finished"]
            lost = [name for name in missing if states[name] not in ("waiting", "running")]
            if lost:
                run.state, run.note = "blocked", f"needs {lost[0]}"
                states[run.point.name] = run.state
            elif not missing and len(self.children) < self.parallel:
                self.launch(run)

    def launch(self, run: Run) -> None:
        arguments = command(run)
        log = (self.logs / f"{run.point.name}.log").open("a")
        log.write(f"$ {shlex.join(arguments)}\n")
        log.flush()
        # A session of its own: Ctrl-C in the terminal reaches this process only, which stops the point in good order.
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.children.append((run, child, log, time.monotonic()))
        run.state = "running"
        self.show()

    def collect(self, run: Run, child: subprocess.Popen, log: TextIO, began: float) -> None:
        """Takes the result of a point that has ended."""
        log.close()
        run.seconds += time.monotonic() - began
        if child.returncode == 0:
            run.state = "finished"
            self.bar.update()
        elif child.returncode in STOPPED or (self.received and child.returncode == -signal.SIGKILL):
            run.state, run.note = "stopped", "the same command goes on"
        else:
            run.state, run.note = "failed", f"exit code {child.returncode}: {last_line(Path(log.name))} ({log.name})"
            self.bar.write(f"{run.point.name}: {run.state}, {run.note}", file=sys.stderr)
        self.show()
        sweep_summary.write(self.runs, self.workdir)

    def stop(self, number: int) -> None:
        for run, child, _, _ in self.children:
            if number == signal.SIGTERM:
                self.bar.write(f"{run.point.name}: is asked to stop", file=sys.stderr)
            # gid_jax.train's loading processes must outlive its last step; launch/tpu_train.sh waits for its own.
            alone = number == signal.SIGTERM and FLAGS.backend == "local"
            (os.kill if alone else os.killpg)(child.pid, number)

    def show(self) -> None:
        self.bar.set_postfix_str(", ".join(run.point.name for run, *_ in self.children))


def log_folder(workdir: str) -> Path:
    """Beside the points; for a sweep on Cloud Storage, where no file can grow, out/sweep_logs/NAME here."""
    return Path("out/sweep_logs") / os.path.basename(workdir.rstrip("/")) if "://" in workdir else Path(workdir) / LOGS


def last_line(log: Path) -> str:
    """The last line that says something; a progress bar's redrawn lines count one by one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


if __name__ == "__main__":
    cli.run(main, FLAGS)
