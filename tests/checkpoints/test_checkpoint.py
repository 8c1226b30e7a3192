"""A checkpoint comes back whole or not at all; unfinished ones do not count."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from gid_jax.checkpoints.checkpoint import Checkpoints, load_config, load_stage, newest_step
from gid_jax.errors import UserError
from gid_jax.training import sharding
from gid_jax.training.records import write_config
from gid_jax.training.step import compile_for


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A workdir with a checkpoint of step 3, saved from eight devices, and its program and state."""
    workdir = str(tmp_path_factory.mktemp("run"))
    task, config = tiny.toy()
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "freq": 2})
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        state = program.init(sharding.place(task.inherit(), program.shardings.frozen))
    checkpoints = Checkpoints(workdir, keep=2)
    checkpoints.save(state, 3)
    checkpoints.close()
    write_config(workdir, config)
    return workdir, program, state


def test_every_leaf_comes_back_on_another_mesh(saved):
    workdir, program, state = saved
    mesh = sharding.make_mesh({"data": 2, "fsdp": 4, "freq": 1})
    shardings = sharding.tree_shardings(program.shapes, mesh)
    restored = Checkpoints(workdir, keep=2).restore(program.shapes, shardings, 3)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), restored, state)
    assert restored.params["kernel"].addressable_shards[0].data.shape == (7680 // 4, 8)


def test_a_difference_raises_with_its_path(saved):
    workdir, program, _ = saved
    shapes = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.ShapeDtypeStruct((9,), leaf.dtype) if leaf.shape == (8,) else leaf, program.shapes
    )
    with pytest.raises(UserError, match=r"ema\.bias is float32\[8\], needed float32\[9\];"):
        Checkpoints(workdir, keep=2).restore(shapes, program.shardings, 3)


def test_an_unfinished_checkpoint_does_not_count(tmp_path, saved):
    assert newest_step(str(tmp_path)) is None
    (tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir(parents=True)
    assert newest_step(str(tmp_path)) is None
    assert newest_step(saved[0]) == 3


def test_a_stage_hands_over_average_and_frozen_values(saved):
    stage = load_stage(saved[0], ("vae",))
    assert stage.step == 3 and stage.config.task == "vae" and stage.config.model.base_channels > 0
    np.testing.assert_array_equal(stage.params["kernel"], np.asarray(saved[2].ema["kernel"]))
    assert isinstance(stage.params["kernel"], np.ndarray) and list(stage.frozen) == ["scales"]


def test_a_run_without_a_later_setting_has_what_was_done_then(tmp_path):
    (tmp_path / "config.json").write_text('{"task": "vae"}')
    assert load_config(str(tmp_path)).normalization == "adaptive"
    (tmp_path / "config.json").write_text('{"task": "vae", "normalization": "size"}')
    assert load_config(str(tmp_path)).normalization == "size"


def test_a_missing_or_wrong_stage_is_a_clear_error(saved, tmp_path):
    with pytest.raises(UserError, match="no checkpoint of a denoiser stage"):
        load_stage(str(tmp_path), ("denoiser",))
    with pytest.raises(UserError, match="holds stage 'vae', needed is 'denoiser' or 'coordinated'"):
        load_stage(saved[0], ("denoiser", "coordinated"))


def test_a_workdir_may_be_relative(saved, monkeypatch):
    workdir, program, state = saved
    monkeypatch.chdir(Path(workdir).parent)
    name = Path(workdir).name
    restored = Checkpoints(name, keep=2).restore(program.shapes, program.shardings, newest_step(name))
    stage = load_stage(name, ("vae",))
    for found in (restored.ema["kernel"], stage.params["kernel"]):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(state.ema["kernel"]))


@pytest.mark.parametrize("name", ["run[1]", "[!a]", "a*?b", " %2F #", "-ünï ", "{a,b}"])
def test_any_name_does(saved, tmp_path, name):
    _, program, state = saved
    workdir = f"{tmp_path / name}/"
    checkpoints = Checkpoints(workdir, keep=2)
    checkpoints.save(state, 3, wait=True)
    restored, step = checkpoints.restore_newest(program.shapes, program.shardings)
    checkpoints.close()
    write_config(workdir, tiny.toy()[1])
    assert step == newest_step(workdir) == 3
    for found in (restored.ema["kernel"], load_stage(workdir, ("vae",)).params["kernel"]):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(state.ema["kernel"]))


@pytest.mark.parametrize("name", ["back\\slash", "latin-\udce9"])
def test_names_that_tensorstore_writes_elsewhere_are_refused(tmp_path, name):
    for use in (newest_step, lambda workdir: Checkpoints(workdir, keep=2)):
        with pytest.raises(UserError, match="with a backslash or not UTF-8 in its path"):
            use(str(tmp_path / name))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("gone", "checkpoints: step 3 was saved here and is gone"),
        ("emptied", "checkpoints: step 3 was saved here and is gone"),
        ("renamed", "checkpoints/3.bak: not a checkpoint that can be read"),
        ("padded", "checkpoints/0003: not a checkpoint that can be read"),
        ("packed", "checkpoints/3: not a checkpoint that can be read"),
        ("a file", "checkpoints: cannot be listed"),
        ("a broken link", "checkpoints: cannot be listed"),
        ("set aside", "damaged/3: damaged, and there is no other checkpoint"),
    ],
)
def test_a_run_does_not_begin_anew_where_it_has_saved(saved, tmp_path, what, message):
    run = tmp_path / "run"
    shutil.copytree(saved[0], run)
    folder = run / "checkpoints"
    if what in ("renamed", "padded"):
        (folder / "3").rename(folder / {"renamed": "3.bak", "padded": "0003"}[what])
    elif what == "set aside":  # by a version that kept no record
        (run / ".saved").unlink()
        folder.rename(run / "damaged")
    else:
        shutil.rmtree(folder)
    if what in ("emptied", "packed"):
        folder.mkdir()
    if what in ("packed", "a file"):
        (folder / "3" if what == "packed" else folder).write_bytes(b"zip")
    if what == "a broken link":
        folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=message):
        newest_step(str(run))
    with pytest.raises(UserError, match=message):
        load_stage(str(run), ("vae",))


def test_a_save_that_was_never_finished_is_no_reason_to_stop(saved, tmp_path):
    (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    (tmp_path / "checkpoints" / ".nfs0001").touch()
    assert newest_step(str(tmp_path)) is None
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    assert checkpoints.restore_newest(saved[1].shapes, saved[1].shardings) is None
    checkpoints.close()
    assert not (tmp_path / ".saved").exists()


def test_a_checkpoint_that_may_not_be_read_stays_where_it_is(saved, monkeypatch):
    workdir, program, _ = saved
    checkpoints = Checkpoints(workdir, keep=2)
    for error in (PermissionError(13, "Permission denied"), ValueError("PERMISSION_DENIED: Error opening")):
        monkeypatch.setattr(checkpoints, "restore", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(UserError, match="checkpoints/3: may not be read"):
            checkpoints.restore_newest(program.shapes, program.shardings)
    assert newest_step(workdir) == 3
