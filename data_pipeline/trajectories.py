"""Pictures of a clip -> where every pixel of the first goes, by optical flow; and how far that can be trusted."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from data_pipeline.video import Crop
from gid_jax import flow
from gid_jax.render.warp import backward_warp

Estimator = Callable[[np.ndarray, np.ndarray, str], np.ndarray]
"""(source [h, w, 3], targets [n, h, w, 3] in [0, 1], preset) -> motion [n, h, w, 2], as `gid_jax.flow.estimate`."""


def estimate_trajectories(pictures: np.ndarray, preset: str, estimator: Estimator = flow.estimate) -> np.ndarray:
    """F float32 [t, h, w, 2] in px with F_0 = 0, of pictures uint8 [t, h, w, 3]; all targets are one batch."""
    frames = np.asarray(pictures, np.float32) / 255
    motion = np.asarray(estimator(frames[0], frames[1:], preset), np.float32)
    return np.concatenate([np.zeros_like(motion[:1]), motion])


def flow_error(
    pictures: np.ndarray,
    trajectories: np.ndarray,
    times: Sequence[int],
    preset: str,
    estimator: Estimator = flow.estimate,
) -> np.ndarray:
    """float32 [2]: mean forward-backward error in px and mean photometric error, of 255, over the frames `times`.

    Forward-backward: |F_t(p) + B_t(p + F_t(p))| with B_t the flow from frame t back to frame 0. Photometric:
    |I_t(p + F_t(p)) - I_0(p)|. Both count pixels that end inside the picture.
    """
    frames = np.asarray(pictures, np.float32) / 255
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    round_trip, photometric, count = 0.0, 0.0, 0
    for t in times:
        forward = trajectories[t]
        backward = np.asarray(estimator(frames[t], frames[:1], preset), np.float32)[0]
        end_x, end_y = x + forward[..., 0], y + forward[..., 1]
        inside = (end_x >= 0) & (end_y >= 0) & (end_x <= x.max()) & (end_y <= y.max())
        returned = forward + np.asarray(backward_warp(backward, forward))
        difference = np.abs(np.asarray(backward_warp(frames[t], forward)) - frames[0]).mean(axis=-1)
        round_trip += float(np.linalg.norm(returned, axis=-1)[inside].sum())
        photometric += 255 * float(difference[inside].sum())
        count += int(inside.sum())
    return np.array([round_trip, photometric], np.float32) / max(count, 1)


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
