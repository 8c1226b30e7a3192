"""A module as a pair of pure functions over nested dicts of float32 arrays."""

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

Params = dict[str, Any]
Model = TypeVar("Model", bound=nnx.Module)


class Draws:
    """Initial values: uniform numbers cut one after another from a single array.

    A generator for every layer takes XLA half a minute to compile on a CPU, one for the whole network a second. Without
    numbers it only counts how many are wanted.
    """

    def __init__(self, numbers: jax.Array | None = None):
        self._numbers, self.count = numbers, 0

    def uniform(self, shape: tuple[int, ...], deviation: float) -> jax.Array:
        """Zero mean, the standard deviation `deviation`, float32."""
        if deviation == 0:
            return jnp.zeros(shape, jnp.float32)
        first, self.count = self.count, self.count + math.prod(shape)
        if self._numbers is None:
            return jnp.zeros(shape, jnp.float32)
        return self._numbers[first : self.count].reshape(shape) * (math.sqrt(3) * deviation)


class Network(Generic[Model]):
    """`build(draws)` makes the module; `init` gives its parameters, `bind` puts parameters back into it.

    Parameters are nested dicts with string keys (`{"down_blocks": {"0": ...}}`) and float32 leaves: what optimisers,
    checkpoints and sharding rules see. Both functions may be called inside `jax.jit` and `jax.eval_shape`; `bind` costs
    Python time while tracing and nothing in the compiled program.
    """

    def __init__(self, build: Callable[[Draws], Model]):
        draws = Draws()
        abstract = nnx.eval_shape(lambda: build(draws))
        self._graph = nnx.graphdef(abstract)
        self._structure: Any = jax.tree.structure(_parameters(abstract))

        def init(key: jax.Array) -> Params:
            return _parameters(build(Draws(jax.random.uniform(key, (draws.count,), minval=-1.0))))

        self._init = jax.jit(init)

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters, a pure function of `key`."""
        return self._init(key)

    def bind(self, params: Params) -> Model:
        """The module with these parameters. Raises ValueError when their paths are not the module's own."""
        if self._structure != jax.tree.structure(params):
            raise ValueError("the parameters' paths are not those of this network")
        return nnx.merge(self._graph, nnx.State(_with_keys(params, _native)))


def _parameters(module: nnx.Module) -> Params:
    return _with_keys(nnx.to_pure_dict(nnx.state(module, nnx.Param)), str)


def _with_keys(tree: dict, convert: Callable[[Any], Any]) -> dict:
    return {
        convert(key): _with_keys(value, convert) if isinstance(value, dict) else value for key, value in tree.items()
    }


def _native(key: str) -> str | int:
    return int(key) if key.isdecimal() else key
