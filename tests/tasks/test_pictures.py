"""The pictures of a run: what each panel shows, and that every stage makes them, the same ones on any mesh."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

from gid_jax.inference.bundle import Bundle
from gid_jax.inference.generate import predict_spectra
from gid_jax.streams import stream_key
from gid_jax.tasks import pictures
from gid_jax.tasks.denoiser import full_params
from gid_jax.training import sharding
from gid_jax.training.batches import to_global
from gid_jax.training.records import Records
from gid_jax.training.step import compile_for

WIDE, HIGH, GAP = tiny.WIDTH, tiny.HEIGHT, pictures.GAP
EXPECTED = {
    "vae": {"motion": (4, HIGH, 3), "xt_slices": (4, 150, 2), "coefficients": (4, HIGH, 8)},
    "denoiser": {"motion": (4, HIGH, 3), "xt_slices": (4, 150, 2)},
    "coordinated": {"motion": (4, HIGH, 3), "xt_slices": (4, 150, 2)},
    "renderer": {"frames": (4, HIGH, 4)},
}  # rows, height of a panel, columns


def made(name, sizes):
    """The pictures of a stage with random weights, on a mesh."""
    config = tiny.load_config(name)
    task = tiny.task_of(config)
    mesh = sharding.make_mesh(sizes, jax.devices()[: int(np.prod(list(sizes.values())))])
    with config.unlocked():
        config.batch_size = sharding.smallest_batch(pictures.EXAMPLES, mesh)
    rng = np.random.default_rng(0)
    params, frozen = jax.tree.map(
        lambda leaf: (leaf + 0.03 * rng.standard_normal(leaf.shape)).astype(np.float32),
        jax.device_get(jax.jit(task.init)(jax.random.key(5))),
    )
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        state = program.init(sharding.place(frozen, program.shardings.frozen))
        state = dataclasses.replace(state, ema=sharding.place(params, program.shardings.ema))
        batch = to_global(tiny.random_batch(task.shows, config), task.shows, mesh)
        return jax.device_get(program.pictures(state, batch))


@pytest.mark.parametrize("name", ["vae", pytest.param("denoiser", marks=pytest.mark.slow), "coordinated", "renderer"])
def test_every_stage_shows_its_pictures_in_tensorboard(name, tmp_path):
    found = made(name, {"data": 1, "fsdp": 1, "freq": 1})
    records = Records(str(tmp_path), 0)
    records.write_pictures(7, found)
    records.close()
    images = {v.tag: (event.step, v.image) for event in tiny.events(tmp_path) for v in event.summary.value}
    assert images.keys() == EXPECTED[name].keys()
    for tag, (rows, height, columns) in EXPECTED[name].items():
        step, image = images[tag]
        shape = rows * (height + GAP) - GAP, columns * (WIDE + GAP) - GAP
        assert (step, image.height, image.width) == (7, *shape)
        picture = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
        np.testing.assert_array_equal(picture, found[tag])
        np.testing.assert_array_equal(picture, np.asarray(Image.open(tmp_path / "images" / f"{tag}-0000007.png")))
        for column in range(columns):
            panel = picture[:height, column * (WIDE + GAP) :][:, :WIDE]
            assert panel.std() > 5, f"{tag}: nothing to see in column {column}"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_one_and_eight_devices_show_the_same(name):
    one, eight = (made(name, dict(zip(("data", "fsdp", "freq"), s, strict=True))) for s in ((1, 1, 1), (2, 2, 2)))
    for tag, picture in one.items():
        assert np.abs(picture.astype(int) - eight[tag]).mean() < 0.5, tag  # of 255


@pytest.mark.parametrize("name", [pytest.param("denoiser", marks=pytest.mark.slow), "coordinated"])
def test_samples_are_those_of_inference(name):
    """The same noise and weights through `task.sample` and through a bundle."""
    config = tiny.load_config(name)
    task = tiny.task_of(config)
    rng = np.random.default_rng(0)
    params, frozen = jax.tree.map(
        lambda leaf: (leaf + 0.03 * rng.standard_normal(leaf.shape)).astype(np.float32), task.init(jax.random.key(5))
    )
    frozen |= {"latent_mean": np.float32([0.1, 0.2, 0, -0.1]), "latent_std": np.float32([1, 2, 0.5, 1])}
    renderer = {"width": 8, "decoder_channels": [8], "style_channels": 16}
    models = {"vae": config.vae_model.to_dict(), "denoiser": config.model.to_dict(), "renderer": renderer}
    bundle = Bundle(
        models=models,
        params={"vae": frozen["vae"], "denoiser": full_params(params, frozen), "renderer": {}},
        scales=task.scales,
        latent_mean=frozen["latent_mean"],
        latent_std=frozen["latent_std"],
        width=config.width,
        height=config.height,
        num_frequencies=config.num_frequencies,
        schedule=config.schedule.to_dict(),
        prediction=config.prediction,
    )
    images = rng.random((2, HIGH, WIDE, 3), np.float32)
    expected = predict_spectra(bundle, images, [3, 4], num_steps=3, method="dpmpp_2m")
    shape = (config.num_frequencies, HIGH // 4, WIDE // 4, 4)
    noise = jnp.stack([jax.random.normal(stream_key(seed, "latents", 0), shape) for seed in (3, 4)])
    found = jax.jit(task.sample, static_argnums=4)(params, frozen, images, noise, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_a_row_over_time_follows_the_motion():
    """Two pixels to the right and back: S_1 = -150 / 2 gives F(t) = -cos(2 pi t / 150), from rest 1 - cos."""
    image = np.zeros((1, 8, 32, 3), np.float32)
    image[:, :, 10] = 1
    spectrum = np.zeros((1, 2, 8, 32, 4), np.float32)
    spectrum[:, 1, :, :, 0] = -75
    still = np.zeros_like(spectrum)
    found = np.asarray(pictures.of_motion(image, spectrum, still)["xt_slices"])[..., 0]
    moving, standing = found[:, :32], found[:, 32 + GAP :]
    assert (standing[:, 10] == 255).all() and (standing.sum(axis=1) == 255).all()
    assert moving[0, 10] == moving[75, 12] == 255
    quarter = np.flatnonzero(moving[round(37.5)])
    assert set(quarter) <= {10, 11, 12} and moving[38, 11] > 200


def test_motion_maps_share_the_scale_of_the_true_one():
    image = np.full((1, 8, 8, 3), 0.5, np.float32)
    true = np.zeros((1, 2, 8, 8, 4), np.float32)
    true[:, 1, :, 4:, 0] = 75
    found = np.asarray(pictures.of_motion(image, true, 0 * true)["motion"])
    panels = [found[:, i * (8 + GAP) :][:, :8] for i in range(3)]
    assert (panels[0] == 128).all()
    assert panels[1][:, 4:].min(axis=(0, 1)).tolist() == [252, 255, 164] and panels[1][:, :4].max() <= 4
    assert panels[2].max() <= 4


def test_a_grid_puts_examples_below_one_another():
    columns = [np.full((2, 3, 5, 3), value, np.float32) for value in (0.0, 1.0)]
    columns[1][1] = 0.2
    found = np.asarray(pictures.grid(columns))
    assert found.shape == (3 + GAP + 3, 5 + GAP + 5, 3) and found.dtype == np.uint8
    assert (found[:3, :5] == 0).all() and (found[:3, 5 + GAP :] == 255).all()
    assert (found[3 + GAP :, 5 + GAP :] == 51).all()
    assert (found[3 : 3 + GAP] == 153).all() and (found[:, 5 : 5 + GAP] == 153).all()
