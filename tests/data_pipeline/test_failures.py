"""A full disk, a lost permission, a killed worker: one clear line, and a rerun that gives the same bytes."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from test_build import StopsAfter, build, config, content, sway, videos  # noqa: F401

from data_pipeline import dataset, pipeline
from data_pipeline.failures import StoreUnwritable, explain
from data_pipeline.workers import WorkerLost
from gid_jax.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam and TFDS warn of their own insides

TWO_PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture
def small_disk(tmp_path):
    """mount(options) makes, then changes, a file system in memory at the path it returns."""
    place, mounted = tmp_path / "disk", []

    def mount(options: str) -> Path:
        place.mkdir(exist_ok=True)
        options = f"remount,{options}" if mounted else options
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("needs the right to mount")
        mounted.append(True)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("kibibytes", [40, 100, 160])
def test_a_full_disk_at_any_stage(videos, tmp_path, small_disk, kibibytes):  # noqa: F811
    whole = build(videos, tmp_path / "whole")
    disk = small_disk(f"size={kibibytes}k")
    with pytest.raises(UserError, match=r"No space left on device.*make room.*run again") as error:
        build(videos, disk)
    assert "\n" not in str(error.value)
    assert not list(disk.glob("gid_motion/*/*")) and not list(disk.rglob("*.json.*.tmp"))
    small_disk("size=100m")
    assert content(build(videos, disk)) == content(whole)


class LosesPermission:
    """`sway` that makes the disk read-only at its second clip."""

    def __init__(self, mount):
        self.mount, self.count = mount, 0

    def __call__(self, source, targets, preset):
        self.count += len(targets) > 1
        if self.count == 2:
            self.mount("ro")
        return sway(source, targets, preset)


def test_a_lost_permission(videos, tmp_path, small_disk):  # noqa: F811
    disk = small_disk("size=100m")
    with pytest.raises(UserError, match=r"Read-only file system.*mend the permission.*run again"):
        build(videos, disk, estimator=LosesPermission(small_disk))
    small_disk("rw")
    assert content(build(videos, disk, estimator=StopsAfter(7))) == content(build(videos, tmp_path / "whole"))


def test_a_write_that_fails_leaves_nothing_behind(videos, tmp_path, monkeypatch):  # noqa: F811
    write, count = Path.write_bytes, 0

    def full_at_the_ninth(path: Path, data: bytes) -> int:
        nonlocal count
        count += 1
        if count == 9:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_at_the_ninth)
    with pytest.raises(UserError, match="No space left on device"):
        build(videos, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tmp"))
    assert content(build(videos, tmp_path / "data")) == content(build(videos, tmp_path / "whole"))


def test_damaged_or_missing_parts_of_the_cache_are_made_again(videos, tmp_path):  # noqa: F811
    strict = config()
    strict.filters.min_motion = 100.0
    with pytest.raises(UserError, match="no clip is fit"):
        build(videos, tmp_path / "data", config=strict)
    parts = sorted((tmp_path / "data" / ".cache").glob("*/*"))
    for suffix in (".json", ".msgpack"):
        some = [path for path in parts if path.name.endswith(f"000000{suffix}")]
        some[0].write_bytes(b"") if suffix == ".json" else some[1].unlink()
    next(path for path in parts if "timeline" in path.name).write_bytes(b'{"times": [0.0, 0.0')
    made = build(videos, tmp_path / "data", estimator=StopsAfter(2))
    assert content(made) == content(build(videos, tmp_path / "whole"))


class KilledAtThe:
    """`sway` whose process is killed at its `count`-th clip, over all processes that share `marks`."""

    def __init__(self, count: int, marks: Path):
        self.count, self.marks = count, marks

    def __call__(self, source: np.ndarray, targets: np.ndarray, preset: str) -> np.ndarray:
        if len(targets) > 1:
            (self.marks / str(time.time_ns())).touch()
            if len(list(self.marks.iterdir())) == self.count:
                os.kill(os.getpid(), signal.SIGKILL)
        return sway(source, targets, preset)


@pytest.mark.slow
def test_a_killed_worker_process(videos, tmp_path):  # noqa: F811
    (tmp_path / "marks").mkdir()
    options = pipeline.parse_options(TWO_PROCESSES)
    estimator = KilledAtThe(3, tmp_path / "marks")
    with pytest.raises(UserError, match=r"a worker process was ended by signal 9.*run again") as error:
        build(videos, tmp_path / "data", options=options, estimator=estimator)
    assert "\n" not in str(error.value)
    made = build(videos, tmp_path / "data", options=options, estimator=estimator)
    assert content(made) == content(build(videos, tmp_path / "whole"))


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_worker_process(videos, tmp_path, small_disk):  # noqa: F811
    disk = small_disk("size=40k")
    with pytest.raises(UserError, match=r"No space left on device.*run again") as error:
        build(videos, disk, options=pipeline.parse_options(TWO_PROCESSES))
    assert "\n" not in str(error.value)


def test_only_what_the_user_can_mend_is_explained():
    last = "data_pipeline.failures.StoreUnwritable: /d/a.json: cannot be written (Disk quota exceeded)"
    told = RuntimeError(f"Traceback ...\n{last} [while running 'make examples']\n\n")
    assert explain(told) == "/d/a.json: cannot be written (Disk quota exceeded); make room or mend the permission"
    assert "/d/x" in explain(PermissionError(errno.EACCES, "Permission denied", "/d/x"))
    assert explain(StoreUnwritable("/d: full")).startswith("/d: full")
    assert explain(WorkerLost("a worker process ended")).startswith("a worker process ended")
    for bug in (RuntimeError("shapes differ"), ValueError("No space left on device"), FileNotFoundError(2, "x", "/y")):
        assert explain(bug) is None


def test_reasons_are_counted_by_their_kind():
    kinds = {
        "too short: 1.20 s, a clip needs 5.00 s": "too short",
        "damaged (Invalid data found after 2.0 s); export it again": "damaged",
        "not a video, or damaged (End of file)": "not a video",
        "ends after 60 frames, before frame 85": "ends",
        "static: percentile 98 of the motion is 0.01 px": "static",
    }
    assert {reason: pipeline.reason_kind(reason) for reason in kinds} == kinds
    entry = {"rejected": [{"reason": "static: all"}, {"reason": "static: most"}], "reason": "static: most"}
    assert dataset._count_rejections({"a": entry, "b": {"rejected": []}}) == {
        "videos rejected: static": 1,
        "clips rejected: static": 2,
    }
