"""How a picture moves in one row of the table: what is said of the motion, and the frames to it."""

from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from gid_jax.data.clip_codec import decode_clip
from gid_jax.evaluation import baselines
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.motion import Description, describe, describe_trajectories
from gid_jax.motion.spectrum import PERIOD, at_times, from_rest

CHUNK = 50  # frames whose motion is computed at once


class Movement(Protocol):
    """The motion that one picture is given. `still` says that all its frames are equal."""

    still: bool

    def describe(self) -> Description | None:
        """None where there is no motion to speak of, or none that is known."""

    def frames(self, image: Float[np.ndarray, "h w 3"], times: np.ndarray) -> UInt8[np.ndarray, "t h w 3"]:
        """The picture, in [0, 1], at `times`, whole frames after it."""


class Waves:
    """A spectrum [k, h, w, 4], shown by the model's renderer from rest, as an animation is."""

    still = False

    def __init__(self, model: Model, spectrum: np.ndarray):
        self._model, self.spectrum = model, spectrum

    def describe(self) -> Description:
        return describe(self.spectrum)

    def frames(self, image: np.ndarray, times: np.ndarray) -> np.ndarray:
        spectrum = np.asarray(from_rest(self.spectrum))
        everything = _motions(spectrum, np.arange(PERIOD))
        weight = np.linalg.norm(everything, axis=-1).mean(axis=0)
        return _as_bytes(self._model.render(image, _motions(spectrum, times), weight))


class Flow:
    """A constant velocity field [h, w, 2], px per frame, integrated and splatted symmetrically."""

    still = False

    def __init__(self, velocities: np.ndarray, num_frequencies: int):
        self._carried = [np.asarray(part) for part in baselines.carried(velocities)]
        self._num_frequencies = num_frequencies

    def describe(self) -> Description:
        return describe_trajectories(self._carried[0], self._num_frequencies)

    def frames(self, image: np.ndarray, times: np.ndarray) -> np.ndarray:
        forward, backward = self._carried
        weight = np.linalg.norm(forward, axis=-1).mean(axis=0)
        shown = [
            baselines.splatted_symmetrically(image, forward[t], backward[t], weight, np.float32(t / PERIOD))
            for t in times
        ]
        return _as_bytes(np.stack([np.asarray(frame) for frame in shown]))


class Still:
    still = True

    def describe(self) -> None:
        return None

    def frames(self, image: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.broadcast_to(_as_bytes(image), (len(times), *image.shape))


class Recorded:
    """What the camera saw: a coded clip."""

    still = False

    def __init__(self, clip: bytes):
        self._clip = clip

    def describe(self) -> None:
        return None

    def frames(self, image: np.ndarray, times: np.ndarray) -> np.ndarray:
        return decode_clip(self._clip)[times]


def _motions(spectrum: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Of any number of frames with few compiled sizes."""
    filled = np.pad(np.asarray(times, np.float32), (0, -len(times) % CHUNK))
    chunks = [np.asarray(at_times(spectrum, filled[i : i + CHUNK])) for i in range(0, len(filled), CHUNK)]
    return np.concatenate(chunks)[: len(times)]


def _as_bytes(pictures: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
