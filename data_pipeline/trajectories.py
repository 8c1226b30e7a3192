"""Pictures of a clip -> where every pixel of the first goes, by optical flow; and how far that can be trusted."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from data_pipeline.emptiness import find_empty
from data_pipeline.video import Crop
from gid_jax import flow
from gid_jax.render.warp import backward_warp

Estimator = Callable[[Any, Any, Any], Any]
"""(source [h, w, 3], targets [n, h, w, 3] in [0, 1], preset) -> motion [n, h, w, 2], as `gid_jax.flow.follow`."""


def estimate_trajectories(pictures: np.ndarray, preset: str, estimator: Estimator = flow.follow) -> np.ndarray:
    """F float32 [t, h, w, 2] in px with F_0 = 0, of pictures uint8 [t, h, w, 3]; all targets are one batch.

    Exactly 0 where the first picture is empty (`emptiness`).
    """
    frames = np.asarray(pictures, np.float32) / 255
    motion = np.asarray(estimator(frames[0], frames[1:], preset), np.float32)
    motion = np.concatenate([np.zeros_like(motion[:1]), motion])
    motion[:, find_empty(np.asarray(pictures))] = 0
    return motion


def flow_error(
    pictures: np.ndarray,
    trajectories: np.ndarray,
    times: Sequence[int],
    preset: str,
    estimator: Estimator = flow.follow,
) -> np.ndarray:
    """float32 [2]: mean forward-backward error in px and mean photometric error, of 255, over the frames `times`.

    Forward-backward: |F_t(p) + B_t(p + F_t(p))| with B_t the flow from frame t back to frame 0. Photometric:
    |I_t(p + F_t(p)) - I_0(p)|. Both count pixels that end inside the picture.
    """
    frames = np.asarray(pictures, np.float32) / 255
    total = np.zeros(3)
    for t in times:
        backward = np.asarray(estimator(frames[t], frames[:1], preset), np.float32)[0]
        total += _sum_errors(*map(jnp.asarray, (frames[0], frames[t], trajectories[t], backward)))
    return (total[:2] / max(total[2], 1)).astype(np.float32)


@jax.jit
def _sum_errors(source: jax.Array, target: jax.Array, forward: jax.Array, backward: jax.Array) -> jax.Array:
    """Sums of both errors over the pixels that end inside, and the number of those."""
    height, width = source.shape[:2]
    end_x = jnp.arange(width)[None, :] + forward[..., 0]
    end_y = jnp.arange(height)[:, None] + forward[..., 1]
    inside = (end_x >= 0) & (end_y >= 0) & (end_x <= width - 1) & (end_y <= height - 1)
    round_trip = jnp.linalg.norm(forward + backward_warp(backward, forward), axis=-1)
    photometric = 255 * jnp.abs(backward_warp(target, forward) - source).mean(axis=-1)
    return jnp.stack([jnp.sum(round_trip * inside), jnp.sum(photometric * inside), jnp.sum(inside)])


def crop_motion(field: np.ndarray, crop: Crop) -> np.ndarray:
    """Cuts and resizes motion or a spectrum [h, w, c], c even and (x, y) alternating, like the picture it belongs to.

    x and y grow by target over source size, as lengths do.
    """
    channels = [
        np.asarray(crop.apply(Image.fromarray(np.ascontiguousarray(channel, np.float32)), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(field, -1, 0)
    ]
    factors = np.array([crop.target_width / crop.width, crop.target_height / crop.height], np.float32)
    return np.stack(channels, axis=-1) * np.tile(factors, len(channels) // 2)


def crop_mask(mask: np.ndarray, crop: Crop) -> np.ndarray:
    """Cuts and resizes bool [h, w]; true where at least half of the new pixel was."""
    return np.asarray(crop.apply(Image.fromarray(mask.astype(np.uint8) * 255), Image.Resampling.BOX)) >= 128
