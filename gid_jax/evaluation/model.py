"""What is evaluated: pictures in, spectra out; picture and motion in, frames out."""

from typing import Any, Protocol

import numpy as np

from gid_jax.inference.bundle import Bundle
from gid_jax.inference.generate import check_sampling, predict_spectra
from gid_jax.rendering import render


class Model(Protocol):
    """`width` x `height` are the pictures' size, `num_frequencies` the spectra's K."""

    width: int
    height: int
    num_frequencies: int

    def predict(self, images: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Pictures [b, h, w, 3] in [0, 1] and a seed each -> spectra [b, k, h, w, 4], px."""

    def render(self, image: np.ndarray, motions: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Picture [h, w, 3], motion [t, h, w, 2], px, and splatting weight [h, w] -> frames [t, h, w, 3] in [0,
        1]."""


class BundleModel:
    """A bundle as a `Model`; `sampling` are keyword arguments of `predict_spectra`.

    Raises UserError for such that the bundle cannot be sampled with.
    """

    def __init__(self, bundle: Bundle, **sampling: Any):
        check_sampling(bundle, **sampling)
        self.width, self.height, self.num_frequencies = bundle.width, bundle.height, bundle.num_frequencies
        self._bundle, self._sampling = bundle, sampling

    def predict(self, images: np.ndarray, seeds: list[int]) -> np.ndarray:
        return predict_spectra(self._bundle, images, seeds, **self._sampling)

    def render(self, image: np.ndarray, motions: np.ndarray, weight: np.ndarray) -> np.ndarray:
        network, params = self._bundle.networks.renderer, self._bundle.params["renderer"]
        return np.stack([frame.astype(np.float32) / 255 for frame in render(network, params, image, motions, weight)])
