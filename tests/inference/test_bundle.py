"""Bundles: written as a whole, read with every check."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from gid_jax.errors import UserError
from gid_jax.export import make_bundle
from gid_jax.inference.bundle import FILE_NAME, MODELS, flatten, load_bundle, save_bundle
from gid_jax.tasks.denoiser import FREQUENCY_ATTENTION, partition
from gid_jax.tasks.renderer import DISCRIMINATOR


def test_what_is_saved_is_loaded(tmp_path, bundle):
    save_bundle(bundle, tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, bundle.params)
    for name in ("scales", "latent_mean", "latent_std"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(bundle, name))
    settings = ("width", "height", "num_frequencies", "schedule", "prediction", "normalization")
    for name in (*settings, "provenance", "version"):
        assert getattr(loaded, name) == getattr(bundle, name)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "bundle.json",
        "denoiser.safetensors",
        "renderer.safetensors",
        "vae.safetensors",
    ]
    assert "unet/conv_in/kernel" in flatten(loaded.params["denoiser"])


def test_half_precision_halves_the_files_and_is_loaded_as_float32(tmp_path, bundle):
    save_bundle(bundle, tmp_path / "whole")
    save_bundle(bundle, tmp_path / "half", "float16")
    loaded = load_bundle(tmp_path / "half")
    for part in MODELS:
        sizes = [(tmp_path / name / f"{part}.safetensors").stat().st_size for name in ("half", "whole")]
        assert sizes[0] < 0.8 * sizes[1]
    for leaf, exact in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(bundle.params), strict=True):
        assert leaf.dtype == np.float32
        np.testing.assert_allclose(leaf, exact, rtol=1e-3, atol=1e-7)


def test_a_bundle_from_before_the_choice_of_a_normalization_is_adaptive(tmp_path, bundle):
    save_bundle(dataclasses.replace(bundle, normalization="size"), tmp_path / "b")
    fields = json.loads((tmp_path / "b" / FILE_NAME).read_text())
    assert fields.pop("normalization") == "size"
    (tmp_path / "b" / FILE_NAME).write_text(json.dumps(fields))
    assert load_bundle(tmp_path / "b").normalization == "adaptive"


def test_a_bundle_is_replaced_and_nothing_else(tmp_path, bundle):
    save_bundle(bundle, tmp_path / "b")
    save_bundle(dataclasses.replace(bundle, width=64), tmp_path / "b")
    assert load_bundle(tmp_path / "b").width == 64
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    with pytest.raises(UserError, match="thesis"):
        save_bundle(bundle, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"


def test_each_damage_is_named(tmp_path, bundle):
    with pytest.raises(UserError, match=r"bundle.json is missing.*gid_jax.export"):
        load_bundle(tmp_path / "b")

    def edited(**fields):
        save_bundle(bundle, tmp_path / "b")
        content = json.loads((tmp_path / "b" / FILE_NAME).read_text())
        (tmp_path / "b" / FILE_NAME).write_text(json.dumps(content | fields))

    edited(version=2)
    with pytest.raises(UserError, match="bundle of version 2, this program reads 1: export it again"):
        load_bundle(tmp_path / "b")
    edited(models=bundle.models | {"renderer": {"width": 16, "decoder_channels": [8, 8], "style_channels": 8}})
    with pytest.raises(UserError, match=r"renderer.safetensors: .* needed is"):
        load_bundle(tmp_path / "b")
    edited(files={})
    with pytest.raises(UserError, match=r"bundle.json: incomplete"):
        load_bundle(tmp_path / "b")
    (tmp_path / "b" / FILE_NAME).write_text("{")
    with pytest.raises(UserError, match=r"bundle.json: not readable"):
        load_bundle(tmp_path / "b")

    save_bundle(bundle, tmp_path / "b")
    weights = tmp_path / "b" / "vae.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"vae.safetensors: damaged"):
        load_bundle(tmp_path / "b")
    weights.unlink()
    with pytest.raises(UserError, match=r"vae.safetensors: cannot be read"):
        load_bundle(tmp_path / "b")


def stage(task, part, bundle, params, **frozen):
    config = {"task": task, "model": bundle.models[part], "schedule": bundle.schedule, "prediction": "velocity"}
    config["normalization"] = "size"
    config |= {"width": bundle.width, "height": bundle.height, "num_frequencies": bundle.num_frequencies}
    return types.SimpleNamespace(config=ConfigDict(config), params=params, frozen=frozen, step=5)


def test_export_joins_stages_that_belong_together(bundle):
    params, base = partition(bundle.params["denoiser"], FREQUENCY_ATTENTION)
    assert params and base
    whitening = {name: getattr(bundle, name) for name in ("scales", "latent_mean", "latent_std")}
    adversary = {DISCRIMINATOR: {"conv_out": {"bias": np.ones(1, np.float32)}}}  # of training with the GAN loss: stays
    stages = {
        "vae": stage("vae", "vae", bundle, bundle.params["vae"]),
        "denoiser": stage("coordinated", "denoiser", bundle, params, base=base, vae=bundle.params["vae"], **whitening),
        "renderer": stage("renderer", "renderer", bundle, {**bundle.params["renderer"], **adversary}),
    }
    made = make_bundle(stages)
    assert (made.prediction, made.normalization) == ("velocity", "size")
    jax.tree.map(np.testing.assert_array_equal, made.params, dict(bundle.params))
    np.testing.assert_array_equal(made.latent_std, bundle.latent_std)
    assert made.provenance["denoiser"]["task"] == "coordinated" and made.provenance["vae"]["steps"] == 5

    stages["vae"].params = jax.tree.map(lambda leaf: leaf + 1, bundle.params["vae"])
    with pytest.raises(UserError, match="another VAE"):
        make_bundle(stages)
    stages["vae"].config.width = 48
    with pytest.raises(UserError, match="differ in width"):
        make_bundle(stages)
