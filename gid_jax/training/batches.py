"""From each process's numpy batches to global arrays on the mesh, one ahead of the step."""

import queue
import threading
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from gid_jax.training import sharding

AHEAD = 2


def to_global(batch: dict[str, np.ndarray], kind: str, mesh: Mesh) -> dict[str, jax.Array]:
    """This process's part of a batch -> global arrays, placed by `sharding.batch_spec`."""
    _, parts = sharding.process_share(mesh)
    return {
        name: jax.make_array_from_process_local_data(
            NamedSharding(mesh, sharding.batch_spec(kind, name)), value, (len(value) * parts, *value.shape[1:])
        )
        for name, value in batch.items()
    }


class Prefetch:
    """Iterates over the global batches; a thread prepares the next while the step runs. Its errors arrive at `next`."""

    def __init__(self, batches: Iterator[dict[str, np.ndarray]], kind: str, mesh: Mesh):
        self._queue: queue.Queue = queue.Queue(AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(batches, kind, mesh), name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> dict[str, jax.Array]:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue

    def _fill(self, batches: Iterator[dict[str, np.ndarray]], kind: str, mesh: Mesh) -> None:
        try:
            for batch in batches:
                self._queue.put(to_global(batch, kind, mesh))
                if self._stopped.is_set():
                    return
            self._queue.put(StopIteration())
        except BaseException as error:
            self._queue.put(error)
