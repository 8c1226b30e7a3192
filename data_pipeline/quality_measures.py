"""What is measured of a clip once its flow is known; `data_pipeline.quality` judges it, by thresholds that may change.

Lengths are pixels at a width of 256, whatever the size of the set; luma is of 255.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gid_jax.render.warp import backward_warp

_WIDTH = 256
_GRID = 2048  # pixels at most that the camera's motion is fitted to
_FOLLOWS = 0.3, 0.1  # a pixel follows the camera if it strays by less than so many px plus that share of the way
_BLOCKS = 5, 8  # down, across
_LUMA = 0.299, 0.587, 0.114


def measure(pictures: np.ndarray, trajectories: np.ndarray) -> dict[str, Any]:
    """Everything below, of pictures uint8 [t, h, w, 3] and their trajectories [t, h, w, 2] in own pixels."""
    shift, share = camera(trajectories)
    return {
        "motion_percentiles": motion_percentiles(trajectories).tolist(),
        "camera_motion": shift,
        "camera_share": share,
        "trend": trend(trajectories),
        "flicker": flicker(pictures, trajectories),
    }


def motion_percentiles(trajectories: np.ndarray) -> np.ndarray:
    """Percentiles 0 ... 100 over the picture of m(p), the mean over t of |F_t(p)|; float32 [101]."""
    magnitude = np.linalg.norm(trajectories, axis=-1).mean(axis=0) * (_WIDTH / trajectories.shape[2])
    return np.percentile(magnitude, np.arange(101)).astype(np.float32)


def camera(trajectories: np.ndarray) -> tuple[float, float]:
    """How far the picture moves as a whole, mean over time and picture, and what share of its pixels goes along.

    At each frame a similarity (shift, rotation and zoom: F = c + m z in complex numbers) is fitted by iteratively
    reweighted least squares, so that it takes the side of the largest part that moves as one: in a steady clip that is
    the ground, and it stays. The share is a mean over time, weighted with how far the picture moves.
    """
    step = int(np.ceil(np.sqrt(trajectories[0, ..., 0].size / _GRID)))
    field = np.asarray(trajectories[1:, step // 2 :: step, step // 2 :: step], np.float64)
    y, x = np.mgrid[: field.shape[1], : field.shape[2]] * step * (_WIDTH / trajectories.shape[2])
    place = (x - x.mean() + 1j * (y - y.mean())).ravel()
    motion = (field @ [1, 1j]).reshape(len(field), -1) * (_WIDTH / trajectories.shape[2])
    whole = np.median(motion.real, axis=1)[:, None] + 1j * np.median(motion.imag, axis=1)[:, None]
    for _ in range(12):
        stray = np.abs(motion - whole)
        scale = np.maximum(_FOLLOWS[0], np.median(stray, axis=1)[:, None])
        weight = 1 / (1 + (stray / scale) ** 2) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        center, mean = weight @ place, np.sum(weight * motion, axis=1)
        arm = place - center[:, None]
        turn = np.sum(weight * arm.conj() * motion, axis=1) / np.sum(weight * np.abs(arm) ** 2, axis=1)
        whole = mean[:, None] + turn[:, None] * arm
    length = np.abs(whole)
    follows = np.abs(motion - whole) < _FOLLOWS[0] + _FOLLOWS[1] * length
    shift = length.mean(axis=1)
    return float(shift.mean()), float(np.sum(shift * follows.mean(axis=1)) / max(shift.sum(), 1e-9))


def trend(trajectories: np.ndarray) -> float:
    """Share of the motion's energy, about each pixel's mean position, that lies in a steady drift: in [0, 1].

    1: everything moves on and on, as in a time-lapse. A sine has 0.61 at most if it has a period within the clip,
    6 / pi^2.
    """
    time = np.arange(len(trajectories)) - (len(trajectories) - 1) / 2
    slope = np.tensordot(time, trajectories, axes=1) / np.sum(time**2)
    energy = float(np.sum(np.var(trajectories, axis=0, dtype=np.float64)))
    return float(np.sum(slope**2) * np.mean(time**2)) / max(energy, 1e-9)


def flicker(pictures: np.ndarray, trajectories: np.ndarray) -> float:
    """How strongly light changes that is not motion: standard deviation over time, in luma.

    Of the luma residual I_t(p + F_t(p)) - I_0(p) the median in each of 8 x 5 blocks is taken: what the flow missed of
    textures and at occlusions is no more than half of a block, a change of light is all of it. The strongest block
    counts.
    """
    residual = np.asarray(_residual(pictures, trajectories))
    rows, columns = (size // n for size, n in zip(residual.shape[1:], _BLOCKS, strict=True))
    blocks = residual[:, : rows * _BLOCKS[0], : columns * _BLOCKS[1]]
    blocks = blocks.reshape(len(residual), _BLOCKS[0], rows, _BLOCKS[1], columns)
    return float(np.median(blocks, axis=(2, 4)).std(axis=0).max())


@jax.jit
def _residual(pictures: jax.Array, trajectories: jax.Array) -> jax.Array:
    """[t, h, w], 0 where a pixel leaves the picture."""
    luma = jnp.asarray(pictures, jnp.float32) @ jnp.asarray(_LUMA, jnp.float32)
    height, width = luma.shape[1:]
    x = jnp.arange(width)[None, None, :] + trajectories[..., 0]
    y = jnp.arange(height)[None, :, None] + trajectories[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return (backward_warp(luma[..., None], trajectories)[..., 0] - luma[:1]) * inside
