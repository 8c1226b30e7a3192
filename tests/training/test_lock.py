"""One run at a time in a workdir, also when the one before was killed."""

import subprocess
import sys

import pytest

from gid_jax.errors import UserError
from gid_jax.training.lock import locked

HOLD = (
    "import sys\nfrom gid_jax.training.lock import locked\nwith locked(sys.argv[1]): print('held', flush=True); input()"
)


def test_a_workdir_in_use_is_refused_until_its_run_ends(tmp_path):
    workdir = str(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, workdir], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=rf"--workdir={workdir}: in use by process {holder.pid} on"), locked(workdir):
        pass
    holder.kill()
    holder.communicate()
    with locked(workdir):
        pass


def test_object_storage_is_not_guarded():
    with locked("gs://bucket/run"):
        pass
