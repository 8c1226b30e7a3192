"""What is measured of a clip once its flow is known; `data_pipeline.quality` judges it, by thresholds that may change.

Lengths are pixels at a width of 256, whatever the size of the set; luma is of 255.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from data_pipeline.emptiness import find_empty
from gid_jax.render.warp import backward_warp

_WIDTH = 256
_SEEN = 128  # px: camera and light are judged on pictures of this width, or less
_GRID = 1024  # pixels at most that the camera's motion is fitted to
_FOLLOWS = 0.3, 0.1, 0.6  # a pixel follows if it strays by less than so many px plus that share of the way, at most ...
_TEXTURE = 4.0  # luma squared: smaller eigenvalue of the structure tensor where motion can be told, ...
_AROUND = 2.0  # ... averaged over so many px (Gaussian, pictures 128 px wide)
_RIM, _RIM_SHARE = 6, 0.1  # px; a side of the picture can be told if so much of its rim can
_SMOOTH = 5  # frames that motion is averaged over before it counts as such
_BLOCKS = 5, 8  # down, across
_LIGHT, _ENOUGH = 20.0, 4  # luma of blocks that can tell a change of light, and how many of them it takes
_PARTS = 10, 16
_LIT = 0.03  # of the picture: a light that is no smaller
_ONE_LIGHT = 0.7  # of a part's changes that are the common ones
_STILL, _MOST = 0.3, 1.0  # px at 256 wide, on average and in nearly all frames
_BESIDE = 3  # px between what is still and what moves
_LUMA = 0.299, 0.587, 0.114


def measure(pictures: np.ndarray, trajectories: np.ndarray) -> dict[str, Any]:
    """Everything below, of pictures uint8 [t, h, w, 3] and their trajectories [t, h, w, 2] in own pixels."""
    percentiles, slope = motion_percentiles(trajectories), trend(trajectories)
    small, motion = _shrink(pictures), _shrink(trajectories)
    motion = motion * (motion.shape[2] / trajectories.shape[2])
    luma = small @ np.asarray(_LUMA, np.float32)
    told = find_texture(luma[0]) & ~find_empty(small)
    common, bands = common_light(luma, motion)
    return {
        "motion_percentiles": percentiles.tolist(),
        "trend": slope,
        **dataclasses.asdict(camera(motion, told)),
        "common_light": common,
        "band_light": bands,
        "local_light": local_light(luma, motion),
    }


def maps(pictures: np.ndarray, trajectories: np.ndarray) -> dict[str, np.ndarray]:
    """What `measure` sums up, by place [h, w]: `light` (standard deviation of the residual, luma), `told` (bool),
    `motion` (mean |F|) and `drift` (way of a steady drift), px at 256 wide.
    """
    small, motion = _shrink(pictures), _shrink(trajectories)
    motion = motion * (motion.shape[2] / trajectories.shape[2])
    luma = small @ np.asarray(_LUMA, np.float32)
    to_256 = _WIDTH / motion.shape[2]
    residual = np.asarray(_residual(luma, motion))
    return {
        "light": ndimage.gaussian_filter(residual, (0, 2, 2)).std(axis=0),
        "told": find_texture(luma[0]) & ~find_empty(small),
        "motion": np.linalg.norm(motion, axis=-1).mean(axis=0) * to_256,
        "drift": np.linalg.norm(_slope(motion), axis=-1) * len(motion) * to_256,
    }


def _shrink(planes: np.ndarray) -> np.ndarray:
    """float32 [t, h, w, c] averaged over squares, so that it is `_SEEN` to twice that wide, or less."""
    factor = max(1, planes.shape[2] // _SEEN)
    count, height, width, channels = planes.shape
    height, width = height // factor, width // factor
    cut = planes[:, : height * factor, : width * factor]
    return cut.reshape(count, height, factor, width, factor, channels).mean(axis=(2, 4), dtype=np.float32)


def motion_percentiles(trajectories: np.ndarray) -> np.ndarray:
    """Percentiles 0 ... 100 over the picture of how far a pixel is from its mean place, averaged over t; float32 [101].

    Over 5 frames first: what a sensor's noise feigns is another in every frame, but for what the first picture's own
    noise adds to all of them.
    """
    about = trajectories - trajectories.mean(axis=0)
    about = ndimage.uniform_filter1d(about, _SMOOTH, axis=0, mode="nearest")
    magnitude = np.linalg.norm(about, axis=-1).mean(axis=0) * (_WIDTH / trajectories.shape[2])
    return np.percentile(magnitude, np.arange(101)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Camera:
    """How the part of a picture that can tell motion moves as a whole; lengths in px at a width of 256.

    A black sky, a blank wall and whatever `emptiness` found to be empty move with nothing and against nothing.
    """

    camera_told: float = 0.0
    """share of the picture that can tell"""
    camera_sides: int = 0
    """of how many of its four sides: a thing that swings in the middle of a blank picture is no camera"""
    camera_least: float = 0.0
    """5th percentile of the mean motion there: hardly anything stands still if it is large"""
    camera_motion: float = 0.0
    """mean length of the similarity that fits the motion of the largest part"""
    camera_share: float = 0.0
    """how much of it goes along, weighted with how far the picture moves"""
    camera_drift: float = 0.0
    """mean way of the similarity that fits where all drift steadily: a pan, a walk, a zoom, whatever sways meanwhile"""
    camera_steady: float = 0.0
    """the share that the drift has in all motion of its kind: that way and back"""
    camera_drifting: float = 0.0
    """share whose own drift strays from it by less than a third of the mean way"""


def camera(motion: np.ndarray, told: np.ndarray) -> Camera:
    """Of trajectories [t, h, w, 2] and the pixels [h, w] that can tell.

    At each frame a similarity (shift, rotation and zoom: F = c + m z in complex numbers) is fitted by iteratively
    reweighted least squares, so that it takes the side of the largest part that moves as one: in a steady clip that is
    the ground, and it stays.
    """
    if np.count_nonzero(told) < 50:
        return Camera(camera_told=float(told.mean()))
    to_256 = _WIDTH / told.shape[1]
    rim = max(1, round(_RIM * told.shape[1] / _SEEN))
    sides = sum(part.mean() >= _RIM_SHARE for part in (told[:rim], told[-rim:], told[:, :rim], told[:, -rim:]))
    y, x = np.nonzero(told)
    chosen = np.linspace(0, len(y) - 1, min(len(y), _GRID)).astype(int)
    y, x = y[chosen], x[chosen]
    place = (x + 1j * y) * to_256
    moved = np.asarray(motion[1:, y, x] @ np.array([1, 1j]), np.complex128) * to_256
    whole = _similarity(place, moved)
    length = np.abs(whole)
    stray = np.abs(moved - whole)
    follows = (stray < np.minimum(_FOLLOWS[0] + _FOLLOWS[1] * length, _FOLLOWS[2])).mean(axis=1)
    shift = length.mean(axis=1)
    drifts = _slope(moved) * len(moved)
    drift = _similarity(place, drifts[None])[0]
    way = float(np.abs(drift).mean())
    along = (moved @ drift.conj()).real
    return Camera(
        camera_told=float(told.mean()),
        camera_sides=int(sides),
        camera_least=float(np.percentile(np.abs(moved).mean(axis=0), 5)),
        camera_motion=float(shift.mean()),
        camera_share=float(np.sum(shift * follows) / max(shift.sum(), 1e-9)),
        camera_drift=way,
        camera_steady=_steadiness(along),
        camera_drifting=float(np.mean(np.abs(drifts - drift) < way / 3)),
    )


def find_texture(luma: np.ndarray) -> np.ndarray:
    """bool [h, w]: where structure in two directions tells motion, in a picture [h, w] of 255 at most 128 wide."""
    across, down = (ndimage.gaussian_filter(luma, 0.7, order=order) for order in ((0, 1), (1, 0)))
    xx, xy, yy = (ndimage.gaussian_filter(a * b, _AROUND) for a, b in ((across, across), (across, down), (down, down)))
    return (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy) > _TEXTURE


def _similarity(place: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The motion [t, n] of pixels at `place` [n] under the similarity of each frame that fits `moved` [t, n]."""
    whole = np.median(moved.real, axis=1)[:, None] + 1j * np.median(moved.imag, axis=1)[:, None]
    for _ in range(12):
        stray = np.abs(moved - whole)
        scale = np.maximum(_FOLLOWS[0], np.median(stray, axis=1)[:, None])
        weight = 1 / (1 + (stray / scale) ** 2) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        center, mean = weight @ place, np.sum(weight * moved, axis=1)
        arm = place - center[:, None]
        turn = np.sum(weight * arm.conj() * moved, axis=1) / np.sum(weight * np.abs(arm) ** 2, axis=1)
        whole = mean[:, None] + turn[:, None] * arm
    return whole


def _slope(series: np.ndarray) -> np.ndarray:
    """Of each column of [t, ...] over t, per frame."""
    time = np.arange(len(series)) - (len(series) - 1) / 2
    return np.tensordot(time, series, axes=1) / np.sum(time**2)


def trend(trajectories: np.ndarray) -> float:
    """Share of the motion's energy, about each pixel's mean position, that lies in a steady drift: in [0, 1].

    1: everything moves on and on, as in a time-lapse. A sine has 0.61 at most if it has a period within the clip,
    6 / pi^2.
    """
    return _steadiness(trajectories)


def _steadiness(series: np.ndarray) -> float:
    """Share of the energy of [t, ...], about each mean, that lies in a steady drift."""
    energy = float(np.sum(np.var(series, axis=0, dtype=np.float64)))
    return float(np.sum(_slope(series) ** 2) * (len(series) ** 2 - 1) / 12) / max(energy, 1e-9)


def common_light(luma: np.ndarray, motion: np.ndarray) -> tuple[float, float]:
    """How strongly the light changes that all of the picture shares: standard deviation over time, as a share of it.

    Of the residual I_t(p + F_t(p)) - I_0(p) the median in each of 8 x 5 blocks is taken, as a share of the block's
    light in the first picture, and the median of these: what the flow missed, what was covered, and shading that turns
    with a cloth differ from place to place, a change of light does not. The second figure is that of bands that run
    through the picture, as mains light leaves them under a rolling shutter: each row's light is its own, but every
    row's changes. Black blocks tell nothing; 0 where nearly all are.
    """
    blocks = np.median(_cut(np.asarray(_residual(luma, motion)), _BLOCKS), axis=(3, 4))
    first = np.median(_cut(luma[:1], _BLOCKS), axis=(3, 4))[0]
    lit = first > _LIGHT
    if np.count_nonzero(lit) < _ENOUGH:
        return 0.0, 0.0
    shares = blocks / np.maximum(first, _LIGHT)
    common = np.median(shares[:, lit], axis=1).std()
    rows = [np.median(shares[:, i, row], axis=1).std() for i, row in enumerate(lit) if np.count_nonzero(row) > 2]
    return float(common), float(np.median(rows)) if len(rows) > 1 else 0.0


def local_light(luma: np.ndarray, motion: np.ndarray) -> float:
    """The same where nothing moves nor lies beside what moves: a lamp on a wall.

    One light changes everywhere at once: of the luma of 16 x 10 parts, as far as they stand still, the strongest common
    course (principal component) is taken, and its amplitude in the part that is the last to make up 3 % of the picture.
    Parts count that follow that course and no other, and brighten when the others do: a shadow that sways on a blank
    wall darkens one place when it frees another. 0 where less than that stands still.
    """
    length = np.linalg.norm(motion, axis=-1) * (_WIDTH / luma.shape[2])
    moves = (length.mean(axis=0) > _STILL) | (np.percentile(length, 98, axis=0) > _MOST)
    still = ~ndimage.binary_dilation(_visited(motion, moves), iterations=_BESIDE)
    change = np.where(still, luma - luma[:1], np.nan)
    parts, there = _cut(change, _PARTS), _cut(still[None], _PARTS)[0].mean(axis=(2, 3)) >= 0.5
    least = round(_LIT * there.size)
    if np.count_nonzero(there) < least:
        return 0.0
    courses = np.nanmedian(parts[:, there].reshape(len(luma), np.count_nonzero(there), -1), axis=2)
    courses = courses - courses.mean(axis=0)
    _, strength, shares = np.linalg.svd(courses, full_matrices=False)
    amplitudes = strength[0] * shares[0] / np.sqrt(len(luma))
    follows = amplitudes**2 > _ONE_LIGHT * courses.var(axis=0)
    amplitudes = np.where(follows, amplitudes * np.sign(amplitudes[follows].sum()), 0)
    return max(0.0, float(np.sort(amplitudes)[-least]))


def _visited(motion: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """bool [h, w]: what moves in the first picture, and wherever that comes in the others."""
    height, width = moves.shape
    y, x = np.nonzero(moves)
    ends = np.rint(motion[:, y, x] + np.stack([x, y], axis=-1)).astype(int)
    inside = (ends >= 0).all(axis=-1) & (ends < (width, height)).all(axis=-1)
    visited = moves.copy()
    visited[ends[inside][:, 1], ends[inside][:, 0]] = True
    return visited


def _cut(planes: np.ndarray, parts: tuple[int, int]) -> np.ndarray:
    """[t, h, w] in so many parts down and across: [t, down, across, h', w']; what is left over is dropped."""
    height, width = (size // n for size, n in zip(planes.shape[1:], parts, strict=True))
    whole = planes[:, : height * parts[0], : width * parts[1]]
    return np.moveaxis(whole.reshape(len(planes), parts[0], height, parts[1], width), 2, 3)


@jax.jit
def _residual(luma: jax.Array, motion: jax.Array) -> jax.Array:
    """[t, h, w], 0 where a pixel leaves the picture."""
    height, width = luma.shape[1:]
    x = jnp.arange(width)[None, None, :] + motion[..., 0]
    y = jnp.arange(height)[None, :, None] + motion[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return (backward_warp(luma[..., None], motion)[..., 0] - luma[:1]) * inside
