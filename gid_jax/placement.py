"""How arrays are split over the axes of the mesh inside a compiled function, and where the code says so.

Axes: `data` and `fsdp` share the examples of a batch, `freq` the K frequency slices of its volumes. Without a mesh all
of this does nothing.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

AXES = ("data", "fsdp", "freq")
BATCH = PartitionSpec(("data", "fsdp"))
VOLUMES = PartitionSpec(("data", "fsdp"), "freq")  # [b, k, ...], or [b, positions, k, ...] inside frequency attention
SLICES = PartitionSpec(AXES)  # [b * k, ...] as `join` makes it
REPLICATED = PartitionSpec()


def constrain(tree: Any, spec: PartitionSpec) -> Any:
    """Fixes the placement inside a compiled function; does nothing where no mesh is set."""
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, spec)


def on_tpu() -> bool:
    """Is this being compiled for TPUs?"""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return (jax.default_backend() if device is None else device.platform) == "tpu"


def per_device(function: Callable[..., Any], spec: PartitionSpec) -> Callable[..., Any]:
    """`function` on every device for its own part of the arguments, whose leading axes are split by `spec`.

    For what the compiler cannot split, such as kernels of our own. Where the mesh does not divide the arguments every
    device works on all of them. Without a mesh it is `function` itself.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function
    shares = math.prod(mesh.shape[axis] for axis in spec[0])

    def on_each(*arrays: jax.Array) -> Any:
        own = REPLICATED if any(len(array) % shares for array in arrays) else spec
        return jax.shard_map(function, in_specs=own, out_specs=own, check_vma=False)(*arrays)

    return on_each


def whole(parameter: jax.Array, dtype: Any) -> jax.Array:
    """A parameter in use: split at rest, whole on every device and in `dtype` in the arithmetic.

    Said where it is used, or the compiler splits convolutions and permutes activations. The barrier has it gather what
    is of `dtype` already, half of the bytes.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return parameter.astype(dtype)
    return constrain(jax.lax.optimization_barrier(parameter.astype(dtype)), REPLICATED)


def join(x: jax.Array) -> jax.Array:
    """[b, k, ...] -> [b * k, ...]: the slices of volumes in an order in which every device keeps its own.

    Without a mesh, or with one volume for each share of the batch, slices of a volume are adjacent. Else the plain
    order would have neighbours in `freq` exchange slices.
    """
    (b, k), rest = x.shape[:2], x.shape[2:]
    rows, columns = _shares(b, k)
    x = x.reshape(rows, b // rows, columns, k // columns, *rest)
    return constrain(jnp.swapaxes(x, 1, 2).reshape(b * k, *rest), SLICES)


def split(x: jax.Array, k: int) -> jax.Array:
    """The inverse of `join`: [b * k, ...] -> [b, k, ...]."""
    b, rest = len(x) // k, x.shape[1:]
    rows, columns = _shares(b, k)
    x = x.reshape(rows, columns, b // rows, k // columns, *rest)
    return constrain(jnp.swapaxes(x, 1, 2).reshape(b, k, *rest), VOLUMES)


def spread(x: jax.Array, k: int) -> jax.Array:
    """[b, ...] -> [b * k, ...]: what is one for a volume, for each of its slices."""
    return x if k == 1 else join(jnp.broadcast_to(x[:, None], (len(x), k, *x.shape[1:])))


def _shares(b: int, k: int) -> tuple[int, int]:
    sizes = jax.sharding.get_abstract_mesh().shape
    rows, columns = sizes.get("data", 1) * sizes.get("fsdp", 1), sizes.get("freq", 1)
    return (1, 1) if b % rows or k % columns else (rows, columns)
