"""Schedule and samplers against diffusers, with the same schedule and noise predictions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.diffusion.guidance import classifier_free, downhill
from gid_jax.diffusion.samplers import METHODS, sample, timesteps
from gid_jax.diffusion.schedule import scaled_linear

torch = pytest.importorskip("torch", reason="the reference samplers need the extra `test`")
diffusers = pytest.importorskip("diffusers", reason="the reference samplers need the extra `test`")

BETAS = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
TRAILING = {**BETAS, "timestep_spacing": "trailing"}
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


def test_the_steps_of_every_count_are_those_of_diffusers():
    """All different, from the noisiest on. At 62 counts diffusers appends a step -1 by a rounding error: left out."""
    schedulers = (
        diffusers.DDIMScheduler(**TRAILING),
        diffusers.DPMSolverMultistepScheduler(**TRAILING, final_sigmas_type="zero"),
    )
    schedule = scaled_linear()
    for count in range(1, 1001):
        steps = timesteps(schedule, count)
        assert len(steps) == count and steps[0] == 999 and steps[-1] >= 0 and np.all(np.diff(steps) < 0)
        for scheduler in schedulers:
            scheduler.set_timesteps(count)
            np.testing.assert_array_equal(scheduler.timesteps.numpy()[:count], steps)
    assert timesteps(schedule, 1000)[-1] == 0
    for count in (0, 1001):
        with pytest.raises(ValueError, match="between 1 and 1000"):
            timesteps(schedule, count)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("total", [1000, 30])
def test_no_count_divides_by_zero(method, total):
    """What every step of every count multiplies by, as handed to `scan`."""
    schedule, noise = scaled_linear(num_steps=total), jnp.zeros((1, 1))

    def keep(step, z, rows):
        handed.append(rows)
        return z, None

    for count in range(1, total + 1):
        handed: list = []
        sample(lambda z, t: z, noise, schedule, count, method, scan=keep)
        for leaf in jax.tree.leaves(handed):
            assert len(leaf) == count and np.isfinite(leaf).all(), count


@pytest.mark.parametrize("num_steps", [8, 50, 250])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_ddim_equals_diffusers(num_steps, clip):
    in_jax, in_torch = predictions()
    noise = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    scheduler = diffusers.DDIMScheduler(
        **TRAILING, set_alpha_to_one=True, clip_sample=clip is not None, clip_sample_range=clip or 1.0
    )
    if clip is not None:
        step = scheduler.step
        scheduler.step = lambda *arguments: step(*arguments, use_clipped_model_output=True)
    result = jax.jit(lambda z: sample(in_jax, z, scaled_linear(), num_steps, clip=clip))(jnp.asarray(noise))
    np.testing.assert_allclose(result, reference(scheduler, num_steps, in_torch, noise), atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 7, 501])
def test_ddim_of_any_count_equals_diffusers_first_order_solver(num_steps):
    """Which is DDIM (Lu et al. 2022, section 4). Where the count does not divide 1000, diffusers' DDIM ends a step
    elsewhere than the next begins, and leaves noise: no reference.
    """
    in_jax, in_torch = predictions()
    noise = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    scheduler = diffusers.DPMSolverMultistepScheduler(**TRAILING, solver_order=1, final_sigmas_type="zero")
    result = sample(in_jax, jnp.asarray(noise), scaled_linear(), num_steps)
    np.testing.assert_allclose(result, reference(scheduler, num_steps, in_torch, noise), rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("num_steps", [1, 2, 15, 25, 1000])
def test_dpm_solver_equals_diffusers(num_steps):
    in_jax, in_torch = predictions()
    noise = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    scheduler = diffusers.DPMSolverMultistepScheduler(**TRAILING, final_sigmas_type="zero")
    result = sample(in_jax, jnp.asarray(noise), scaled_linear(), num_steps, method="dpmpp_2m")
    np.testing.assert_allclose(result, reference(scheduler, num_steps, in_torch, noise), rtol=1e-5, atol=5e-5)


def test_a_perfect_prediction_gives_back_the_picture():
    schedule, clean = scaled_linear(), jax.random.normal(jax.random.key(0), SHAPE)

    def denoise(z, t):
        signal, sigma = schedule.coefficients(t, z.ndim)
        return (z - signal * clean) / sigma

    noise = jax.random.normal(jax.random.key(1), SHAPE)
    for method, steps in itertools.product(METHODS, (1, 20, 1000)):
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


def test_recurrences_start_each_step_anew_and_keep_the_distribution():
    schedule = scaled_linear()
    noise = jax.random.normal(jax.random.key(0), (64, 4, 4, 4))
    sigma = jnp.asarray(np.sqrt(1 - schedule.alphas_cumprod), jnp.float32)
    calls = []

    def of_standard_normal(z, t):
        calls.append(t)
        return sigma[t] * z

    def by_hand(step, carry, inputs):
        for row in zip(*jax.tree.leaves(inputs), strict=True):
            carry, _ = step(carry, jax.tree.unflatten(jax.tree.structure(inputs), map(jnp.asarray, row)))
        return carry, None

    once = sample(of_standard_normal, noise, schedule, 50, scan=by_hand)
    again = sample(of_standard_normal, noise, schedule, 50, recurrences=2, key=jax.random.key(1), scan=by_hand)
    assert len(calls) == 50 + 150
    assert np.corrcoef(np.ravel(once), np.ravel(again))[0, 1] < 0.5
    assert float(again.std()) == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="key"):
        sample(of_standard_normal, noise, schedule, 5, recurrences=1)
    with pytest.raises(ValueError, match="dpmpp_2m"):
        sample(of_standard_normal, noise, schedule, 5, method="dpmpp_2m", recurrences=1, key=jax.random.key(1))


@pytest.mark.parametrize("through_network", [False, True])
def test_downhill_adds_the_slope_of_a_loss_of_the_clean_latents(through_network):
    schedule, z, t = scaled_linear(), jax.random.normal(jax.random.key(0), SHAPE), jnp.int32(300)
    denoise = lambda z, t: 0.3 * z  # noqa: E731
    guided = downhill(denoise, lambda clean: jnp.sum(clean**2), schedule, 2.0, through_network)(z, t)
    signal, sigma = (float(x) for x in schedule.coefficients(t, 0))
    clean = (1 - 0.3 * sigma) / signal * z
    by_z = (1 - 0.3 * sigma if through_network else 1) / signal
    np.testing.assert_allclose(guided, 0.3 * z + 2 * sigma * 2 * clean * by_z, rtol=1e-4)
    broken = downhill(denoise, lambda clean: jnp.sqrt(jnp.sum(0 * clean)), schedule, 2.0, through_network)(z, t)
    np.testing.assert_allclose(broken, 0.3 * z, rtol=1e-6)


def test_guidance_formula():
    guided = classifier_free(lambda z, t: 2 * z, lambda z, t: z, 1.75)
    np.testing.assert_allclose(guided(jnp.ones(3), jnp.int32(0)), 2.75 * 2 - 1.75)
    conditional = lambda z, t: z  # noqa: E731
    assert classifier_free(conditional, conditional, 0.0) is conditional
