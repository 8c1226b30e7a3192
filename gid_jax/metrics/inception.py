"""Features of pictures for FID and KID: the pooled 2,048 of Inception-v3 (`gid_jax.models.inception`)."""

from collections.abc import Iterable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8

from gid_jax.metrics import networks
from gid_jax.metrics.feature_stream import FeatureStream
from gid_jax.metrics.resizing import Resize, resize
from gid_jax.models.inception import SIZE, Inception
from gid_jax.models.network import Network, Params

NAME = "fid-inception"
DIMENSIONS = 2048
BATCH = {"cpu": 4}
"""Pictures on a device at once; 32 on accelerators."""


class Features:
    """The network, loaded once: `Features()(pictures)`. Raises UserError where its weights are missing."""

    def __init__(self, how: Resize = "clean", mesh: Mesh | None = None):
        network, params, self.source = networks.load(NAME)
        self._how = how
        batch = BATCH.get(jax.default_backend(), 32)
        self._stream = FeatureStream(_features, network, params, batch=batch, mesh=mesh)

    def __call__(self, pictures: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[np.ndarray]:
        """Features [2048] of each picture, read as they are needed."""
        return self._stream((resize(picture[None], SIZE, self._how)[0] - 128) / 128 for picture in pictures)


def _features(network: Network[Inception], params: Params, pictures: jax.Array) -> jax.Array:
    return network.bind(params)(pictures)


def features(
    images: UInt8[np.ndarray, "n h w 3"] | Iterable[UInt8[np.ndarray, "h w 3"]],
    resize: Resize = "clean",
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "n 2048"]:
    """Features of pictures, uint8 RGB, an array of them or one after another; at 299 x 299 nothing is resized.

    `resize` is "clean" (bicubic, antialiased) or "legacy" (TensorFlow 1's bilinear): both are in use, so say which.
    Batches are split over `mesh`, by default the accelerators of this process. Raises UserError where the weights are
    missing (`python -m gid_jax.weights fid-inception`).
    """
    found = list(Features(resize, mesh)(images))
    return np.stack(found) if found else np.zeros((0, DIMENSIONS), np.float32)
