"""Noise and velocity are two names of the same prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.diffusion import prediction
from gid_jax.diffusion.schedule import scaled_linear

diffusers = pytest.importorskip("diffusers", reason="the reference scheduler needs the extra `test`")
torch = pytest.importorskip("torch", reason="the reference scheduler needs the extra `test`")

SHAPE = (3, 5, 4, 4)
T = np.array([0, 400, 999], np.int32)


@pytest.fixture
def latents():
    return jax.random.normal(jax.random.key(0), SHAPE), jax.random.normal(jax.random.key(1), SHAPE)


@pytest.mark.parametrize("kind", prediction.KINDS)
def test_a_perfect_prediction_is_the_noise(kind, latents):
    schedule, (clean, noise) = scaled_linear(), latents
    noisy = schedule.add_noise(clean, noise, jnp.asarray(T))
    answer = prediction.target(kind, schedule, clean, noise, jnp.asarray(T))
    found = prediction.to_noise(kind, schedule, answer, noisy, jnp.asarray(T))
    np.testing.assert_allclose(found, noise, atol=1e-5)


def test_velocity_equals_diffusers(latents):
    clean, noise = (torch.from_numpy(np.array(x)) for x in latents)
    scheduler = diffusers.DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear")
    theirs = scheduler.get_velocity(clean, noise, torch.from_numpy(T).long()).numpy()
    ours = prediction.target("velocity", scaled_linear(), *latents, jnp.asarray(T))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_one_step_for_all_latents(latents):
    schedule, (clean, noise) = scaled_linear(), latents
    each = prediction.to_noise("velocity", schedule, clean, noise, jnp.full(3, 700))
    np.testing.assert_array_equal(prediction.to_noise("velocity", schedule, clean, noise, jnp.int32(700)), each)
