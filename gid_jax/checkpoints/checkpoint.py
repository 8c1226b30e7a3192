"""Saving and restoring the training state; the only module that knows Orbax.

A checkpoint has two parts: `model` (average and frozen values, what later stages and inference need) and `training`
(step, parameters, optimiser). Leaves are stored by path, whole and independent of the mesh.
"""

import dataclasses
import glob
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from gid_jax.checkpoints.state import TrainState
from gid_jax.errors import UserError
from gid_jax.trees import Tree

PARTS = {"model": ("ema", "frozen"), "training": ("step", "params", "opt_state")}
FOLDER = "checkpoints"
DAMAGED = "damaged"  # beside it
SAVED_FILE = ".saved"  # beside it: that there was a checkpoint, for the case that it is gone
CONFIG_FILE = "config.json"
ADDED = {"normalization": "adaptive"}  # settings that the first runs did not have, and what they did


class _Folder(type(epath.Path())):
    """A local path in whose own name `[1]`, `*` and `?` are letters.

    Epath searches for name and pattern together: Orbax would not find what it saved in `run[1]`.
    """

    def glob(self, pattern: str) -> Iterator["_Folder"]:
        yield from (type(self)(path) for path in glob.glob(os.path.join(glob.escape(str(self)), pattern)))


class Checkpoints:
    """The checkpoints of one run; the newest `keep` stay."""

    def __init__(self, workdir: str, keep: int):
        self.directory = _folder(workdir) / FOLDER
        self._workdir = workdir
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        handlers = {part: ocp.StandardCheckpointHandler() for part in PARTS}
        self._manager = ocp.CheckpointManager(self.directory, item_handlers=handlers, options=options)

    def save(self, state: TrainState, step: int, *, wait: bool = False) -> None:
        """Writes in the background; a checkpoint gets its final name once it is whole. `wait` returns after that."""
        self.wait()
        parts = {part: ocp.args.StandardSave(_flatten(state, fields)) for part, fields in PARTS.items()}
        self._manager.save(step, args=ocp.args.Composite(**parts), force=True)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the last save is whole, which then is on record."""
        self._manager.wait_until_finished()
        if jax.process_index() == 0 and (step := self._manager.latest_step()) is not None:
            path = self.directory.parent / SAVED_FILE
            temporary = path.with_name(SAVED_FILE + ".tmp")
            temporary.write_text(f"{step}\n")
            temporary.replace(path)

    def restore_newest(self, shapes: TrainState, shardings: TrainState) -> tuple[TrainState, int] | None:
        """The newest checkpoint that can be read, and its step; None where none was saved yet.

        Damaged ones are reported and moved to the folder `damaged`. Raises UserError when there is nothing else, when
        the newest belongs to another architecture, or may not be read.
        """
        damaged = False
        while (step := self._manager.latest_step()) is not None:
            try:
                restored, problem = self.restore(shapes, shardings, step), ""
            except UserError:
                raise
            except Exception as error:  # of Orbax, TensorStore, JSON, the file system
                if re.search("permission.denied", str(error), re.IGNORECASE):
                    message = "may not be read; get the right to, and start again"
                    raise UserError(f"{self.directory / str(step)}: {message}") from error
                restored, problem = None, _problem(error)
            if _all_processes(restored is not None) and restored is not None:
                return restored, step
            self._set_aside(step, problem or "another process cannot read it")
            damaged = True
        if damaged or newest_step(self._workdir) is not None:
            raise UserError(
                f"{self.directory}: no checkpoint can be read; put a copy back or start in an empty workdir"
            )
        return None

    def _set_aside(self, step: int, problem: str) -> None:
        source, folder = self.directory / str(step), self.directory.parent / DAMAGED
        if jax.process_index() == 0:
            folder.mkdir(exist_ok=True)
            numbers = itertools.count()
            target = next(path for i in numbers if not (path := folder / f"{step}{f'.{i}' if i else ''}").exists())
            source.rename(target)
            print(f"{source}: damaged ({problem}); moved to {target}", file=sys.stderr, flush=True)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"damaged checkpoint {step}")
        self._manager.reload()

    def restore(self, shapes: TrainState, shardings: TrainState, step: int) -> TrainState:
        """The whole state, placed by `shardings` whatever mesh saved it. Raises UserError naming what differs."""
        wanted = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, shardings
        )
        targets = {part: _flatten(wanted, fields) for part, fields in PARTS.items()}
        metadata = self._manager.item_metadata(step)
        for part, target in targets.items():
            _check(target, metadata[part], f"{self.directory / str(step)}")
        parts = {part: ocp.args.StandardRestore(target) for part, target in targets.items()}
        restored = self._manager.restore(step, args=ocp.args.Composite(**parts))
        leaves = {path: leaf for part in PARTS for path, leaf in restored[part].items()}
        return jax.tree_util.tree_map_with_path(lambda path, _: leaves[_dotted(path)], shapes)

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._manager.close()


@dataclasses.dataclass(frozen=True)
class Stage:
    """What an earlier stage hands over: its configuration, averaged parameters, frozen values (numpy) and step."""

    config: ConfigDict
    params: Tree
    frozen: Tree
    step: int


def newest_step(workdir: str) -> int | None:
    """Step of the newest whole checkpoint, None where none was saved yet.

    Raises UserError where that cannot be told, or one was saved and is gone: else a run would start anew and
    overwrite what it has.
    """
    directory = _folder(workdir) / FOLDER
    entries = _entries(directory)
    whole = [path for path in entries if re.fullmatch("0|[1-9][0-9]*", path.name)]
    whole = [path for path in whole if ocp.utils.is_checkpoint_finalized(path)]
    if whole:
        return max(int(path.name) for path in whole)
    remedy = "put a copy of it back or start in an empty workdir"
    for path in entries:
        unfinished = ocp.utils.is_tmp_checkpoint(path)  # which Orbax may be deleting
        if not unfinished and (path.exists() or os.path.islink(path)):
            raise UserError(f"{path}: not a checkpoint that can be read; {remedy}")
    record = directory.parent / SAVED_FILE
    if record.exists():
        raise UserError(f"{directory}: step {record.read_text().strip()} was saved here and is gone; {remedy}")
    for path in _entries(directory.parent / DAMAGED):
        raise UserError(f"{path}: damaged, and there is no other checkpoint; {remedy}")
    return None


def _entries(directory: epath.Path) -> list[epath.Path]:
    """What lies in a folder, less hidden files (of file managers, of NFS); nothing where there is no folder."""
    try:
        if not isinstance(directory, _Folder) and not directory.exists():
            return []
        return sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.lexists(directory):
            return []
        raise UserError(f"{directory}: cannot be listed ({error.strerror}); mend that and start again") from error


def load_config(workdir: str) -> ConfigDict | None:
    """The configuration that the run was started with, None when there is none."""
    path = _folder(workdir) / CONFIG_FILE
    if not path.exists():
        return None
    try:
        return ConfigDict({**ADDED, **json.loads(path.read_text())})
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path}: not a readable configuration ({error}); start in an empty workdir") from error


def load_stage(workdir: str, expected: tuple[str, ...]) -> Stage:
    """The newest checkpoint of a finished or running stage. `expected` are the tasks that will do.

    Raises UserError when there is no checkpoint or it belongs to another task.
    """
    config, step = load_config(workdir), newest_step(workdir)
    if config is None or step is None:
        raise UserError(f"{workdir}: no checkpoint of a {' or '.join(expected)} stage here; train that stage first")
    if config.task not in expected:
        raise UserError(f"{workdir}: holds stage {config.task!r}, needed is {' or '.join(map(repr, expected))}")
    path = _folder(workdir) / FOLDER / str(step) / "model"
    handler = ocp.PyTreeCheckpointHandler()
    try:
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).tree)
        leaves = handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except Exception as error:  # of Orbax, TensorStore, JSON, the file system
        raise UserError(f"{path.parent}: damaged ({_problem(error)}); move it away to use the one before it") from error
    tree = traverse_util.unflatten_dict(leaves, sep=".")
    return Stage(config, tree["ema"], tree["frozen"], step)


def _all_processes(good: bool) -> bool:
    return bool(multihost_utils.process_allgather(np.array(good)).all()) if jax.process_count() > 1 else good


def _problem(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _folder(workdir: str) -> epath.Path:
    """Absolute, as Orbax demands, unless it is a place such as gs://bucket.

    Raises UserError for the names that TensorStore cannot write to: it takes a backslash for a slash.
    """
    if "://" in workdir:
        return epath.Path(workdir)
    path = os.path.abspath(workdir)
    if re.search(r"[\\\ud800-\udfff]", path):
        raise UserError(f"{workdir}: checkpoints cannot lie in a folder with a backslash or not UTF-8 in its path")
    return _Folder(path)


def _flatten(state: TrainState, fields: tuple[str, ...]) -> dict[str, Any]:
    return {
        _dotted(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if _dotted(path).split(".")[0] in fields
    }


def _dotted(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _check(wanted: dict[str, jax.ShapeDtypeStruct], stored: Any, place: str) -> None:
    found = {path: (tuple(leaf.shape), np.dtype(leaf.dtype)) for path, leaf in stored.items()}
    needed = {path: (tuple(leaf.shape), np.dtype(leaf.dtype)) for path, leaf in wanted.items()}
    different = [
        f"{path} is {_shape(found.get(path))}, needed {_shape(needed.get(path))}"
        for path in sorted(found.keys() | needed.keys())
        if found.get(path) != needed.get(path)
    ]
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise UserError(f"{place}: {different[0]}{more}; use the configuration of that run or another workdir")


def _shape(entry: tuple | None) -> str:
    return "absent" if entry is None else f"{entry[1]}{list(entry[0])}"
