"""Adam with linear warm-up to a constant rate, global-norm clipping, and the moving average of the parameters."""

import jax
import jax.numpy as jnp
import optax

from gid_jax.trees import Tree


def make_optimizer(learning_rate: float, warmup_steps: int, clip_norm: float) -> optax.GradientTransformation:
    """Adam; step n (from 0) has rate learning_rate * min(1, (n + 1) / (warmup_steps + 1)). Gradients are scaled down
    together to a norm of at most `clip_norm`.
    """

    def rate(count: jax.Array) -> jax.Array:
        return learning_rate * jnp.minimum(1.0, (count + 1) / (warmup_steps + 1))

    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(rate))


def average(ema: Tree, params: Tree, step: jax.Array, decay: float) -> Tree:
    """d ema + (1 - d) params with d = min(decay, (1 + n) / (10 + n)), n the steps finished before this one."""
    n = step.astype(jnp.float32)
    weight = 1 - jnp.minimum(decay, (1 + n) / (10 + n))
    return jax.tree.map(lambda old, new: old + weight * (new - old), ema, params)
