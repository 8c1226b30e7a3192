"""SIGTERM and Ctrl-C: the run saves and ends."""

import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopSignal:
    """Whether SIGTERM or SIGINT has come: `received` is the first of them, or 0. A second SIGINT ends the process.

    Several processes agree on the step through JAX's coordination service, which listens to SIGTERM.
    """

    received = 0

    def __enter__(self) -> "StopSignal":
        self._alone = jax.process_count() == 1
        self._previous, self._write = {}, -1
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM) if self._alone else (signal.SIGINT,)
            kept = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # as nohup and `&` do
            self._previous = {number: signal.signal(number, self._receive) for number in kept}
            read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            threading.Thread(target=_count, args=(read,), name="ctrl-c", daemon=True).start()
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if not self._alone:
            signal.raise_signal(signal.SIGTERM)

    def requested(self, step: int) -> bool:
        return bool(self.received) if self._alone else multihost_utils.reached_preemption_sync_point(step)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._write >= 0:
            signal.set_wakeup_fd(self._fd)
            os.close(self._write)


def _count(signals: int) -> None:
    """Reads the number of each signal from a pipe. The main thread may be inside XLA for minutes, deaf to them."""
    interrupts = 0
    with open(signals, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            interrupts += number[0] == signal.SIGINT
            if interrupts == 2:
                for child in multiprocessing.active_children():  # the loader's workers
                    child.kill()
                os._exit(128 + signal.SIGINT)
            if number[0] == signal.SIGINT:
                print("\nstops and saves after this step; Ctrl-C again ends at once", file=sys.stderr, flush=True)
