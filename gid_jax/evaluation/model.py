"""What is evaluated: pictures in, spectra out; picture and motion in, frames out."""

import hashlib
import json
from typing import Any, Protocol

import numpy as np

from gid_jax.inference.bundle import MODELS, Bundle, flatten, uncoordinated
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

    @property
    def identity(self) -> str:
        """Of all that decides what it predicts and renders, pictures and seeds aside."""
        bundle = self._bundle
        about = [bundle.schedule, bundle.prediction, bundle.normalization, bundle.models, self._sampling]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        arrays = {"scales": bundle.scales, "mean": bundle.latent_mean, "std": bundle.latent_std}
        for part in MODELS:
            arrays |= flatten(bundle.params[part], f"{part}/")
        for name, array in sorted(arrays.items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def uncoordinated(self) -> "BundleModel | None":
        """Without attention over frequencies, where it has that."""
        alone = uncoordinated(self._bundle)
        return None if alone is None else BundleModel(alone, **self._sampling)
