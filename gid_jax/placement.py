"""How arrays are split over the axes of the mesh inside a compiled function, and where the code says so.

Axes: `data` and `fsdp` share the examples of a batch, `freq` the K frequency slices of its volumes. Without a mesh all
of this does nothing.
"""

from typing import Any

import jax
from jax.sharding import PartitionSpec

AXES = ("data", "fsdp", "freq")
BATCH = PartitionSpec(("data", "fsdp"))
VOLUMES = PartitionSpec(("data", "fsdp"), "freq")  # [b, k, ...], or [b, positions, k, ...] inside frequency attention
SLICES = PartitionSpec(AXES)  # [b * k, ...], slices of a volume adjacent
REPLICATED = PartitionSpec()


def constrain(tree: Any, spec: PartitionSpec) -> Any:
    """Fixes the placement inside a compiled function; does nothing where no mesh is set."""
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, spec)
