"""One process at a time in a folder, also when the one before was killed."""

import subprocess
import sys

import pytest

from gid_jax.errors import UserError
from gid_jax.lock import locked

HOLD = (
    "import sys\nfrom gid_jax.lock import locked\nwith locked(sys.argv[1], '--x'): print('held', flush=True); input()"
)


def test_a_workdir_in_use_is_refused_until_its_run_ends(tmp_path):
    workdir = str(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, workdir], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    message = rf"--workdir=run: in use by process {holder.pid} on"
    with pytest.raises(UserError, match=message), locked(workdir, "--workdir=run"):
        pass
    holder.kill()
    holder.communicate()
    with locked(workdir, "--workdir=run"):
        pass


def test_object_storage_is_not_guarded():
    with locked("gs://bucket/run", "--workdir=gs://bucket/run"):
        pass
