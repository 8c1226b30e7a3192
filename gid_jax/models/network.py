"""A module as a pair of pure functions over nested dicts of float32 arrays."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

Params = dict[str, Any]
Model = TypeVar("Model", bound=nnx.Module)


class Network(Generic[Model]):
    """`build(rngs)` makes the module; `init` gives its parameters, `bind` puts parameters back into it.

    Parameters are nested dicts with string keys (`{"down_blocks": {"0": ...}}`) and float32 leaves: what optimisers,
    checkpoints and sharding rules see. Both functions may be called inside `jax.jit` and `jax.eval_shape`; `bind` costs
    Python time while tracing and nothing in the compiled program.
    """

    def __init__(self, build: Callable[[nnx.Rngs], Model]):
        self._init = jax.jit(lambda key: _parameters(build(nnx.Rngs(key))))
        abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
        self._graph = nnx.graphdef(abstract)
        self._structure = jax.tree.structure(_parameters(abstract))

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters, a pure function of `key`."""
        return self._init(key)

    def bind(self, params: Params) -> Model:
        """The module with these parameters. Raises ValueError when their paths are not the module's own."""
        if jax.tree.structure(params) != self._structure:
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
