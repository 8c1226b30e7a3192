"""How near two pictures are: PSNR and SSIM. Pictures in [0, 1], channel last."""

import jax
import numpy as np
from jaxtyping import Float

Images = Float[np.ndarray | jax.Array, "*b h w c"]

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def psnr(image: Images, reference: Images) -> Float[np.ndarray, "*b"]:
    """-10 log10 of the mean squared error over pixels and channels, in dB; infinite for equal pictures."""
    error = np.mean((np.asarray(image, np.float64) - np.asarray(reference, np.float64)) ** 2, axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return np.asarray(-10 * np.log10(error))


def ssim(image: Images, reference: Images) -> Float[np.ndarray, "*b"]:
    """Structural similarity (Wang et al. 2004), mean over pixels and channels; 1 for equal pictures.

    Window 11 x 11, Gaussian of sigma 1.5; only windows wholly inside the picture count. Raises ValueError for smaller
    pictures.
    """
    x, y = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if min(x.shape[-3:-1]) < WINDOW:
        raise ValueError(f"ssim needs {WINDOW} x {WINDOW} pixels or more, got {x.shape[-2]} x {x.shape[-3]}")
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance_x, variance_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return np.asarray(np.mean(luminance * structure, axis=(-3, -2, -1)))


def _smooth(images: np.ndarray) -> np.ndarray:
    """Gaussian mean over each whole window: [*b, h, w, c] -> [*b, h - 10, w - 10, c]."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    taps /= taps.sum()
    height, width = images.shape[-3] - WINDOW + 1, images.shape[-2] - WINDOW + 1
    rows = sum(tap * images[..., i : i + height, :, :] for i, tap in enumerate(taps))
    return sum(tap * rows[..., :, i : i + width, :] for i, tap in enumerate(taps))
