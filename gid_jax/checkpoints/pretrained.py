"""Weights of `gid_jax.convert` put into fresh parameters, and a report of what became of each array."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from gid_jax.errors import UserError
from gid_jax.trees import Tree, path_name


def read(path: str, setting: str) -> dict[str, np.ndarray]:
    """The arrays of the file that `setting` names. Raises UserError for one that is missing or no safetensors."""
    try:
        if Path(path).is_file():
            return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{setting}={path}: not safetensors ({error}); make it with gid_jax.convert") from error
    raise UserError(f"{setting}={path}: no such file; make it with gid_jax.convert")


def merge(shapes: Tree, path: str, part: str) -> tuple[Tree, str]:
    """`shapes` with an array of the file at every leaf that has one of its name and shape, else None; and the report.

    Names in the file are those of the network `part`, a key of `shapes`, or of all of it. Raises UserError for a file
    that is none or does not fit anywhere.
    """
    stored = read(path, "config.pretrained")
    prefix = f"{part}/" if part else ""
    fresh, other, used = [], [], set()

    def find(place: tuple, leaf: Any) -> np.ndarray | None:
        name = path_name(place).removeprefix(prefix)
        array = stored.get(name)
        if array is not None and array.shape == leaf.shape:
            used.add(name)
            return array
        if array is None:
            fresh.append(name)
        else:
            other.append(f"{name} {list(array.shape)} there, {list(leaf.shape)} here")
        return None

    values = jax.tree_util.tree_map_with_path(find, shapes)
    if not used:
        raise UserError(f"config.pretrained={path}: none of its arrays has a name and shape of this network")
    unused = sorted(stored.keys() - used - {entry.split()[0] for entry in other})
    lines = [f"{path}: {len(used)} arrays used, {sum(stored[name].size for name in used):,} numbers"]
    for title, names in (("of another shape", other), ("not in it, fresh", fresh), ("not in this network", unused)):
        if names:
            lines.append(f"  {title} ({len(names)}): " + ", ".join(names[:8]) + (", ..." if len(names) > 8 else ""))
    return values, "\n".join(lines)


def load_whole(shapes: Tree, path: str, setting: str) -> Tree:
    """All of a network from the file that `setting` names. Raises UserError unless it has every leaf of `shapes`."""
    stored = read(path, setting)

    def find(place: tuple, leaf: Any) -> np.ndarray:
        array = stored.get(path_name(place))
        if array is None or array.shape != leaf.shape:
            found = "absent" if array is None else list(array.shape)
            raise UserError(f"{setting}={path}: {path_name(place)} is {found}, needed is {list(leaf.shape)}")
        return array

    return jax.tree_util.tree_map_with_path(find, shapes)
