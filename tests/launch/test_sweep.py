"""Sweeps, with a stand-in for gid_jax.train that is quick but reads its flags and leaves checkpoints as that does."""

import csv
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from gid_jax import cli
from gid_jax.checkpoints.checkpoint import newest_step
from launch import sweep, sweep_points

ROOT = Path(__file__).resolve().parents[2]

# config.seed says what befalls the point; the file events.txt beside the workdirs says what happened when.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
from gid_jax.train import FLAGS

of_the_slice = ("--tpu", "--zone", "--accelerator", "--delete_when_done")
FLAGS([argument for argument in sys.argv if not argument.startswith(of_the_slice)])
config, workdir = FLAGS.config, Path(FLAGS.workdir)
events = workdir.parent / "events.txt"

def tell(sign):
    with events.open("a") as file:
        file.write(sign + workdir.name + "\\n")

def save(step):
    (workdir / "checkpoints" / str(step)).mkdir(parents=True, exist_ok=True)

def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    sys.exit("waited in vain")

tell("+")
for key in ("vae", "base"):
    if config[key] and not (Path(config[key]) / "checkpoints").exists():
        sys.exit(f"{config[key]} is not trained")
workdir.mkdir(exist_ok=True)
(workdir / "config.json").write_text(json.dumps(config.to_dict()))
if config.seed == 1:
    print("step 1 of 8\\rstep 2 of 8\\npython -m gid_jax.train: error: loss nan at step 3\\n")
    sys.exit(2)
if config.seed == 2:  # until another point has started too
    wait_for(lambda: events.read_text().count("+") > 1)
if config.seed == 3 and not (workdir / "checkpoints").exists():  # Ctrl-C in the middle of it
    stopped = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    os.kill(os.getppid(), signal.SIGINT)
    wait_for(lambda: stopped)
    save(3)
    tell("saved ")
    sys.exit(143)
if config.seed == 4:  # deaf to everything but SIGKILL
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getppid(), signal.SIGTERM))
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
if config.seed == 6:
    os.kill(os.getppid(), signal.SIGINT)
lines = [{"step": 4, "split": "train", "loss": 0.5}, {"step": 8, "split": "train", "loss": 0.25, "steps_per_second": 3}]
lines += [{"step": 8, "split": "test", "loss": config.optimizer.learning_rate}]
(workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines) + '{"step": 9, "spl')
save(config.num_steps)
tell("-")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the stand-in, as the train command of both back-ends; the working directory is the checkout."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    for backend in sweep.TRAIN:
        monkeypatch.setitem(sweep.TRAIN, backend, (sys.executable, str(script)))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest runs in the background
    yield tmp_path
    signal.signal(signal.SIGINT, previous)


def write_sweep(place, *points):
    """A sweep file of these points; each is the arguments of `Point`."""
    path = place / "points.py"
    path.write_text(
        "from configs.sweeps import Point\n\n\ndef get_points(preset='test'):\n"
        + "".join(f"    yield Point{arguments!r}\n" for arguments in points)
    )
    return path


def vae(name, **overrides):
    return (name, "configs/vae.py:test", overrides)


def run(place, *arguments, sweep_file=None):
    """Exit code of the command, run in this process on DIR/out."""
    for name in sweep.FLAGS:
        sweep.FLAGS[name].unparse()
    argv = ["sweep", f"--config={sweep_file or place / 'points.py'}", f"--workdir={place / 'out'}", *arguments]
    try:
        cli.run(sweep.main, sweep.FLAGS, argv)
    except SystemExit as error:
        return error.code
    return 0


def events(place):
    path = place / "out" / "events.txt"
    return path.read_text().splitlines() if path.exists() else []


def summary(place):
    with (place / "out" / "summary.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


DATA = "--config.data_dir=data"


def test_points_run_after_what_they_need_and_are_summed_up(place, capsys):
    write_sweep(
        place,
        vae("vae", **{"optimizer.learning_rate": 0.125}),
        ("denoiser", "configs/denoiser.py:test", {"condition_dropout": 0.2}, {"vae": "vae"}),
        ("coordinated", "configs/coordinated.py:test", {}, {"base": "denoiser"}),
    )
    assert run(place, DATA, "--parallel=3") == 0
    assert events(place) == ["+vae", "-vae", "+denoiser", "-denoiser", "+coordinated", "-coordinated"]
    rows = summary(place)
    row = rows["vae"]
    assert (row["state"], row["steps"], row["config"]) == ("finished", "8", "configs/vae.py:test")
    assert (row["optimizer.learning_rate"], row["test.loss"], row["train.loss"]) == ("0.125", "0.125", "0.25")
    assert row["train.steps_per_second"] == "3" and 0 < float(row["seconds"]) < 60
    assert rows["denoiser"]["vae"] == "vae" and rows["denoiser"]["condition_dropout"] == "0.2"
    assert rows["denoiser"]["optimizer.learning_rate"] == ""
    assert (place / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "3 of 3 points finished" in capsys.readouterr().out


def test_so_many_at_a_time_as_asked_for(place):
    write_sweep(place, vae("a", seed=2), vae("b", seed=2), vae("c"), vae("d"))
    assert run(place, DATA, "--parallel=2") == 0
    running = [0]
    for event in events(place):
        running.append(running[-1] + (1 if event[0] == "+" else -1))
    assert max(running) == 2


def test_a_finished_point_is_not_run_again_and_keeps_its_row(place):
    write_sweep(place, vae("a"), vae("b"))
    assert run(place, DATA) == 0
    before = summary(place)
    write_sweep(place, vae("a"), vae("b"), vae("c"))
    assert run(place, DATA) == 0
    assert events(place) == ["+a", "-a", "+b", "-b", "+c", "-c"]
    after = summary(place)
    assert after["a"].items() >= before["a"].items() and after["c"]["state"] == "finished"


def test_a_failure_stops_only_what_needs_it(place, capsys):
    points = [
        vae("bad", seed=1),
        ("on_bad", "configs/denoiser.py:test", {}, {"vae": "bad"}),
        ("on_that", "configs/coordinated.py:test", {}, {"base": "on_bad"}),
    ]
    write_sweep(place, *points, vae("good"))
    assert run(place, DATA) == 1
    assert [event for event in events(place) if event[0] == "+"] == ["+bad", "+good"]
    out = capsys.readouterr().out
    log = place / "out" / "logs" / "bad.log"
    assert f"bad: failed, exit code 2: python -m gid_jax.train: error: loss nan at step 3 ({log})" in out
    assert "on_bad: blocked, needs bad" in out and "on_that: blocked, needs on_bad" in out
    assert "1 of 4 points finished" in out
    assert {name: row["state"] for name, row in summary(place).items()} == {
        "bad": "failed",
        "on_bad": "blocked",
        "on_that": "blocked",
        "good": "finished",
    }
    write_sweep(place, vae("bad", seed=0), *points[1:], vae("good"))  # no checkpoint yet: it may change
    assert run(place, DATA) == 0
    assert [event for event in events(place) if event[0] == "+"][2:] == ["+bad", "+on_bad", "+on_that"]


@pytest.mark.parametrize("steps", ["3", "8"])
def test_a_point_whose_settings_changed_is_refused_before_anything_runs(place, capsys, steps):
    write_sweep(place, vae("a", **{"optimizer.learning_rate": 0.5}))
    assert run(place, DATA) == 0
    (place / "out" / "a" / "checkpoints" / "8").rename(place / "out" / "a" / "checkpoints" / steps)
    write_sweep(place, vae("new"), vae("a", **{"optimizer.learning_rate": 0.25}))
    assert run(place, DATA) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "out/a: was trained with optimizer.learning_rate = 0.5, the sweep now says 0.25" in message
    assert len(events(place)) == 2


def test_a_summary_that_was_edited_is_refused(place, capsys):
    write_sweep(place, vae("a"))
    (place / "out").mkdir()
    (place / "out" / "summary.csv").write_text("name,seconds\na,soon\n")
    assert run(place, DATA) == 2
    assert "summary.csv: has no seconds for each point any more; remove it" in capsys.readouterr().err
    assert not events(place)


def test_what_nohup_ignores_stays_ignored(place):
    """The point sends SIGINT and goes on, since nothing asks it to stop."""
    write_sweep(place, vae("a", seed=6))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run(place, DATA) == 0
    assert events(place) == ["+a", "-a"]


def test_how_a_point_is_run_and_where_may_change(place):
    write_sweep(place, vae("vae"), ("denoiser", "configs/denoiser.py:test", {}, {"vae": "vae"}))
    assert run(place, DATA) == 0
    (place / "out").rename(place / "moved")
    (place / "out").symlink_to("moved")
    (place / "elsewhere").symlink_to("moved")
    arguments = (DATA, "--config.mesh.fsdp=2", "--config.log_every=1", f"--workdir={place / 'elsewhere'}")
    assert run(place, *arguments) == 0
    assert len(events(place)) == 4


def test_ctrl_c_saves_and_the_same_command_goes_on(place, capsys):
    write_sweep(place, vae("a", seed=3), vae("b"))
    handlers = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    assert run(place, DATA) == 130
    assert handlers == [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    assert events(place) == ["+a", "saved a"] and newest_step(str(place / "out" / "a")) == 3
    assert "a: stopped, the same command goes on" in capsys.readouterr().out
    stopped = summary(place)
    assert (stopped["a"]["state"], stopped["b"]["state"]) == ("stopped", "waiting")
    assert run(place, DATA) == 0
    assert events(place)[2:] == ["+a", "-a", "+b", "-b"]
    assert float(summary(place)["a"]["seconds"]) > float(stopped["a"]["seconds"])


def test_a_second_signal_kills(place):
    write_sweep(place, vae("deaf", seed=4))
    assert run(place, DATA) == 143
    assert summary(place)["deaf"]["state"] == "stopped"


def test_dry_run_prints_commands_for_a_shell_and_runs_none(place, capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    write_sweep(
        place,
        vae("a", **{"model.multipliers": (1, 2), "task": "va'e $HOME"}),
        ("b", "configs/denoiser.py:test", {}, {"vae": "a"}),
    )
    assert run(place, "--config.data_dir=my data", "--dry_run") == 0
    comment, first, _, second = capsys.readouterr().out.splitlines()
    assert comment == "# a" and not (place / "out").exists()
    told = subprocess.run(["bash", "-c", f"printf '%s\\n' {first}"], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [
        sys.executable,
        "-m",
        "gid_jax.train",
        "--config=configs/vae.py:test",
        f"--workdir={place}/out/a",
        "--config.data_dir=my data",
        "--config.model.multipliers=(1, 2)",
        "--config.task=va'e $HOME",
    ]
    assert shlex.split(second)[-1] == f"--config.vae={place}/out/a"

    tpu = ("--backend=tpu", "--tpu=pod", "--zone=us-east1-c", "--accelerator=v5litepod-16", "--workdir=gs://b/s")
    assert run(place, DATA, "--dry_run", "--parallel=2", *tpu) == 0
    lines = capsys.readouterr().out.splitlines()
    assert shlex.split(lines[1])[:7] == [
        "launch/tpu_train.sh",
        "--tpu=pod-a",
        "--zone=us-east1-c",
        "--accelerator=v5litepod-16",
        "--delete_when_done",
        "--config=configs/vae.py:test",
        "--workdir=gs://b/s/a",
    ]
    assert "--tpu=pod-b " in lines[3] and lines[3].endswith("--config.vae=gs://b/s/a")


def test_each_tpu_point_has_a_slice_of_its_own_and_joins_it_again(place):
    write_sweep(place, vae("A_0.5", seed=3), vae("b"))
    tpu = ("--backend=tpu", "--tpu=pod", "--zone=z", "--accelerator=v5litepod-16")
    assert run(place, DATA, *tpu) == 130
    assert run(place, DATA, *tpu) == 0
    logs = (place / "out" / "logs" / "A_0.5.log", place / "out" / "logs" / "b.log")
    words = [word for log in logs for word in log.read_text().split() if word.startswith("--tpu=")]
    assert words == ["--tpu=pod-a-0-5", "--tpu=pod-a-0-5", "--tpu=pod-b"]
    assert [row["state"] for row in summary(place).values()] == ["finished"] * 2


@pytest.mark.parametrize(
    ("points", "arguments", "message"),
    [
        ([vae("a"), vae("a")], [DATA], "two points are called 'a'"),
        ([vae("a/b")], [DATA], "a point cannot be called 'a/b'"),
        ([vae("logs")], [DATA], "a point cannot be called 'logs'"),
        ([], [DATA], "yields no points"),
        ([("b", "configs/denoiser.py:test", {}, {"vae": "a"}), vae("a")], [DATA], "needs 'a', which does not come"),
        (
            [vae("a"), vae("b", **{"optimizer.rate": 1})],
            [DATA],
            "point b: no such setting in the configuration: 'rate'",
        ),
        ([vae("a"), vae("b", num_steps="many")], [DATA], "point b: flag --config.num_steps=many"),
        ([("a", "configs/vae.py:huge", {})], [DATA], "point a: unknown preset 'huge'"),
        (
            [("a", "configs/vea.py:test", {})],
            [DATA],
            "point a: --config=configs/vea.py:test: no such configuration file",
        ),
        ([vae("a", seed=5)], [DATA, "--config.seed=3"], "--config.seed: the sweep sets it for point a"),
        ([vae("a")], [], "point a: no data set is named"),
        ([vae("a")], [DATA, "--wrokdir=x"], "unexpected argument '--wrokdir=x'"),
        ([vae("a")], [DATA, "--backend=tpu", "--zone=z", "--accelerator=v"], "--tpu is missing"),
        (
            [vae("a_1"), vae("a.1")],
            [DATA, "--backend=tpu", "--tpu=t", "--zone=z", "--accelerator=v"],
            "two points would have one TPU slice",
        ),
        ([vae("a")], [DATA, "--workdir=/proc/none"], "/proc/none"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(place, capsys, points, arguments, message):
    path = write_sweep(place, *points)
    if not points:
        path.write_text("def get_points(preset='test'):\n    yield from ()\n")
    assert run(place, *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert message in lines[-1] and lines[-1].startswith("python -m launch.sweep: error: ")
    assert not (place / "out").exists()


def test_an_unknown_sweep_is_told_the_known_ones(place, capsys):
    assert run(place, sweep_file="configs/sweeps/nope.py") == 2
    message = "configs/sweeps/nope.py: no such sweep; configs/sweeps has ablation, learning_rate, table2"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["demo", "test", "paper"])
@pytest.mark.parametrize("name", ["ablation", "learning_rate", "table2"])
def test_every_sweep_of_the_project_builds(name, preset, monkeypatch):
    monkeypatch.chdir(ROOT)
    points = sweep_points.load_points(f"configs/sweeps/{name}.py:{preset}")
    runs = sweep_points.prepare(points, "/out", [DATA])
    assert all(run.config.preset == preset for run in runs)


@pytest.mark.slow
def test_two_real_stages_in_a_row(tmp_path):
    tiny.write_dataset(tmp_path / "data")
    write_sweep(
        tmp_path,
        vae("vae", num_steps=4),
        ("denoiser", "configs/denoiser.py:test", {"num_steps": 4}, {"vae": "vae"}),
    )
    command = [
        sys.executable,
        "-m",
        "launch.sweep",
        f"--config={tmp_path / 'points.py'}",
        f"--workdir={tmp_path / 'out'}",
    ]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    for expected in ("2 of 2 points finished", "2 of 2 points finished"):
        done = subprocess.run(
            [*command, f"--config.data_dir={tmp_path / 'data'}"],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and expected in done.stdout, done.stderr
    rows = summary(tmp_path)
    assert all(float(row["test.loss"]) > 0 and row["steps"] == "4" for row in rows.values())
    assert (tmp_path / "out" / "logs" / "vae.log").read_text().count("$ ") == 1
