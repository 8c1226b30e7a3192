"""What stops a build, in words: a full disk, a lost permission, a killed worker. None of it is a verdict on a video."""

import errno
import os
import re

from data_pipeline.workers import WorkerLost

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE)


class StoreUnwritable(Exception):
    """A full disk or a lost permission. The message names the file and the reason."""


def explain(error: BaseException) -> str | None:
    """One line, or None for an error that nothing outside the program explains.

    Beam and ArrayRecord turn errors of workers and of the disk into `RuntimeError`s with the original in their text.
    """
    if isinstance(error, WorkerLost):
        return f"{error}: out of memory, most often; use fewer workers"
    if isinstance(error, StoreUnwritable):
        return f"{error}; make room or mend the permission"
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.filename}: {error.strerror}; make room or mend the permission"
    if isinstance(error, RuntimeError):
        told = re.search(rf"{StoreUnwritable.__name__}: (.*?)(?: \[while running|$)", str(error), re.MULTILINE)
        if told:
            return explain(StoreUnwritable(told[1]))
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            if os.strerror(number) in str(error):
                return f"{os.strerror(number)} while the data set is written; make room or mend the permission"
    return None
