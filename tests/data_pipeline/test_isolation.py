"""Decoding in a child: what it gives, and that nothing which happens there reaches this process but as a UserError."""

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import misbehaviour
import numpy as np
import pytest

from data_pipeline import isolation, video
from gid_jax.errors import UserError

CLIP = Path("/clips/clip.mp4")


def test_the_same_as_here(write_video, make_pictures):
    path = write_video("a.mkv", make_pictures(30))
    options = {"fps": 30, "width": 32, "height": 20}
    here, there = video.read_frames(path, **options), isolation.iterate(video.read_frames, path, **options)
    np.testing.assert_array_equal(list(here), list(there))
    assert isolation.call(video.read_timeline, path, 0.02) == video.read_timeline(path, 0.02)
    with pytest.raises(UserError) as error:
        isolation.call(video.read_timeline, path.with_name("absent.mp4"), 0.02)
    assert str(error.value) == f"{path.with_name('absent.mp4')}: no such file; check --videos"


def test_streams_may_be_interleaved_and_left_unfinished():
    first, second = (isolation.iterate(misbehaviour.shout, Path(name), 10**5) for name in ("a", "b"))
    assert [next(first), next(second), next(first), next(second)] == ["a 0", "b 0", "a 1", "b 1"]
    first.close()
    assert next(second) == "b 2"
    assert list(isolation.iterate(misbehaviour.shout, Path("c"), 2)) == ["c 0", "c 1"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (misbehaviour.crash, "crashes the decoder (Segmentation fault)"),
        (misbehaviour.hang, "hangs the decoder (no frame in 2 s)"),
        (misbehaviour.eat, "needs over 2 GiB to decode"),
        (misbehaviour.stumble, "not a video, or damaged (ZeroDivisionError: division by zero)"),
    ],
)
def test_whatever_happens_is_a_verdict_on_the_video(function, reason, monkeypatch):
    list(isolation.iterate(misbehaviour.shout, CLIP, 1))  # the child is started and has time to
    monkeypatch.setattr(isolation, "PATIENCE", 2 if function is misbehaviour.hang else 60)
    with pytest.raises(UserError) as error:
        list(isolation.iterate(function, CLIP))
    assert str(error.value).startswith(f"{CLIP}: {reason}") and "leave it out" in str(error.value)
    monkeypatch.undo()
    assert list(isolation.iterate(misbehaviour.shout, CLIP, 1)) == ["clip.mp4 0"]


def test_a_stream_in_a_garbage_cycle_closes_its_connection_once(monkeypatch):
    list(isolation.iterate(misbehaviour.shout, CLIP, 1))  # an idle child, which the collector meets before the stream
    gc.collect()  # what earlier tests left behind
    closed, close = [], isolation.Connection._close
    monkeypatch.setattr(isolation.Connection, "_close", lambda self: (closed.append(self._handle), close(self)))
    cycle = [isolation.iterate(misbehaviour.shout, CLIP, 10**5)]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(closed) == 1


def test_slow_is_not_hung(monkeypatch):
    list(isolation.iterate(misbehaviour.shout, CLIP, 1))
    monkeypatch.setattr(isolation, "PATIENCE", 4)
    assert isolation.call(misbehaviour.be_slow, CLIP) == "done"


def test_children_end_with_a_process_that_is_killed():
    code = """if True:
        from pathlib import Path
        import misbehaviour
        from data_pipeline import isolation
        for _ in isolation.iterate(misbehaviour.shout, Path("a"), 10**9):
            print(isolation.os.popen(f"pgrep -P {isolation.os.getpid()} -f isolation").read(), flush=True)
            input()
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        child = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
