"""Windows over time: the clips on which video distances are computed."""

import jax
import numpy as np
from jaxtyping import Shaped


def sliding_windows(
    frames: Shaped[np.ndarray | jax.Array, " t *rest"], size: int, stride: int = 1
) -> Shaped[np.ndarray, "n s *rest"]:
    """Window i holds frames i * stride ... i * stride + size - 1; a last one that would not be full is left out.

    A read-only view, without a copy. Raises ValueError where not even one window fits.
    """
    if not 1 <= size <= len(frames) or stride < 1:
        raise ValueError(f"no window of {size} frames at stride {stride} in {len(frames)} frames")
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(frames), size, axis=0)[::stride]
    return np.moveaxis(windows, -1, 1)
