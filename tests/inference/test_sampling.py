"""The one place where motion is sampled: guidance of any kind, in a compiled function and step by step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax import sampling
from gid_jax.inference.generate import motion_model
from gid_jax.motion.loops import seam_loss
from gid_jax.motion.spectrum import mean_magnitude

STEPS = {"num_steps": 2, "method": "ddim"}


@pytest.fixture(scope="module")
def model(bundle):
    return motion_model(bundle)


@pytest.fixture(scope="module")
def given(model):
    """Features of two pictures, and noise for each."""
    images = jax.random.uniform(jax.random.key(2), (2, 16, 32, 3))
    return model.encode_image(images), jax.random.normal(jax.random.key(3), (2, 3, 4, 8, 4))


def calm(motion):
    """Self-guidance by a loss of the motion, the mean of |F_t|: through network, decoder and both inverses."""

    def loss(z, t):
        clean = motion.schedule.to_clean(z, motion.conditional(z, t), t)
        return jnp.sum(mean_magnitude(motion.spectra(clean)))

    def denoise(z, t):
        slope = jax.grad(loss)(z, t)
        return motion.conditional(z, t) + 20 * slope / jnp.linalg.norm(slope)

    return jax.jit(denoise)


def step_by_step(step, carry, inputs):
    for row in zip(*jax.tree.leaves(inputs), strict=True):
        carry, _ = step(carry, jax.tree.unflatten(jax.tree.structure(inputs), map(jnp.asarray, row)))
    return carry, None


@pytest.fixture(scope="module")
def calmed(model, given):
    return sampling.sample_spectra(model, *given, **STEPS, guided=calm, scan=step_by_step)


def test_guidance_by_a_loss_of_the_motion_lowers_it(model, given, calmed):
    free = sampling.sample_spectra(model, *given, **STEPS, guided=sampling.classifier_free(0.0))
    before, after = (np.asarray(mean_magnitude(spectra)).mean((1, 2)) for spectra in (free, calmed))
    assert np.all(after < 0.95 * before), (before, after)


def test_compiled_as_a_whole_or_step_by_step_it_is_the_same(model, given, calmed):
    whole = jax.jit(lambda *given: sampling.sample_spectra(model, *given, **STEPS, guided=calm))(*given)
    np.testing.assert_allclose(whole, calmed, rtol=1e-3, atol=1e-3 * np.abs(calmed).max())


def test_whitening_may_be_of_each_frequency(model, given):
    means = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    each = dataclasses.replace(model, latent_mean=means)
    latents = jnp.broadcast_to(means[:, None, None], (3, 4, 8, 4))
    values = np.asarray(model.vae.bind(model.vae_params).decode(latents))
    found = sampling.Motion(each, given[0], 3).spectra(jnp.zeros((6, 4, 8, 4)))
    expected = model.scales.reshape(3, 1, 1, 1) * values * np.abs(values)
    for picture in found:
        np.testing.assert_allclose(picture, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("through_network", [False, True])
def test_guidance_to_a_loop_lowers_the_seam(model, given, through_network):
    free = sampling.sample_spectra(model, *given, **STEPS, guided=sampling.classifier_free(0.0))
    looping = sampling.looping(0.0, 30.0, through_network)
    guided = sampling.sample_spectra(model, *given, **STEPS, guided=looping, scan=step_by_step)
    assert np.all(np.asarray(seam_loss(guided)) < np.asarray(seam_loss(free)))
