"""Arrays through a network, a batch at a time: what enters is read as it is needed, what leaves is small."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from gid_jax.models.network import Network, Params
from gid_jax.placement import AXES, BATCH, REPLICATED


def devices_of_this_process() -> Mesh:
    """Every accelerator of this process; of a CPU one device, whose cores share the work anyway."""
    devices = jax.local_devices()
    used = devices[:1] if devices[0].platform == "cpu" else devices
    return jax.make_mesh((len(used), 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, devices=used)


class FeatureStream:
    """`function(network, params, batch [b, ...])` -> [b, d] over any number of inputs of one shape.

    Batches are of `batch` inputs for each device of `mesh` (`devices_of_this_process`); a last one that is not full is
    filled up, so that one program is compiled. Arithmetic is in whole float32 on every device.
    """

    def __init__(
        self, function: Callable[..., jax.Array], network: Network, params: Params, *, batch: int, mesh: Mesh | None
    ):
        self._mesh = devices_of_this_process() if mesh is None else mesh
        self._batch = batch * self._mesh.devices.size
        self._params = jax.device_put(params, NamedSharding(self._mesh, REPLICATED))
        self._function, self._network = function, network

    def __call__(self, inputs: Iterable[np.ndarray | jax.Array]) -> Iterator[np.ndarray]:
        """The features [d], float32, of each of the `inputs`, in their order."""
        inputs = iter(inputs)
        while taken := list(itertools.islice(inputs, self._batch)):
            filled = [*taken, *itertools.repeat(taken[-1], self._batch - len(taken))]
            with jax.set_mesh(self._mesh), jax.default_matmul_precision("float32"):
                whole = jax.device_put(jnp.stack(filled), NamedSharding(self._mesh, BATCH))
                found = np.asarray(_run(self._function, self._network, self._params, whole), np.float32)
            yield from found[: len(taken)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(function: Callable[..., jax.Array], network: Network, params: Params, batch: jax.Array) -> jax.Array:
    return function(network, params, batch)
