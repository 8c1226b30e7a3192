"""Random changes of picture and motion together: flip, rotation, scale, crop, colour.

A geometry is a similarity of the plane. Maps (pictures, motion weight) are resampled under it; motion vectors are
resampled and then turned, flipped and scaled by its linear part, real and imaginary parts of a spectrum alike,
because the Fourier transform over time commutes with any linear map over space. Only pixels that exist are shown: the
scale is at least what the rotation needs to cover the frame, and the crop moves within what the scale leaves free.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MAX_DEGREES = 5.0  # PAPER.md, augmentation
MAX_ZOOM = 1.2  # on top of the zoom that covers the rotation
JITTER = 0.2  # largest relative change of brightness, contrast and saturation
MAX_HUE = 0.1  # radians of the chroma plane
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Geometry:
    """Output pixel p (x, y from the centre of the frame) shows input pixel `inverse @ p + shift`.

    `forward` [2, 2] is the inverse of `inverse` [2, 2]: what happens to motion vectors. `shift` [2] is in input pixels.
    """

    forward: Float[np.ndarray, "2 2"]
    shift: Float[np.ndarray, "2"]

    @property
    def inverse(self) -> Float[np.ndarray, "2 2"]:
        return np.linalg.inv(self.forward)

    @property
    def keeps_pixels(self) -> bool:
        """Nothing, or a flip from left to right: half of all cases, and exact."""
        flips = np.array_equal(np.abs(self.forward), np.eye(2)) and self.forward[1, 1] == 1
        return bool(flips and not self.shift.any())

    @property
    def scale(self) -> float:
        """Length of a transformed unit vector."""
        return float(np.sqrt(abs(np.linalg.det(self.forward))))


def random_geometry(rng: np.random.Generator, height: int, width: int) -> Geometry:
    """A flip in half of the cases; in half of the cases a rotation within 5 degrees, a scale and a crop.

    The other half keeps the stored scale, at which the model is used.
    """
    flip = np.diag([-1.0, 1.0]) if rng.random() < 0.5 else np.eye(2)
    if rng.random() < 0.5:
        return Geometry(flip, np.zeros(2))
    angle = np.deg2rad(rng.uniform(-MAX_DEGREES, MAX_DEGREES))
    cosine, sine = np.cos(angle), np.sin(angle)
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    reach = np.array([[cosine, abs(sine)], [abs(sine), cosine]]) @ half  # half extent of the rotated frame
    zoom = rng.uniform(1.0, MAX_ZOOM) * np.max(reach / half)
    shift = rng.uniform(-1.0, 1.0, 2) * (half - reach / zoom)
    return Geometry(zoom * np.array([[cosine, -sine], [sine, cosine]]) @ flip, shift)


def resample(maps: Float[np.ndarray, "h w c"], geometry: Geometry) -> Float[np.ndarray, "h w c"]:
    """Bilinear values of `maps` at the input position of every output pixel, float32; clamped at the border."""
    height, width, channels = maps.shape
    if geometry.keeps_pixels:
        return np.ascontiguousarray(maps[:, :: int(geometry.forward[0, 0])], np.float32)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    inverse = geometry.inverse
    offset = centre + geometry.shift - inverse @ centre
    columns, rows = np.arange(width), np.arange(height)[:, None]
    x = np.clip(inverse[0, 0] * columns + inverse[0, 1] * rows + offset[0], 0, width - 1).astype(np.float32)
    y = np.clip(inverse[1, 0] * columns + inverse[1, 1] * rows + offset[1], 0, height - 1).astype(np.float32)
    left = np.minimum(x.astype(np.int32), max(width - 2, 0))
    top = np.minimum(y.astype(np.int32), max(height - 2, 0))
    right_share, lower_share = (x - left.astype(np.float32))[..., None], (y - top.astype(np.float32))[..., None]
    flat = maps.reshape(-1, channels).astype(np.float32, copy=False)
    corner = top * width + left
    step_right, step_down = min(1, width - 1), width * min(1, height - 1)
    upper, lower = (_between(flat, corner + step, corner + step + step_right, right_share) for step in (0, step_down))
    lower -= upper
    lower *= lower_share
    upper += lower
    return upper


def _between(flat: np.ndarray, start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """flat[start] + share * (flat[end] - flat[start]), in place where it can be: this is what loading spends its time
    on."""
    values, change = flat.take(start, axis=0), flat.take(end, axis=0)
    change -= values
    change *= share
    values += change
    return values


def turn(vectors: Float[np.ndarray, "h w c"], geometry: Geometry) -> Float[np.ndarray, "h w c"]:
    """Applies the geometry's linear part to each consecutive (x, y) pair of channels."""
    pairs = vectors.reshape(*vectors.shape[:-1], -1, 2)
    return (pairs @ geometry.forward.T.astype(np.float32)).reshape(vectors.shape)


def transform(
    geometry: Geometry, *, maps: Float[np.ndarray, "h w c"], vectors: Float[np.ndarray, "h w v"]
) -> tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "h w v"]]:
    """Maps and motion (any number of (x, y) channel pairs, px) as seen after the geometry, in one resampling."""
    moved = resample(np.concatenate([maps, vectors], axis=-1), geometry)
    return moved[..., : maps.shape[-1]], turn(moved[..., maps.shape[-1] :], geometry)


@dataclass(frozen=True)
class Colour:
    """rgb -> clip(matrix @ rgb + offset, 0, 1)."""

    matrix: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]

    def __call__(self, image: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
        return np.clip(image @ self.matrix.T + self.offset, 0.0, 1.0)


def random_colour(rng: np.random.Generator, image: Float[np.ndarray, "h w 3"]) -> Colour:
    """Brightness, contrast about the mean grey of `image`, saturation and hue, as one affine map of rgb."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    grey = np.outer(np.ones(3), LUMA)
    chroma = saturation * _hue_rotation(rng.uniform(-MAX_HUE, MAX_HUE)) @ (np.eye(3) - grey)
    matrix = brightness * contrast * (grey + chroma)
    offset = (1 - contrast) * brightness * float(image.mean(axis=(0, 1)) @ LUMA)
    return Colour(matrix.astype(np.float32), np.full(3, offset, np.float32))


def _hue_rotation(angle: float) -> Float[np.ndarray, "3 3"]:
    """Rotation of rgb about the grey axis (1, 1, 1) (Rodrigues' formula)."""
    axis = np.ones(3) / np.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
