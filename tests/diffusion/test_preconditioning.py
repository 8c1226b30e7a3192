"""Preconditioning against what it claims for Gaussian latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.diffusion import preconditioning, prediction
from gid_jax.diffusion.schedule import scaled_linear


@pytest.mark.parametrize("t", [20, 400, 900])
@pytest.mark.parametrize("variance", [0.04, 1.0, 9.0])
def test_the_skip_is_the_regression_and_the_rest_has_unit_variance(t, variance):
    schedule, steps = scaled_linear(), jnp.full(1, t)
    clean = np.sqrt(variance) * jax.random.normal(jax.random.key(0), (1, 200_000))
    noise = jax.random.normal(jax.random.key(1), clean.shape)
    noisy = schedule.add_noise(clean, noise, steps)
    wanted = prediction.target("velocity", schedule, clean, noise, steps)
    c_in, c_skip, c_out = preconditioning.coefficients(schedule, jnp.full((1, 1), variance), steps)
    slope = float(jnp.sum(wanted * noisy) / jnp.sum(noisy**2))
    np.testing.assert_allclose(c_skip[0, 0], slope, atol=0.01)
    np.testing.assert_allclose(np.std(c_in * noisy), 1, atol=0.01)
    np.testing.assert_allclose(np.std((wanted - c_skip * noisy) / c_out), 1, atol=0.01)


def test_unit_variance_is_the_plain_network():
    noisy = jax.random.normal(jax.random.key(0), (2, 3, 4, 4))
    found = preconditioning.velocity(jnp.tanh, scaled_linear(), noisy, jnp.ones((2, 3, 4, 1)), jnp.array([5, 800]))
    np.testing.assert_allclose(found, jnp.tanh(noisy), atol=1e-6)
