"""What a decoder may do, for a child process to do: every function takes a path like those of `video`."""

import os
import signal
import time
from pathlib import Path

from gid_jax.video import decoding


def shout(path: Path, count: int):
    yield from (f"{path.name} {i}" for i in range(count))


def crash(path: Path):
    yield "a picture"
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(path: Path):
    time.sleep(1000)


def be_slow(path: Path):
    for _ in range(8):
        time.sleep(0.7)
        decoding.on_frame()
    return "done"


def eat(path: Path):
    return len(bytearray(3 << 30))


def stumble(path: Path):
    return 1 / 0
