"""launch/tpu_train.sh against a stand-in for gcloud that notes each call and runs in folders what workers are sent."""

import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).with_name("gcloud_standin.py")
WHERE = ["--zone=us-west4-a"]
QUEUE = ["compute", "tpus", "queued-resources"]
NODE = ["compute", "tpus", "tpu-vm"]
LOOK = [*QUEUE, "describe", "fir", *WHERE, "--format=value(state.state)"]
LOOK_NODE = [*NODE, "describe", "fir", *WHERE, "--format=value(state)"]
LOOK_TYPE = [*NODE, "describe", "fir", *WHERE, "--format=value(acceleratorType)"]
DELETE = [*QUEUE, "delete", "fir", *WHERE, "--force", "--quiet"]
MADE = ["--node-id=fir", "--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite"]
CREATE = [*QUEUE, "create", "fir", *WHERE, *MADE, "--quiet"]
READY = ["ACTIVE", "READY"]

SCRIPTS = {
    # The worker's own programs: what it is told of the slice, Python to begin with, and gid_jax's Python, which trains.
    "bin/curl": """
        case "${!#}" in
          */agent-worker-number) echo "$WORKER" ;;
          */worker-network-endpoints) cat "$GCLOUD_STANDIN/endpoints" ;;
        esac""",
    "bin/python3": """
        echo "python3 $*" >> ~/installed
        mkdir -p ~/.local/bin && cp "$GCLOUD_STANDIN/bin/uv" ~/.local/bin/""",
    "bin/uv": """
        echo "uv $*" >> ~/installed
        [ "$2" != find ] || echo /opt/python3.12""",
    "bin/gcsfuse": """
        echo "gcsfuse $*" >> ~/installed
        sleep 600 < /dev/null > /dev/null 2>&1 &
        echo $! > ~/daemon""",
    "repository/launch/setup.sh": """
        echo "setup.sh $1 with $PYTHON" >> ~/installed
        mkdir -p "$VENV/bin" && cp launch/trains "$VENV/bin/python" """,
    "repository/launch/trains": """
        printf '%s\\n' "$PWD" >> ~/places
        { printf '%s\\0' "$@"; printf '\\1'; } >> ~/runs
        echo "training on worker $WORKER"
        outcome="$(head -n 1 ~/outcomes 2> /dev/null)" && sed -i 1d ~/outcomes
        if [ "$outcome" = wait ]; then read -r outcome < "$GCLOUD_STANDIN/gate"; fi
        exit "${outcome:-0}" """,
}


class Slice:
    """A checkout, a stand-in for gcloud and the homes of a slice's workers."""

    def __init__(self, folder: Path):
        self.folder, self.repository = folder, folder / "repository"
        for name, text in SCRIPTS.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/usr/bin/env bash\n" + text)
            path.chmod(0o755)
        (folder / "bin/gcloud").write_text(f'#!/bin/sh\nexec {sys.executable} -S {STANDIN} "$@"\n')
        (folder / "bin/gcloud").chmod(0o755)
        for name in ("tpu_train.sh", "tpu_worker.sh"):
            shutil.copy(ROOT / "launch" / name, self.repository / "launch")
        (self.repository / "configs").mkdir()
        (self.repository / "configs/vae.py").touch()
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=all")
        self.code = f"gid_jax-{self.git('rev-parse', 'HEAD')[:12]}"
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "GCLOUD_STANDIN": str(folder),
            "TMPDIR": str(folder),
        }
        self.plays()

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def plays(self, workers: int = 2, slice: tuple = (READY,), lost: tuple[int, ...] = (), **more: object) -> None:
        scenario = {"workers": workers, "slice": slice, "lost": lost, "accelerator": "v5litepod-16", **more}
        (self.folder / "scenario.json").write_text(json.dumps(scenario))
        for number in range(workers):
            self.home(number).mkdir(exist_ok=True)
        (self.folder / "endpoints").write_text(",".join(f"x:{n}:10.0.0.{n + 1}" for n in range(workers)) + "\n")

    def home(self, worker: int) -> Path:
        return self.folder / f"worker{worker}"

    def ends_with(self, worker: int, *outcomes: object) -> None:
        """What the training on this worker will exit with, run by run; 0 after that."""
        self.home(worker).joinpath("outcomes").write_text("".join(f"{outcome}\n" for outcome in outcomes))

    def open(self, *flags: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["launch/tpu_train.sh", "--poll_seconds=0", *flags],
            cwd=self.repository,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored in background jobs
        )

    def __call__(self, *flags: str) -> tuple[int, str, str]:
        process = self.open(*flags)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        return [call[3] for call in self.calls() if call[0] == "compute"]

    def runs(self, worker: int) -> list[list[str]]:
        """The arguments of each training run on this worker."""
        path = self.home(worker) / "runs"
        text = path.read_text() if path.exists() else ""
        return [run.split("\0")[:-1] for run in text.split("\1")[:-1]]


@pytest.fixture
def tpu(tmp_path: Path) -> Slice:
    return Slice(tmp_path)


def flags(*more: str) -> list[str]:
    return [
        "--tpu=fir", *WHERE, "--accelerator=v5e-16", "--config=configs/vae.py:paper", "--workdir=gs://b/vae", *more
    ]  # fmt: skip


TRAIN = ["-m", "gid_jax.train", "--config=configs/vae.py:paper", "--workdir=gs://b/vae"]


def together(process: int) -> list[str]:
    return ["--coordinator=10.0.0.1:8482", "--num_processes=2", f"--process_id={process}"]


def test_creates_a_slice_ships_the_commit_and_trains_on_every_worker(tpu):
    tpu.plays(slice=(["NOT_FOUND", ""], ["WAITING_FOR_RESOURCES", ""], ["ACTIVE", "CREATING"], READY))
    code, out, err = tpu(*flags("--config.num_steps=7"))
    assert code == 0, err
    unpack = f"{{ [ -d {tpu.code} ] || {{ mkdir -p {tpu.code}.part && tar -xzf {tpu.code}.tar.gz -C {tpu.code}.part"
    *before, scp, ssh = tpu.calls()
    assert before == [LOOK, CREATE, LOOK, LOOK, LOOK_NODE, LOOK, LOOK_NODE, LOOK_TYPE]
    assert Path(scp[4]).name == f"{tpu.code}.tar.gz"
    assert [*scp[:4], *scp[5:]] == [*NODE, "scp", "fir:", *WHERE, "--worker=all", "--quiet"]
    assert ssh == [
        *NODE, "ssh", "fir", *WHERE, "--worker=all", "--quiet",
        "--ssh-flag=-o ServerAliveInterval=30 -o ConnectTimeout=20",
        f"--command={unpack} && mv -T {tpu.code}.part {tpu.code}; }}; }} && bash {tpu.code}/launch/tpu_worker.sh copy "
        "--config=configs/vae.py:paper --workdir=gs://b/vae --config.num_steps=7",
    ]  # fmt: skip
    for worker in range(2):
        assert tpu.runs(worker) == [[*TRAIN, "--config.num_steps=7", *together(worker)]]
        assert (tpu.home(worker) / "places").read_text().strip() == str(tpu.home(worker) / tpu.code)
        assert (tpu.home(worker) / "installed").read_text().splitlines() == [
            "python3 -m pip install --quiet --user uv",
            "uv python install 3.12",
            "uv python find 3.12",
            "setup.sh tpu with /opt/python3.12",
        ]
    assert "training on worker 0" in out and "training on worker 1" not in out
    assert "slice fir is WAITING_FOR_RESOURCES" in out and "finished: gs://b/vae" in out
    assert not list(tpu.folder.glob("tmp*")), "the scratch folder is gone"


ODD = (
    '--config.note=it\'s "quoted" \\ and\nbroken',
    "--config.model.multipliers=(1, 2,  4)",
    "--config.list=[8, 'a']",
    "--config.shell=$HOME `id` $(id) ; exit 9 | cat & > x < y # z",
    "--config.glob=* ? ~ {a,b} !x %s é",
    "--config.empty=",
)


def test_odd_values_arrive_as_they_were_given(tpu):
    code, _, err = tpu(*flags(*ODD, "--", "--flag", "of its own"))
    assert code == 0, err
    for worker in range(2):
        assert tpu.runs(worker) == [[*TRAIN, *ODD, "--flag", "of its own", *together(worker)]]


def test_dry_run_prints_what_a_run_does_and_runs_nothing(tpu):
    """What is printed, given to a shell, makes the calls that the run makes."""
    scenario = {"slice": (["NOT_FOUND", ""], READY)}
    more = ("--spot", "--project=my project", "--delete_when_done", *ODD)
    (tpu.repository / "not committed").touch()
    code, script, err = tpu(*flags("--dry_run", *more))
    assert code == 0 and not err
    assert not tpu.calls() and not list(tpu.folder.glob("*.tar.gz"))
    (tpu.repository / "not committed").unlink()

    def calls():
        seen = [[Path(word).name if word.endswith(".tar.gz") else word for word in call] for call in tpu.calls()]
        for path in (*tpu.folder.glob("*.count"), tpu.folder / "calls.jsonl"):
            path.unlink()
        return seen

    tpu.plays(**scenario)
    code, _, err = tpu(*flags(*more))
    assert code == 0, err
    ran = calls()
    assert [*QUEUE, "create", "fir", *WHERE, "--project=my project", *MADE, "--spot", "--quiet"] in ran
    subprocess.run(["bash", "-c", script], cwd=tpu.repository, env=tpu.environment, check=True, capture_output=True)
    assert calls() == ran
    assert len(tpu.runs(0)) == 2 and tpu.runs(0)[0] == tpu.runs(0)[1]


def test_a_slice_that_exists_is_used_as_it_is(tpu):
    assert tpu(*flags())[0] == 0
    assert tpu.verbs() == ["describe", "describe", "describe", "scp", "ssh"]
    assert tpu(*flags())[0] == 0
    installs = (tpu.home(1) / "installed").read_text().splitlines()
    assert installs[4:] == [f"setup.sh tpu with {tpu.home(1)}/gid_jax/venv/bin/python"], "its Python is used again"


def test_a_slice_of_another_kind_is_refused(tpu):
    tpu.plays(accelerator="v5litepod-256")
    code, _, err = tpu(*flags())
    assert code == 2 and "slice fir is a v5litepod-256, not a v5litepod-16" in err
    assert "ssh" not in tpu.verbs()


def test_preemption_deletes_creates_again_and_goes_on(tpu):
    gone = (["SUSPENDING", "PREEMPTED"], ["SUSPENDED", "PREEMPTED"], ["NOT_FOUND", ""], ["PROVISIONING", ""], READY)
    tpu.plays(slice=(READY, *gone), lost=(1,))
    tpu.ends_with(0, 143)
    tpu.ends_with(1, 143)
    code, out, err = tpu(*flags("--spot"))
    assert code == 0, err
    assert tpu.verbs() == [
        "describe", "describe", "describe", "scp", "ssh",
        "describe", "describe", "delete", "describe", "create", "describe", "describe", "describe", "scp", "ssh",
        "describe", "describe", "scp", "ssh",
    ]  # fmt: skip
    assert DELETE in tpu.calls()
    assert [*CREATE[:-1], "--spot", "--quiet"] in tpu.calls()
    assert "exit code 143; restart 1 of at most 10" in out and "exit code 255; restart 2 of at most 10" in out
    assert tpu.runs(0) == tpu.runs(0)[:1] * 2, "the same command, from its checkpoint"


@pytest.mark.parametrize("lost", [["ACTIVE", "PREEMPTED"], ["ACTIVE", "NOT_FOUND"], ["SUSPENDED", ""]])
def test_what_is_left_of_a_slice_is_deleted_first(tpu, lost):
    tpu.plays(slice=(lost, ["NOT_FOUND", ""], READY))
    assert tpu(*flags())[0] == 0
    assert [verb for verb in tpu.verbs() if verb != "describe"] == ["delete", "create", "scp", "ssh"]


def test_gives_up_after_max_restarts_with_the_last_exit_code(tpu):
    tpu.plays(lost=(0, 1, 2))
    code, _, err = tpu(*flags("--max_restarts=2"))
    assert code == 255 and "gave up after 2 restarts" in err
    assert tpu.verbs().count("ssh") == 3


def test_failure_of_another_worker_is_visible_and_restarted(tpu):
    tpu.ends_with(1, 134)
    code, out, err = tpu(*flags())
    assert code == 0, err
    assert "worker 1: training on worker 1\nworker 1: exit code 134\n" in out
    assert len(tpu.runs(0)) == len(tpu.runs(1)) == 2


def test_what_the_user_must_mend_is_not_restarted(tpu):
    tpu.ends_with(0, 1)  # as it goes when another process leaves
    tpu.ends_with(1, 2)
    code, out, err = tpu(*flags("--delete_when_done"))
    assert code == 2 and len(err.splitlines()) == 1 and "was not restarted" in err
    assert "worker 0: exit code 1" in out and "worker 1: exit code 2" in out
    assert tpu.verbs().count("ssh") == 1 and tpu.calls()[-1] == DELETE


def test_a_second_start_joins_the_job_and_another_job_is_refused(tpu):
    """The first start is interrupted, the job goes on; no run is started beside it."""
    tpu.plays(workers=1)
    tpu.ends_with(0, "wait")
    os.mkfifo(tpu.folder / "gate")
    first = tpu.open(*flags())
    with open(tpu.folder / "gate", "w") as gate:  # opens when the training waits
        os.killpg(first.pid, signal.SIGINT)
        out, _ = first.communicate(timeout=600)
        assert first.returncode == 130 and "goes on; the same command joins it" in out
        second = tpu.open(*flags())
        seen = ""
        while "training on worker 0" not in seen:
            line = second.stdout.readline()
            assert line, seen
            seen += line
        assert "The job runs already: joining it." in seen
        code, out, err = tpu(*flags("--workdir=gs://b/other"))
        assert code == 2 and "another job runs on this slice" in out and "--workdir=gs://b/vae" in out
        gate.write("143\n")
    # The joined job was stopped; what follows is a restart by the second start.
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, err
    assert "worker 0: exit code 143" in out and len(tpu.runs(0)) == 2


def test_data_is_copied_to_local_disk(tpu):
    code, _, err = tpu(*flags("--config.data_dir=gs://b/my data/"))
    assert code == 0, err
    for worker in range(2):
        local = f"{tpu.home(worker)}/gid_jax/data/b/my data"
        assert ["storage", "rsync", "--recursive", "gs://b/my data", local] in tpu.calls()
        assert tpu.runs(worker) == [[*TRAIN, f"--config.data_dir={local}", *together(worker)]]


def test_data_is_mounted_on_request_and_the_mount_does_not_hold_the_job(tpu):
    tpu.plays(workers=1)
    process = tpu.open(*flags("--config.data_dir=gs://b/x/data", "--data=mount"))
    try:
        _, err = process.communicate(timeout=600)
    finally:
        os.kill(int((tpu.home(0) / "daemon").read_text()), signal.SIGKILL)
    assert process.returncode == 0, err
    local = f"{tpu.home(0)}/gid_jax/data/b/x/data"
    mounted = (tpu.home(0) / "installed").read_text().splitlines()[-1]
    assert mounted == f"gcsfuse --implicit-dirs -o ro --only-dir=x/data b {local}"
    assert tpu.runs(0) == [[*TRAIN, f"--config.data_dir={local}"]], "a single process needs no coordinator"


def test_a_request_that_failed_ends_with_its_reason(tpu):
    tpu.plays(slice=(["PROVISIONING", ""], ["FAILED", ""]))
    code, _, err = tpu(*flags())
    assert code == 1 and "the request for slice fir failed: out of quota" in err and len(err.splitlines()) == 1


def test_without_permission_nothing_is_created(tpu):
    tpu.plays(slice=(["PERMISSION_DENIED", ""],))
    code, _, err = tpu(*flags())
    assert code == 1 and "PERMISSION_DENIED" in err and "gcloud cannot tell the state of slice fir" in err
    assert tpu.verbs() == ["describe"]


def test_a_look_that_fails_later_is_repeated(tpu):
    tpu.plays(slice=(READY, ["UNAVAILABLE", ""], ["PERMISSION_DENIED", ""], READY), lost=(0,))
    code, _, err = tpu(*flags())
    assert code == 0, err


def test_creating_that_fails_ends(tpu):
    tpu.plays(slice=(["NOT_FOUND", ""],), create_code=1)
    code, _, err = tpu(*flags())
    assert code == 1 and "slice fir could not be created" in err


def test_delete(tpu):
    code, _, err = tpu("--delete", "--tpu=fir", *WHERE)
    assert code == 0, err
    assert tpu.calls() == [LOOK, DELETE]
    tpu.plays(slice=(["NOT_FOUND", ""],))
    code, out, _ = tpu("--delete", "--tpu=fir", *WHERE)
    assert code == 0 and "nothing to delete" in out and tpu.calls()[2:] == [LOOK]
    code, out, _ = tpu("--delete", "--dry_run", "--tpu=fir", *WHERE)
    assert code == 0 and shlex.split(out)[1:] == DELETE and len(tpu.calls()) == 3


def test_uncommitted_changes_are_shipped_only_when_told_so(tpu):
    (tpu.repository / "configs/vae.py").write_text("changed")
    for number in range(3000):  # a status longer than a pipe holds
        (tpu.repository / f"{'x' * 50}{number}").touch()
    code, _, err = tpu(*flags())
    assert code == 2 and "configs/vae.py" in err and len(err.splitlines()) == 1 and not tpu.calls()
    assert tpu(*flags("--commit=HEAD"))[0] == 0
    with tarfile.open(tpu.home(0) / f"{tpu.code}.tar.gz") as archive:
        assert archive.extractfile("configs/vae.py").read() == b""


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["--zone="], "--zone is missing"),
        (["--workdir="], "--workdir is missing"),
        (["--workdir=out/vae"], "--workdir=out/vae must be on gs://"),
        (["--config=configs/vea.py"], "there is no configs/vea.py in commit HEAD"),
        (["--commit=nowhere"], "--commit=nowhere: no such commit"),
        (["--accelerator=h100-8"], "--accelerator=h100-8"),
        (["--max_restarts=many"], "--max_restarts=many is not a whole number"),
        (["--data=link"], "--data=link: choose copy or mount"),
        (["--tpus=fir"], "unknown flag --tpus=fir"),
        (["--config.num_steps", "7"], "unknown flag --config.num_steps"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(tpu, bad, message):
    code, out, err = tpu(*flags(*bad))
    assert code == 2 and not out and len(err.splitlines()) == 1 and message in err, err
    assert not tpu.calls()


@pytest.mark.parametrize(
    ("accelerator", "kind", "image"),
    [
        ("v6e-64", "v6e-64", "v2-alpha-tpuv6e"),
        ("v5p-128", "v5p-128", "v2-alpha-tpuv5"),
        ("v5litepod-256", "v5litepod-256", "v2-alpha-tpuv5-lite"),
        ("v4-32", "v4-32", "tpu-ubuntu2204-base"),
    ],
)
def test_the_image_follows_from_the_accelerator(tpu, accelerator, kind, image):
    _, out, _ = tpu(*flags(f"--accelerator={accelerator}", "--dry_run"))
    assert f"--accelerator-type={kind} --runtime-version={image} " in out
    _, out, _ = tpu(*flags(f"--accelerator={accelerator}", "--dry_run", "--runtime_version=mine"))
    assert f"--accelerator-type={kind} --runtime-version=mine " in out


def test_help_names_every_flag(tpu):
    code, out, _ = tpu("--help")
    assert code == 0 and "set -euo" not in out
    script = (ROOT / "launch/tpu_train.sh").read_text()
    read = set(re.findall(r"--([a-z_]+)", script.split("while [ $# -gt 0 ]")[1].split("\ndone\n")[0]))
    assert {"tpu", "spot", "max_restarts", "delete_when_done"} <= read
    assert {flag for flag in read if f"\n  --{flag}" not in out} == {"help", "name"}
