"""Sampling and rendering against the same steps written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax import sampling
from gid_jax.diffusion.prediction import target
from gid_jax.diffusion.schedule import scaled_linear
from gid_jax.errors import UserError
from gid_jax.evaluation.model import BundleModel
from gid_jax.inference import generate
from gid_jax.inference.bundle import uncoordinated
from gid_jax.motion.spectrum import (
    at_times,
    from_rest,
    mean_magnitude,
    resize_motion,
    resize_spectrum,
    splatting_weight,
)
from gid_jax.streams import stream_key

STEPS = {"num_steps": 3, "guidance": 0.5}


@pytest.fixture(scope="module")
def spectra(bundle):
    images = np.random.default_rng(0).uniform(size=(2, 16, 32, 3)).astype(np.float32)
    return images, generate.predict_spectra(bundle, images, [3, 4], **STEPS)


def test_sampling_is_ddim_written_out(bundle, spectra):
    """Three DDIM steps with guidance as a loop in float64 around the network."""
    images, result = spectra
    denoiser = bundle.networks.denoiser.bind(bundle.params["denoiser"])
    abar = scaled_linear(**bundle.schedule).alphas_cumprod
    z = np.asarray(jax.random.normal(stream_key(4, "latents", 0), (3, 4, 8, 4)), np.float64)
    features = jnp.tile(jax.jit(denoiser.encode_image)(images[1:2]), (3, 1, 1, 1))
    network = jax.jit(
        lambda z, f, t: denoiser(z, f, jnp.full(3, t, jnp.int32), jnp.arange(3, dtype=jnp.int32), num_slices=3)
    )
    for t, end in ((999, 666), (666, 332), (332, None)):
        latents = jnp.asarray(z, jnp.float32)
        eps = 1.5 * np.asarray(network(latents, features, t)) - 0.5 * np.asarray(network(latents, 0 * features, t))
        before = 1.0 if end is None else abar[end]
        clean = (z - np.sqrt(1 - abar[t]) * eps) / np.sqrt(abar[t])
        z = np.sqrt(before) * clean + np.sqrt(1 - before) * eps
    vae = bundle.networks.vae.bind(bundle.params["vae"])
    values = np.asarray(jax.jit(vae.decode)(jnp.asarray(z * bundle.latent_std + bundle.latent_mean, jnp.float32)))
    expected = bundle.scales.reshape(3, 1, 1, 1) * values * np.abs(values)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(result[1], expected, atol=1e-4 * np.abs(expected).max())


def test_without_coordination_slices_know_nothing_of_each_other(bundle, spectra):
    """The network without attention over frequencies is the one whose attention adds nothing."""
    images, whole = spectra
    alone = uncoordinated(bundle)
    found = generate.predict_spectra(alone, images, [3, 4], **STEPS)
    silent = traverse_util.flatten_dict(bundle.params["denoiser"], sep="/")
    for name, leaf in silent.items():
        if "frequency_attention" in name and "to_out" in name:
            silent[name] = 0 * leaf
    params = {**bundle.params, "denoiser": traverse_util.unflatten_dict(silent, sep="/")}
    expected = generate.predict_spectra(dataclasses.replace(bundle, params=params), images, [3, 4], **STEPS)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(found - whole).max() > 1e-3 * np.abs(whole).max()
    assert uncoordinated(alone) is None and BundleModel(alone).uncoordinated() is None


def test_a_models_identity_is_that_of_all_that_decides_its_motion(bundle):
    same = dataclasses.replace(bundle, params=jax.tree.map(np.copy, dict(bundle.params)), provenance={"x": 1})
    scales = dataclasses.replace(bundle, scales=bundle.scales * 2)
    vae = jax.tree.map(lambda leaf: leaf + 1, bundle.params["vae"])
    identities = [BundleModel(b).identity for b in (bundle, same, scales, uncoordinated(bundle))]
    identities.append(BundleModel(dataclasses.replace(bundle, params={**bundle.params, "vae": vae})).identity)
    identities.append(BundleModel(bundle, num_steps=3).identity)
    assert identities[0] == identities[1] and len(set(identities)) == 5


def test_values_of_a_bundle_normalised_by_size_become_pixels(bundle):
    image = np.random.default_rng(0).uniform(size=(1, 16, 32, 3)).astype(np.float32)
    adaptive, by_size = (
        generate.predict_spectra(dataclasses.replace(bundle, normalization=kind), image, [4], num_steps=1)[0]
        for kind in ("adaptive", "size")
    )
    values = np.sign(adaptive) * np.sqrt(np.abs(adaptive) / bundle.scales.reshape(3, 1, 1, 1))
    assert np.abs(values).max() > 1e-3
    np.testing.assert_allclose(by_size, values * [32, 16, 32, 16], rtol=1e-3, atol=1e-3)


def test_a_network_that_predicts_velocity_samples_the_same_as_one_that_predicts_noise(bundle, monkeypatch):
    """Predictions of one made denoiser in both forms."""
    images = np.random.default_rng(1).uniform(size=(1, 16, 32, 3)).astype(np.float32)
    schedule = scaled_linear(**bundle.schedule)
    results = []
    for kind in ("noise", "velocity"):

        def predict(network, slices, params, features, frequency, z, t, kind=kind):
            noise = jnp.tanh(z)
            clean = schedule.to_clean(z, noise, jnp.asarray(t))
            return target(kind, schedule, clean, noise, jnp.asarray(t))

        monkeypatch.setattr(sampling, "_predict", predict)
        results.append(generate.predict_spectra(dataclasses.replace(bundle, prediction=kind), images, [0], num_steps=4))
    np.testing.assert_allclose(results[0], results[1], atol=1e-4 * np.abs(results[0]).max())


def test_sampling_uses_the_variance_that_the_features_tell(bundle, monkeypatch):
    """A network that says nothing more leaves what is known: Gaussian latents of that variance, at every place."""
    variance = np.random.default_rng(2).uniform(0.05, 4, (3, 4, 8, 1)).astype(np.float32)
    models = {**bundle.models, "denoiser": {**bundle.models["denoiser"], "variance_head": True}}
    known = dataclasses.replace(bundle, models=models, prediction="velocity")
    monkeypatch.setattr(sampling, "_variance", lambda *_: jnp.asarray(variance))
    monkeypatch.setattr(sampling, "_encode_image", lambda *_: jnp.zeros((1, 4, 8, 16)))
    monkeypatch.setattr(sampling, "_predict", lambda *arguments: jnp.zeros_like(arguments[5]))
    latents = []
    monkeypatch.setattr(sampling, "_decode", lambda network, params, z: latents.append(z) or jnp.zeros((3, 16, 32, 4)))
    generate.predict_spectra(known, np.zeros((1, 16, 32, 3), np.float32), [5], num_steps=200)
    noise = jax.random.normal(stream_key(5, "latents", 0), (3, 4, 8, 4))
    found = (np.asarray(latents[0]) - bundle.latent_mean) / bundle.latent_std
    np.testing.assert_allclose(found, np.sqrt(variance) * noise, atol=0.1)


def test_one_photo_equals_its_place_in_a_batch(bundle, spectra):
    images, result = spectra
    alone = generate.predict_spectrum(bundle, images[0], seed=3, **STEPS)
    np.testing.assert_allclose(alone, result[0], atol=1e-4 * np.abs(result).max())
    assert np.abs(result[0] - result[1]).max() > 0.1 * np.abs(result).max()


def test_seeds_match_pictures(bundle):
    with pytest.raises(ValueError, match="as many seeds"):
        generate.predict_spectra(bundle, np.zeros((2, 16, 32, 3), np.float32), [0])


def test_high_bits_of_a_seed_count(bundle, spectra):
    images, result = spectra
    high = generate.predict_spectra(bundle, images, [3 + 2**32, 2**63 - 1], **STEPS)
    assert np.abs(high[0] - result[0]).max() > 0.1 * np.abs(result).max()
    assert np.isfinite(high).all()


@pytest.mark.parametrize(
    ("settings", "clue"),
    [
        ({"num_steps": 0}, "ask for 1 to 1000"),
        ({"num_steps": 1001}, "ask for 1 to 1000"),
        ({"guidance": np.nan}, "guidance nan"),
        ({"guidance": np.inf}, "guidance inf"),
        ({"method": "euler"}, "there are ddim, dpmpp_2m"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**63}, "from 0 to 9223372036854775807"),
    ],
)
def test_settings_that_do_not_work_are_named(bundle, settings, clue):
    with pytest.raises(UserError, match=clue):
        generate.predict_spectrum(bundle, np.zeros((16, 32, 3), np.float32), **{"num_steps": 1, **settings})
    if "seed" not in settings:
        with pytest.raises(UserError, match=clue):
            BundleModel(bundle, **settings)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_refused(bundle, monkeypatch, value):
    monkeypatch.setattr(sampling, "_decode", lambda *_: jnp.zeros((3, 16, 32, 4)).at[2, 0, 0, 0].set(value))
    with pytest.raises(UserError, match="not finite"):
        generate.predict_spectra(bundle, np.zeros((1, 16, 32, 3), np.float32), [0], num_steps=1)


@settings(deadline=None, max_examples=50)
@given(height=st.integers(16, 5000), width=st.integers(16, 5000))
def test_model_size_has_aspect_area_and_stride(bundle, height, width):
    h, w = generate.model_size(bundle, height, width)
    assert h % 8 == 0 and w % 8 == 0  # two levels
    exact = np.sqrt(bundle.width * bundle.height / (height * width)) * np.asarray([height, width])
    assert np.all(np.abs(np.asarray([h, w]) - exact) <= np.maximum(4, 8 - exact) + 1e-9)


def random_spectrum(height, width, scale=60.0):
    return np.random.default_rng(1).normal(scale=scale, size=(3, height, width, 4)).astype(np.float32)


def test_from_rest_shifts_the_whole_motion():
    spectrum = random_spectrum(4, 5)
    times = np.asarray([0.0, 10.5, 150.0, 171.0])
    before, after = at_times(spectrum, times), at_times(from_rest(spectrum), times)
    np.testing.assert_allclose(after[0], 0, atol=1e-5)
    np.testing.assert_allclose(after, before - before[:1], atol=1e-4)


def test_frames_are_those_of_the_renderer(bundle, photo):
    """More frames than are rendered at once, at broken times, against one call per frame."""
    spectrum = random_spectrum(16, 32)
    times = np.asarray([0, 1.5, 20, 40.25, 60, 80, 100, 120, 149, 151.0])
    frames = list(generate.render_frames(bundle, photo, spectrum, times, magnify=0.5))
    assert len(frames) == 10 and frames[0].shape == photo.shape and frames[0].dtype == np.uint8

    moved = 0.5 * from_rest(spectrum)
    weight = splatting_weight(moved, *photo.shape[:2])
    renderer = jax.jit(
        lambda motion: bundle.networks.renderer.bind(bundle.params["renderer"])(photo[None], motion, weight[None])
    )
    for index in (0, 3, 9):
        motion = resize_motion(at_times(moved, times[index : index + 1]), *photo.shape[:2])
        expected = np.asarray(renderer(motion))[0]
        np.testing.assert_allclose(frames[index], 255 * np.clip(expected, 0, 1), atol=1.01)
    assert np.abs(frames[3].astype(int) - frames[0]).mean() > 1


def test_weight_is_the_mean_motion_at_the_photos_size():
    spectrum = np.asarray(resize_spectrum(random_spectrum(2, 3), 8, 12))  # smooth
    exact = mean_magnitude(resize_spectrum(spectrum, 24, 48))
    np.testing.assert_allclose(splatting_weight(spectrum, 24, 48), exact, rtol=0.05, atol=0.05 * float(exact.max()))


def test_progress_counts_every_step(bundle, spectra, monkeypatch):
    images, _ = spectra
    ticks = []

    def counting(rows, **_):
        for row in rows:
            ticks.append(1)
            yield row

    monkeypatch.setattr(generate, "progress", counting)
    generate.predict_spectrum(bundle, images[0], **STEPS)
    assert len(ticks) == 3
