"""What a user can mend is said in one line before anything is written; a workdir that takes no more, when it does."""

import errno
import shutil
from types import SimpleNamespace

import jax
import pytest
import tiny

from gid_jax.checkpoints.checkpoint import Checkpoints, newest_step
from gid_jax.errors import UserError
from gid_jax.training import loop, run, storage
from gid_jax.training.records import Records, write_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tiny.write_dataset(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("test", {"log_every": 0}, "config.log_every=0 must be at least 1"),
        ("test", {"images_every": -1}, "config.images_every=-1 must be at least 0"),
        ("test", {"seed": -1}, "config.seed=-1 is no seed"),
        ("test", {"seed": 2**63}, "config.seed=9223372036854775808 is no seed"),
        ("test", {"compute_dtype": "float99"}, "config.compute_dtype='float99' does not exist"),
        ("test", {"mesh.fsdp": 3}, "config.mesh .* does not fit 8 devices"),
        ("test", {"batch_size": 12}, "config.batch_size=12 must be a multiple of data x fsdp = 8"),
        ("test", {"batch_size": -8}, "config.batch_size=-8 must be at least 1"),
        ("test", {"microbatches": 3}, "config.batch_size=8 must be a multiple of .* times config.microbatches=3"),
        ("test", {"num_frequencies": 9}, "config.num_frequencies=9: the data set holds 1 to 4"),
        ("demo", {}, "the data set is 64 x 40, the configuration 128 x 80"),
    ],
)
def test_bad_settings_leave_nothing_behind(data, tmp_path, preset, settings, message):
    config = tiny.load_config("vae", preset, data_dir=data, **settings)
    with pytest.raises(UserError, match=message):
        run.run(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_configuration_of_a_run_that_saved_nothing_binds_nobody(tmp_path):
    write_config(str(tmp_path), tiny.load_config("vae", num_frequencies=3))
    run.check_workdir(tiny.load_config("renderer"), str(tmp_path))
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match="the run there has task = vae, this configuration renderer"):
        run.check_workdir(tiny.load_config("renderer"), str(tmp_path))


@pytest.mark.parametrize("place", ["/proc/run", "file/run", "file"])
def test_a_workdir_that_cannot_be_written_is_refused(data, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"--workdir={place}: cannot be written .*; choose another folder"):
        run.run(tiny.load_config("vae", data_dir=data), place)


def start(workdir, **settings):
    task, config = tiny.toy(**settings)
    mesh = jax.make_mesh((1, 1, 1), ("data", "fsdp", "freq"), devices=jax.devices()[:1])
    return loop.train(task, config, str(workdir), tiny.random_batches(task, config), mesh)


def filled(monkeypatch, calls):
    """The disk has room for the first `calls` checkpoints."""
    left = [1e9] * calls
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=left.pop() if left else 1e5))


def test_no_room_for_a_checkpoint_is_said_at_the_start(tmp_path, monkeypatch):
    filled(monkeypatch, 0)
    expected = r"\(0.1 MB are free, a checkpoint takes 2.0\) at the start; no checkpoint yet; make room"
    with pytest.raises(UserError, match=expected):
        start(tmp_path)
    assert not any((tmp_path / "checkpoints").iterdir())


def test_a_disk_that_fills_up_stops_before_a_checkpoint_and_the_run_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        filled(patch, 2)  # at the start and at step 4
        with pytest.raises(UserError, match=r"at step 8, saving; the last good checkpoint is step 4; make room"):
            start(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["4"]
    state = start(tmp_path / "run")
    jax.tree.map(lambda x, y: (x == y).all() or pytest.fail("differs"), state, start(tmp_path / "straight"))


@pytest.mark.parametrize("number", storage.REFUSALS)
def test_metrics_that_cannot_be_written_stop_the_run(tmp_path, monkeypatch, number):
    write = Records.write

    def refused(self, split, step, metrics):
        if step == 6:
            raise OSError(number, "refused")
        write(self, split, step, metrics)

    monkeypatch.setattr(Records, "write", refused)
    with pytest.raises(
        UserError, match=r"cannot be written \(refused\) at step 6, .*; the last good checkpoint is step 4"
    ):
        start(tmp_path)


def test_what_orbax_says_of_a_full_disk_is_understood(tmp_path, monkeypatch):
    """Its errors are no OSErrors, and come when the next save waits for the one before."""
    save = Checkpoints.save

    def full(self, state, step):
        if step == 8:
            raise ValueError('RESOURCE_EXHAUSTED: Error writing "params/0": Failed to write: No space left on device')
        save(self, state, step)

    monkeypatch.setattr(Checkpoints, "save", full)
    with pytest.raises(UserError, match=r"\(No space left on device\) at step 8, saving; the last good .* is step 4"):
        start(tmp_path)
    assert newest_step(str(tmp_path)) == 4


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "save", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOENT, "gone")))
    with pytest.raises(FileNotFoundError):
        start(tmp_path)
