"""Rates, clipping and averaging against closed forms; keys that depend on all of (seed, name, step)."""

import jax
import jax.numpy as jnp
import numpy as np

from gid_jax.streams import stream_key
from gid_jax.training.optimizer import average, make_optimizer


def test_average_follows_its_closed_form():
    values = np.random.default_rng(0).standard_normal(200)
    ema, expected = jnp.float32(3.0), 3.0
    for n, value in enumerate(values):
        ema = average(ema, jnp.float32(value), jnp.int32(n), 0.9)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(ema, expected, rtol=1e-5)


def test_adam_warms_up_to_a_constant_rate():
    # With a constant gradient Adam's step is the rate itself (bias-corrected), so the parameter shows the schedule.
    optimizer = make_optimizer(learning_rate=0.1, warmup_steps=3, clip_norm=1e9)
    params, steps = jnp.zeros(()), []
    state = optimizer.init(params)
    for _ in range(6):
        updates, state = optimizer.update(jnp.ones(()), state, params)
        steps.append(-float(updates))
    np.testing.assert_allclose(steps, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1], rtol=1e-4)


def test_clipping_scales_all_gradients_together():
    optimizer = make_optimizer(learning_rate=1.0, warmup_steps=0, clip_norm=1.0)
    gradients = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    _, state = optimizer.update(gradients, optimizer.init(gradients), gradients)
    first_moments = jax.tree.leaves(state[1][0].mu)
    np.testing.assert_allclose(np.concatenate(first_moments), [0.06, 0.08], rtol=1e-5)


def test_keys_differ_in_seed_name_and_step_and_nothing_else():
    keys = [stream_key(seed, name, step) for seed in (0, 1) for name in ("loss", "init") for step in (0, 1)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)
    traced = jax.jit(lambda step: jax.random.key_data(stream_key(0, "loss", step)))(jnp.int32(1))
    np.testing.assert_array_equal(traced, jax.random.key_data(stream_key(0, "loss", 1)))
