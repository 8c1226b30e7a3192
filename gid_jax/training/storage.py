"""A workdir that takes no more: one line that says what was being done and what is safe."""

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator

import jax
import numpy as np

from gid_jax.checkpoints.checkpoint import newest_step
from gid_jax.checkpoints.state import TrainState
from gid_jax.errors import UserError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # which only writing meets
SPARE = 2**20  # bytes beside a checkpoint's arrays


def check_space(workdir: str, shapes: TrainState) -> None:
    """Raises OSError unless a checkpoint of this state fits on the workdir's disk: before it is begun, so that nothing
    is left half-written. Object storage has no end.
    """
    if "://" in workdir:
        return
    size = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(shapes))
    free = shutil.disk_usage(workdir).free
    if free < size + SPARE:
        needed = (size + SPARE) / 1e6
        raise OSError(errno.ENOSPC, f"{free / 1e6:.1f} MB are free, a checkpoint takes {needed:.1f}")


@contextlib.contextmanager
def writing(workdir: str, doing: Callable[[], str]) -> Iterator[None]:
    """Raises UserError in place of whatever a full or read-only disk leads to inside. It says what was being done and
    which checkpoint is the newest whole one.
    """
    try:
        yield
    except Exception as error:
        reason = _refusal(error)
        if reason is None:
            raise
        step = newest_step(workdir)
        kept = "no checkpoint yet" if step is None else f"the last good checkpoint is step {step}"
        raise UserError(
            f"--workdir={workdir}: cannot be written ({reason}) {doing()}; {kept}; make room, and the same command "
            "goes on from there"
        ) from error


def _refusal(error: BaseException | None) -> str | None:
    """The reason where a refusal is at the bottom of an error; Orbax passes on its text alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in REFUSALS:
            return error.strerror
        text = str(error)
        known = next((os.strerror(number) for number in REFUSALS if os.strerror(number) in text), None)
        if known is not None:
            return known
        error = error.__cause__ or error.__context__
    return None
