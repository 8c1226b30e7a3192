"""One process at a time in a folder."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from gid_jax.errors import UserError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(folder: str | Path, flag: str) -> Iterator[None]:
    """Holds the folder; `flag` (`--workdir=...`) names it in the message.

    Raises UserError while another process holds it, OSError where it cannot write. The kernel lets go when the process
    ends, however it does. Object storage (gs://...) and file systems without locks are not guarded.
    """
    if "://" in str(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / LOCK_FILE, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"{flag}: in use by {holder}; wait for it or choose another folder") from None
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
