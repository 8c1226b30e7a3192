"""Schedule and samplers against diffusers, with the same schedule and noise predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.diffusion.guidance import classifier_free
from gid_jax.diffusion.samplers import sample
from gid_jax.diffusion.schedule import scaled_linear

torch = pytest.importorskip("torch", reason="the reference samplers need the extra `test`")
diffusers = pytest.importorskip("diffusers", reason="the reference samplers need the extra `test`")

BETAS = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
SHAPE = (2, 5, 4, 4)


def predictions():
    """A made noise prediction, the same function in both libraries: near the one for standard normal latents."""
    weights = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32) * 0.1
    sigma = np.sqrt(1 - scaled_linear().alphas_cumprod).astype(np.float32)

    def in_jax(z, t):
        return jnp.asarray(sigma)[t] * (0.9 * z + jnp.tanh(z @ jnp.asarray(weights)))

    def in_torch(z, t):
        return float(sigma[int(t)]) * (0.9 * z + torch.tanh(z @ torch.from_numpy(weights)))

    return in_jax, in_torch


def reference(scheduler, num_steps, in_torch, noise):
    scheduler.set_timesteps(num_steps)
    z = torch.from_numpy(noise)
    for t in scheduler.timesteps:
        z = scheduler.step(in_torch(z, t), t, z).prev_sample
    return z.numpy()


def test_schedule_equals_diffusers():
    theirs = diffusers.DDIMScheduler(**BETAS).alphas_cumprod.numpy()
    np.testing.assert_allclose(scaled_linear().alphas_cumprod, theirs, rtol=2e-5)


@pytest.mark.parametrize("num_steps", [7, 50, 250])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_ddim_equals_diffusers(num_steps, clip):
    in_jax, in_torch = predictions()
    noise = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    scheduler = diffusers.DDIMScheduler(
        **BETAS, steps_offset=1, set_alpha_to_one=True, clip_sample=clip is not None, clip_sample_range=clip or 1.0
    )
    if clip is not None:
        step = scheduler.step
        scheduler.step = lambda *arguments: step(*arguments, use_clipped_model_output=True)
    result = jax.jit(lambda z: sample(in_jax, z, scaled_linear(), num_steps, clip=clip))(jnp.asarray(noise))
    np.testing.assert_allclose(result, reference(scheduler, num_steps, in_torch, noise), atol=1e-5)


@pytest.mark.parametrize("num_steps", [15, 25])
def test_dpm_solver_equals_diffusers(num_steps):
    in_jax, in_torch = predictions()
    noise = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, final_sigmas_type="zero")
    result = sample(in_jax, jnp.asarray(noise), scaled_linear(), num_steps, method="dpmpp_2m")
    np.testing.assert_allclose(result, reference(scheduler, num_steps, in_torch, noise), atol=5e-5)


def test_a_perfect_prediction_gives_back_the_picture():
    schedule, clean = scaled_linear(), jax.random.normal(jax.random.key(0), SHAPE)

    def denoise(z, t):
        signal, sigma = schedule.coefficients(t, z.ndim)
        return (z - signal * clean) / sigma

    noise = jax.random.normal(jax.random.key(1), SHAPE)
    for method, steps in (("ddim", 50), ("dpmpp_2m", 20)):
        np.testing.assert_allclose(sample(denoise, noise, schedule, steps, method=method), clean, atol=1e-3)


def test_adding_noise_and_its_inverse():
    schedule = scaled_linear()
    clean, noise = jax.random.normal(jax.random.key(0), (2, *SHAPE)), jax.random.normal(jax.random.key(1), (2, *SHAPE))
    t = jnp.array([3, 700])
    noisy = schedule.add_noise(clean, noise, t)
    np.testing.assert_allclose(schedule.to_clean(noisy, noise, t), clean, atol=1e-3)
    abar = schedule.alphas_cumprod[700]
    np.testing.assert_allclose(noisy[1], np.sqrt(abar) * clean[1] + np.sqrt(1 - abar) * noise[1], atol=1e-5)


def test_eta_adds_noise_by_key():
    in_jax, _ = predictions()
    noise = jax.random.normal(jax.random.key(0), SHAPE)
    with pytest.raises(ValueError, match="key"):
        sample(in_jax, noise, scaled_linear(), 5, eta=1.0)
    one = sample(in_jax, noise, scaled_linear(), 5, eta=1.0, key=jax.random.key(1))
    other = sample(in_jax, noise, scaled_linear(), 5, eta=1.0, key=jax.random.key(2))
    assert np.abs(np.asarray(one - other)).max() > 0.1


def test_guidance_formula():
    guided = classifier_free(lambda z, t: 2 * z, lambda z, t: z, 1.75)
    np.testing.assert_allclose(guided(jnp.ones(3), jnp.int32(0)), 2.75 * 2 - 1.75)
    conditional = lambda z, t: z  # noqa: E731
    assert classifier_free(conditional, conditional, 0.0) is conditional
