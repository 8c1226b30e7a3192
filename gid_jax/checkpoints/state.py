"""Everything that a checkpoint must hold for a run to go on as if it had never stopped."""

import dataclasses

import jax

from gid_jax.trees import Tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The state of a training run; also used for the matching trees of shapes and of shardings.

    `step` counts the finished steps (int32). `params` are trained, `ema` is their moving average, `opt_state` is theirs
    alone. `frozen` is what the task needs and nobody trains: the scales s_k, earlier stages, whitening statistics.
    """

    step: Tree
    params: Tree
    ema: Tree
    opt_state: Tree
    frozen: Tree
