"""Decoding in a process of its own: no file can crash, hang or starve the build.

The child has a limit on its memory and must show a decoded frame, or another sign of life, once in a while. Whatever
goes wrong in it is a verdict on the video. Children are kept for the next video and die with this process.
"""

import atexit
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gid_jax.errors import UserError
from gid_jax.video import decoding

PATIENCE = 120  # s without a frame; time during which this process itself was stopped does not count
MEMORY = 2 << 30  # bytes of data; a frame of 7680 x 4320 in 16 bits with its references takes half of it

_BEAT, _ITEM, _END, _ERROR = range(4)


def iterate(function: Callable[..., Any], path: Path, *arguments: Any, **keywords: Any) -> Iterator[Any]:
    """What function(path, ...) yields in a child, or its result as the only item.

    Raises `UserError`: the function's own, or that the decoder crashed, hung, or needed too much memory.
    """
    child = _idle.pop() if _idle else _Child()
    reusable = False
    try:
        child.connection.send((function, path, arguments, keywords))
        while (message := child.receive())[0] != _END:
            if message[0] == _ERROR:
                reusable = True
                raise UserError(message[1])
            if message[0] == _ITEM:
                yield message[1]
        reusable = True
    except _Lost as error:
        raise UserError(f"{path}: {error}; leave it out") from None
    finally:
        if reusable:
            _idle.append(child)
        else:
            child.kill()


def call(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """`function(path, ...)`, like `iterate`."""
    (result,) = iterate(function, path, *arguments)
    return result


class _Lost(Exception):
    """What became of a child."""


class _Child:
    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "data_pipeline.isolation", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the libraries' last words
            )
        _children.add(self)

    def receive(self) -> tuple[int, Any]:
        try:
            for _ in range(PATIENCE):
                if self.connection.poll(1.0):
                    return self.connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            raise _Lost(f"crashes the decoder ({signal.strsignal(-code) if code < 0 else code})") from None
        raise _Lost(f"hangs the decoder (no frame in {PATIENCE} s)")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()
        _children.discard(self)


_idle: list[_Child] = []
# Keeps each connection from the garbage collector until `kill` closes it: a collected one closes its descriptor, and
# `kill`, called after that by a collected generator, would close the number again, by then perhaps another file's.
_children: set[_Child] = set()


@atexit.register
def _stop() -> None:
    for child in list(_children):
        child.kill()


def exit_with(parent: int) -> None:
    """Ends this process soon after the process `parent`, which started it, has ended however it did."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(connection: Connection) -> None:
    """Calls functions until the other side closes the connection."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > 1.0:
            connection.send((_BEAT, None))
            last = time.monotonic()

    decoding.on_frame = beat
    while True:
        function, path, arguments, keywords = connection.recv()
        try:
            result = function(path, *arguments, **keywords)
            for item in result if isinstance(result, Iterator) else (result,):
                connection.send((_ITEM, item))
            connection.send((_END, None))
        except UserError as error:
            connection.send((_ERROR, str(error)))
        except MemoryError:
            connection.send((_ERROR, f"{path}: needs over {MEMORY >> 30} GiB to decode; leave it out"))
        except ConnectionError:
            raise
        except Exception as error:  # ZeroDivisionError of a time base of 0, and what else damaged headers lead to
            reason = f"not a video, or damaged ({type(error).__name__}: {error})"
            connection.send((_ERROR, f"{path}: {reason}; export it again or leave it out"))


if __name__ == "__main__":
    exit_with(os.getppid())
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        _serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError, KeyboardInterrupt):
        sys.exit(1)
