"""One run at a time in a workdir."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator

import jax
from etils import epath

from gid_jax.errors import UserError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(workdir: str) -> Iterator[None]:
    """Holds the workdir, process 0 for all. Raises UserError while another run does, OSError where it cannot write.

    The kernel lets go when the process ends, however it does. Object storage (gs://...) and file systems without locks
    are not guarded.
    """
    if jax.process_index() or "://" in workdir:
        yield
        return
    folder = epath.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_FILE, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"--workdir={workdir}: in use by {holder}; wait for it or choose another folder") from None
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
