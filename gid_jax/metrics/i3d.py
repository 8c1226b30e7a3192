"""Features of videos for FVD: the logits of I3D (`gid_jax.models.i3d`), and for DTFVD what its logits are made of."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8

from gid_jax.metrics import networks
from gid_jax.metrics.feature_stream import FeatureStream
from gid_jax.metrics.resizing import Resize, resize
from gid_jax.models.i3d import I3D, SIZE
from gid_jax.models.network import Network, Params

NAME = "i3d-kinetics400"
DIMENSIONS = 400
BATCH = {"cpu": 1}
"""Videos on a device at once; 8 on accelerators."""


class Features:
    """The network, loaded once: `Features()(videos)`.

    `name` says which (`gid_jax.metrics.networks`). Of Kinetics-400's the features are the logits, and pictures are
    resized as TensorFlow 1 did it; of the Dynamic Textures Database's they are the 1,024 before the logits, and
    pictures are resized with their corners on the corners, as their authors do. Raises UserError where the weights are
    missing.
    """

    def __init__(self, name: str = NAME, mesh: Mesh | None = None):
        network, params, self.source = networks.load(name)
        self._how: Resize = "legacy" if name == NAME else "corners"
        function = _logits if name == NAME else _representation
        batch = BATCH.get(jax.default_backend(), 8)
        self._stream = FeatureStream(function, network, params, batch=batch, mesh=mesh)

    def __call__(self, videos: Iterable[UInt8[np.ndarray, "t h w 3"]]) -> Iterator[np.ndarray]:
        """Features [400] or [1024] of each video, all of one length, read as they are needed."""
        return self._stream(resize(video, SIZE, self._how) * (2 / 255) - 1 for video in videos)


def _logits(network: Network[I3D], params: Params, videos: jax.Array) -> jax.Array:
    return network.bind(params)(videos)


def _representation(network: Network[I3D], params: Params, videos: jax.Array) -> jax.Array:
    return jnp.mean(network.bind(params).features(videos), axis=1)


def logits(
    videos: UInt8[np.ndarray, "n t h w 3"] | Iterable[UInt8[np.ndarray, "t h w 3"]], mesh: Mesh | None = None
) -> Float[np.ndarray, "n 400"]:
    """Logits of I3D, Kinetics-400, for videos of 9 frames or more, uint8 RGB, an array of them or one after another.

    Pictures are resized to 224 x 224 as the original FVD does. Batches are split over `mesh`, by default the
    accelerators of this process. Raises UserError where the weights are missing (`python -m gid_jax.weights
    i3d-kinetics400`), ValueError for shorter videos.
    """
    found = list(Features(mesh=mesh)(videos))
    return np.stack(found) if found else np.zeros((0, DIMENSIONS), np.float32)
