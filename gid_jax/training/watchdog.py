"""Ends a process that has stopped getting anywhere: a device, another host or the data set no longer answers."""

import faulthandler
import os
import socket
import sys
import threading

import jax

STUCK = 75  # exit code, EX_TEMPFAIL: worth another try


class Watchdog:
    """After `patience` seconds without `alive` the process prints where it waits and exits with `STUCK`; 0: never.

    Seconds in which the process itself was stopped do not count. Nothing is saved: what hangs is beyond reach, and a
    collective operation that other hosts do not join never ends. The job starts again from its newest checkpoint.
    """

    def __init__(self, patience: float):
        self._patience = patience
        self._seconds, self.doing = 0, "at the start"
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._patience:
            self._thread.start()
        return self

    def alive(self, doing: str) -> None:
        """There is progress; what comes next is called `doing`, as in "in step 7"."""
        self._seconds, self.doing = 0, doing

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            self._seconds += 1
            if self._seconds >= self._patience:
                print(
                    f"stuck: process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()} has been "
                    f"{self.doing} for {self._seconds} s (config.stuck_after); another host, a device or the data set "
                    "does not answer; the same command goes on from the newest checkpoint",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(STUCK)

    def __exit__(self, *error: object) -> None:
        self._closed.set()
