"""The compiled functions of a run: initial state, training step, evaluation. Pure, and the same for every task.

`compile_for(task, config, mesh)` needs no data and no earlier stage, so that a step can be compiled for a machine that
is not there.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from gid_jax import placement
from gid_jax.checkpoints.state import TrainState
from gid_jax.streams import stream_key
from gid_jax.training import optimizer, sharding

if TYPE_CHECKING:
    from gid_jax.tasks import Task


# XLA folds rows of few large pictures into the batch; the copies around every convolution triple the encoder's time.
TPU_OPTIONS = {"xla_tpu_run_space_to_batch": "false", "xla_tpu_run_space_to_batch_on_new_platforms": "false"}


@dataclasses.dataclass(frozen=True)
class Program:
    """Jitted functions, and the shapes and placements of the state that they take.

    `init(frozen) -> state`; `step(state, batch) -> (state, metrics)`, donating the state; `evaluate(state, batch,
    index) -> metrics` and `pictures(state, batch) -> uint8 arrays by name` of the averaged parameters. Batches are
    global arrays.
    """

    mesh: Mesh
    shapes: TrainState
    shardings: TrainState
    init: jax.stages.Wrapped
    step: jax.stages.Wrapped
    evaluate: jax.stages.Wrapped
    pictures: jax.stages.Wrapped


def compile_for(task: "Task", config: ConfigDict, mesh: Mesh) -> Program:
    """Call these functions, and trace them, inside `jax.set_mesh(mesh)`."""
    adam = optimizer.make_optimizer(**config.optimizer)
    seed = config.seed

    def init(frozen):
        params, _ = task.init(stream_key(seed, "init", 0))
        return TrainState(jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), adam.init(params), frozen)

    def step(state: TrainState, batch):
        def loss(params, batch, key):
            return task.loss(params, state.frozen, batch, key)

        def of_part(batch, key):
            (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
            return metrics, gradients

        metrics, gradients = _mean_over_parts(of_part, batch, stream_key(seed, "loss", state.step), config.microbatches)
        updates, opt_state = adam.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = optimizer.average(state.ema, params, state.step, config.ema_decay)
        metrics = {**metrics, "grad_norm": optax.tree.norm(gradients)}
        return TrainState(state.step + 1, params, ema, opt_state, state.frozen), metrics

    def evaluate(state: TrainState, batch, index):
        return task.evaluate(state.ema, state.frozen, batch, stream_key(seed, "evaluate", index))

    def pictures(state: TrainState, batch):
        return task.pictures(state.ema, state.frozen, batch, stream_key(seed, "pictures", 0))

    shapes = jax.eval_shape(lambda: init(task.init(jax.random.key(0))[1]))
    shardings = sharding.tree_shardings(shapes, mesh)
    whole = NamedSharding(mesh, placement.REPLICATED)
    options = TPU_OPTIONS if placement.on_tpu() else None
    return Program(
        mesh,
        shapes,
        shardings,
        jax.jit(init, in_shardings=(shardings.frozen,), out_shardings=shardings, donate_argnums=0),
        jax.jit(
            step,
            in_shardings=(shardings, None),
            out_shardings=(shardings, whole),
            donate_argnums=0,
            compiler_options=options,
        ),
        jax.jit(evaluate, in_shardings=(shardings, None, None), out_shardings=whole),
        jax.jit(pictures, in_shardings=(shardings, None), out_shardings=whole),
    )


def _mean_over_parts(function: Callable, batch: dict[str, jax.Array], key: jax.Array, parts: int) -> tuple:
    """Mean of function(part, key) over `parts` equal parts of a batch, one after another: memory for one of them.

    Part i takes every `parts`-th example, so that each device goes on working on its own.
    """
    if parts == 1:
        return function(batch, key)
    split = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1), batch)
    inputs = (split, jax.random.split(key, parts))
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], inputs))

    def add(total, inputs):
        return jax.tree.map(jnp.add, total, function(*inputs)), None

    total, _ = jax.lax.scan(add, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), inputs)
    return jax.tree.map(lambda x: x / parts, total)
