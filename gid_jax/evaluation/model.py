"""What is evaluated: pictures in, spectra out; picture and motion in, frames out."""

import functools
from typing import Any, Protocol

import jax
import numpy as np

from gid_jax.inference.bundle import Bundle, Networks
from gid_jax.inference.generate import predict_spectra

FRAMES_AT_ONCE = 4


class Model(Protocol):
    """`width` x `height` are the pictures' size, `num_frequencies` the spectra's K."""

    width: int
    height: int
    num_frequencies: int

    def predict(self, images: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Pictures [b, h, w, 3] in [0, 1] and a seed each -> spectra [b, k, h, w, 4], px."""

    def render(self, image: np.ndarray, motions: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Picture [h, w, 3], motion [t, h, w, 2], px, and splatting weight [h, w] -> frames [t, h, w, 3], about [0,
        1]."""


class BundleModel:
    """A bundle as a `Model`; `sampling` are keyword arguments of `predict_spectra`."""

    def __init__(self, bundle: Bundle, **sampling: Any):
        self.width, self.height, self.num_frequencies = bundle.width, bundle.height, bundle.num_frequencies
        self._bundle, self._sampling = bundle, sampling

    def predict(self, images: np.ndarray, seeds: list[int]) -> np.ndarray:
        return predict_spectra(self._bundle, images, seeds, **self._sampling)

    def render(self, image: np.ndarray, motions: np.ndarray, weight: np.ndarray) -> np.ndarray:
        networks, params = self._bundle.networks, self._bundle.params["renderer"]
        encoded = _encode(networks, params, image)
        frames = []
        for first in range(0, len(motions), FRAMES_AT_ONCE):
            wanted = motions[first : first + FRAMES_AT_ONCE]
            filled = np.pad(wanted, ((0, FRAMES_AT_ONCE - len(wanted)), (0, 0), (0, 0), (0, 0)))  # one compiled size
            frames.append(np.asarray(_render(networks, params, encoded, image, filled, weight))[: len(wanted)])
        return np.concatenate(frames)


@functools.partial(jax.jit, static_argnums=0)
def _encode(networks: Networks, params: dict, image: jax.Array) -> Any:
    return networks.renderer.bind(params).encode(image[None])


@functools.partial(jax.jit, static_argnums=0)
def _render(
    networks: Networks, params: dict, encoded: Any, image: jax.Array, motions: jax.Array, weight: jax.Array
) -> jax.Array:
    renderer = networks.renderer.bind(params)
    return jax.vmap(lambda motion: renderer.render(encoded, image[None], motion[None], weight[None])[0])(motions)
