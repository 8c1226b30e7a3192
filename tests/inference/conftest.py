"""A bundle of tiny networks whose weights are random, output layers included."""

import jax
import numpy as np
import pytest

from gid_jax.inference.bundle import MODELS, Bundle
from gid_jax.models.network import Network

MODEL_ARGUMENTS = {
    "vae": {
        "base_channels": 8,
        "multipliers": (1, 1, 1),
        "blocks_per_level": 1,
        "mid_attention": False,
        "norm_groups": 4,
    },
    "denoiser": {
        "image_encoder": {"base_channels": 8, "norm_groups": 4},
        "unet": {
            "base_channels": 8,
            "multipliers": (1, 1),
            "blocks_per_level": 1,
            "attention_levels": (),
            "head_channels": 8,
            "num_frequencies": 3,
            "frequency_attention": True,
            "norm_groups": 4,
        },
    },
    "renderer": {"width": 8, "decoder_channels": (8, 8), "style_channels": 8},
}


def random_params(part: str, scale: float = 0.05) -> dict:
    shapes = jax.eval_shape(
        Network(lambda rngs: MODELS[part](**MODEL_ARGUMENTS[part], rngs=rngs)).init, jax.random.key(0)
    )
    rng = np.random.default_rng(len(part))
    return jax.tree.map(lambda leaf: rng.normal(scale=scale, size=leaf.shape).astype(np.float32), shapes)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle(
        models=MODEL_ARGUMENTS,
        params={part: random_params(part) for part in MODELS},
        scales=np.asarray([30.0, 20.0, 10.0], np.float32),
        latent_mean=np.asarray([0.1, -0.2, 0.3, 0.0], np.float32),
        latent_std=np.asarray([1.0, 2.0, 0.5, 1.5], np.float32),
        width=32,
        height=16,
        num_frequencies=3,
        schedule={"beta_start": 0.0015, "beta_end": 0.0195, "num_steps": 1000},
        provenance={"vae": {"steps": 7}},
    )


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    y, x = np.mgrid[:37, :61] / 61
    return np.stack([x, y, 0.5 + 0.5 * np.sin(20 * x + 9 * y)], axis=-1).astype(np.float32)
