"""Where arrays live: a mesh of `data` x `fsdp` x `freq`, and rules from paths to placements.

Batches are split over (data, fsdp), the K frequencies of volumes also over `freq`. Kernels, their average and their
optimiser state are split over (fsdp, freq) at rest; the layers that use a kernel ask for the whole (`placement.whole`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from gid_jax.errors import UserError
from gid_jax.placement import AXES, BATCH, REPLICATED, VOLUMES
from gid_jax.trees import Tree, path_name

LARGE = 8192  # elements; below, a gather costs more than the memory it saves

Tactic = Callable[[tuple[int, ...], Mesh], PartitionSpec]


def replicate(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    return REPLICATED


def fsdp(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Splits the largest axis that `fsdp` x `freq` divides (of equals the last); else, and if small, replicated."""
    count = mesh.shape["fsdp"] * mesh.shape["freq"]
    divisible = [axis for axis, size in enumerate(shape) if size % count == 0]
    if count == 1 or np.prod(shape) < LARGE or not divisible:
        return REPLICATED
    chosen = max(divisible, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*([("fsdp", "freq") if axis == chosen else None for axis in range(chosen + 1)]))


RULES: tuple[tuple[str, Tactic], ...] = (
    (r"kernel$", fsdp),
    (r"", replicate),  # small, and used as they are
)


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of `config.mesh`; `data=-1` takes the devices that the other axes leave over."""
    devices = jax.devices() if devices is None else devices
    shape = [sizes[axis] for axis in AXES]
    rest = int(np.prod(shape[1:]))
    if min(shape[1:]) < 1 or len(devices) % rest or shape[0] not in (-1, len(devices) // rest):
        wanted = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, shape, strict=True))
        raise UserError(f"config.mesh ({wanted}) does not fit {len(devices)} devices: the product must be their number")
    shape[0] = len(devices) // rest
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def tree_shardings(shapes: Tree, mesh: Mesh, rules: Iterable[tuple[str, Tactic]] = RULES) -> Tree:
    """A NamedSharding for each leaf: the first rule whose pattern is found in the leaf's path decides."""
    rules = tuple(rules)

    def place(path: tuple, leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        name = path_name(path)
        tactic = next((tactic for pattern, tactic in rules if re.search(pattern, name)), None)
        if tactic is None:
            raise ValueError(f"no sharding rule matches {name}")
        return NamedSharding(mesh, tactic(leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(place, shapes)


def describe(shapes: Tree, shardings: Tree) -> str:
    """A table of path, shape and spec, a line for each leaf."""
    specs = jax.tree.leaves(shardings)
    rows = [
        (path_name(path), str(tuple(leaf.shape)), str(tuple(sharding.spec)))
        for (path, leaf), sharding in zip(jax.tree_util.tree_leaves_with_path(shapes), specs, strict=True)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {spec}" for name, shape, spec in rows)


def batch_spec(kind: str, name: str) -> PartitionSpec:
    """How the array `name` of a batch of `kind` ("slices", "volumes", "pairs") is split."""
    return VOLUMES if kind == "volumes" and name in ("spectrum", "latents") else BATCH


def check_batch(kind: str, config: ConfigDict, mesh: Mesh) -> None:
    """Raises UserError when the mesh cannot share the global batch evenly."""
    rows, parts = mesh.shape["data"] * mesh.shape["fsdp"], config.microbatches
    if parts < 1 or config.batch_size < 1 or config.batch_size % (rows * parts):
        product = f"data x fsdp = {rows}" + ("" if parts == 1 else f" times config.microbatches={parts}")
        raise UserError(f"config.batch_size={config.batch_size} must be a multiple of {product}")
    freq = mesh.shape["freq"]
    if kind == "volumes" and config.num_frequencies % freq:
        raise UserError(
            f"config.num_frequencies={config.num_frequencies} must be a multiple of config.mesh.freq={freq}"
        )


def smallest_batch(examples: int, mesh: Mesh) -> int:
    """The least size of a batch of `examples` or more that the mesh shares evenly."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    return -(-examples // rows) * rows


def process_share(mesh: Mesh) -> tuple[int, int]:
    """(index, count): this process loads the index-th of `count` equal consecutive parts of each batch.

    Processes that share the same rows, because `freq` crosses them, load the same part.
    """
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    devices = mesh.devices.reshape(rows, -1)
    mine = [row for row in range(rows) if any(device.process_index == jax.process_index() for device in devices[row])]
    if mine != list(range(mine[0], mine[0] + len(mine))) or mine[0] % len(mine):
        raise UserError("config.mesh splits the batch unevenly among processes; choose another fsdp or freq")
    return mine[0] // len(mine), rows // len(mine)


def place(tree: Tree, shardings: Tree) -> Tree:
    """Host arrays, equal in every process, as global arrays."""

    def put(leaf: np.ndarray, sharding: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(np.shape(leaf), sharding, lambda index: np.asarray(leaf)[index])

    return jax.tree.map(put, tree, shardings)
