"""Motion that repeats without a seam.

A truncated series has period P, so F(P) = F(0) always. What shows is haste: motion that would not come back by itself
is made to in the few frames around the seam, faster than anything else in the clip.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from gid_jax.motion.spectrum import PERIOD, at_times, synthesis_matrix

FEWEST = 4  # frequencies: fewer are too slow for any haste
_ROUNDS = 20  # of alternating projections; after 5, bands are within .7 dB, after 20 within .01
_HALVINGS = 10  # of the interval that holds the speed


def seam_loss(spectrum: Float[ArrayLike, "*b k h w 4"], period: int = PERIOD) -> Float[Array, " *b"]:
    """|F(P-1) - F(0)|_1 + |(F(P-1) - F(P-2)) - (F(1) - F(0))|_1, mean over pixels, in px at a width of 256 (PAPER.md,
    eq. 5)."""
    spectrum = jnp.asarray(spectrum, jnp.float32)
    last, end, first, second = jnp.moveaxis(at_times(spectrum, np.arange(-2.0, 2.0), period), -4, 0)
    gap = jnp.abs(end - first) + jnp.abs((end - last) - (second - first))
    return 256 / spectrum.shape[-2] * gap.sum(axis=-1).mean(axis=(-2, -1))


def close(spectrum: Float[ArrayLike, "k h w 4"], period: int = PERIOD) -> Float[np.ndarray, "k h w 4"]:
    """The nearest spectrum whose motion crosses the seam at one velocity and no faster than it moves elsewhere.

    Every pixel's coefficients x (k >= 1) become T x with one matrix T, which is found by alternating projections:

    - onto A x = b, by the smallest change relative to each band's power. Two rows of A are the second differences of
      F at frames P-1 and 0, which vanish; the third is the velocity at the seam less the mean of those P / (K - 1)
      before and after, which is a share of what it was: the largest at which the root mean square step over
      the seam is no longer than the mean one;
    - onto the bands' amplitudes as they were.

    S_0 stays. Fewer than `FEWEST` frequencies, and what does not move, stay as they are.
    """
    spectrum = np.asarray(spectrum, np.float32)
    count = len(spectrum)
    if count < FEWEST:
        return spectrum
    waves = np.concatenate([spectrum[1:, ..., :2], spectrum[1:, ..., 2:]]).reshape(2 * (count - 1), -1)
    moments = waves.astype(np.float64) @ waves.T.astype(np.float64) / waves.shape[1]
    if not np.trace(moments) > 0:
        return spectrum
    closing = _closing(moments / np.trace(moments), period)
    closed = (closing @ waves).astype(np.float32).reshape(2, count - 1, *spectrum.shape[1:3], 2)
    return np.concatenate([spectrum[:1], np.concatenate([closed[0], closed[1]], axis=-1)])


def _closing(moments: np.ndarray, period: int) -> np.ndarray:
    """T, for coefficients with these second moments [2 (K - 1)] * 2."""
    count = len(moments) // 2
    power = _bands(np.diag(moments))
    weights = np.tile(power + 1e-9, 2)
    spread = period / count
    bends = np.diff(_step(np.arange(-1.0, 2.0), count, period), axis=0)
    haste = [[1.0, -0.5, -0.5]] @ _step(np.asarray([0.0, -spread, spread]), count, period)
    rows = np.concatenate([bends, haste])
    gain = weights[:, None] * rows.T @ np.linalg.pinv(rows * weights @ rows.T)
    steps = _step(np.arange(1.0, period + 1), count, period)

    def solve(share: float) -> np.ndarray:
        kept = np.concatenate([np.zeros((2, 2 * count)), share * haste])
        closing = np.eye(2 * count)
        closing = closing - gain @ (rows @ closing - kept)
        for _ in range(_ROUNDS):
            now = _bands(np.einsum("ij,jk,ik->i", closing, moments, closing))
            closing = np.tile(np.sqrt(power / np.maximum(now, 1e-12)), 2)[:, None] * closing
            closing = closing - gain @ (rows @ closing - kept)
        return closing

    def hasty(closing: np.ndarray) -> bool:
        moved = steps @ closing
        lengths = np.sqrt(np.einsum("ti,ij,tj->t", moved, moments, moved))
        return bool(lengths[-1] > lengths[:-1].mean())

    low, high = 0.0, 1.0
    if not hasty(solve(high)):
        return solve(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if hasty(solve(middle)) else (middle, high)
    return solve(low)


def _bands(diagonal: np.ndarray) -> np.ndarray:
    """Of real and imaginary parts, added up."""
    real, imaginary = np.split(diagonal, 2)
    return real + imaginary


def _step(times: Float[np.ndarray, " t"], count: int, period: int) -> np.ndarray:
    """F(t) - F(t - 1) as a matrix over the coefficients of k = 1 ... count."""
    now, before = (synthesis_matrix(times - lag, count, period, include_dc=False) for lag in (0, 1))
    return now.astype(np.float64) - before
