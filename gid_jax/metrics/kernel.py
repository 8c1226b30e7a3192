"""Kernel distance (KID, Binkowski et al. 2018): squared maximum mean discrepancy with a cubic kernel."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

ROWS = 2048  # of the kernel matrix at a time


def kernel_distance(x: Float[np.ndarray | jax.Array, "n d"], y: Float[np.ndarray | jax.Array, "m d"]) -> float:
    """Unbiased estimate of MMD^2 between two samples under k(a, b) = (a . b / d + 1)^3, in float64.

    Zero on average for samples of one distribution, so it can be slightly negative. Needs two vectors on each side or
    more, else ValueError. The literature quotes it times 100 or 1000.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"kernel_distance needs two vectors or more on each side, got {n} and {m}")
    within_x = (_kernel_sum(x, x) - _kernel_diagonal(x)) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _kernel_diagonal(y)) / (m * (m - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y) / (n * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    return sum(float(np.sum((x[i : i + ROWS] @ y.T / x.shape[1] + 1) ** 3)) for i in range(0, len(x), ROWS))


def _kernel_diagonal(x: np.ndarray) -> float:
    return float(np.sum((np.sum(x * x, axis=1) / x.shape[1] + 1) ** 3))


def kernel_blocks(
    x: Sequence[Float[np.ndarray | jax.Array, "_ d"]], y: Sequence[Float[np.ndarray | jax.Array, "_ d"]]
) -> tuple[Float[np.ndarray, "groups others"], Float[np.ndarray, " groups"]]:
    """Sums of the kernel between all vectors of each group of `x` and each of `y`, and of k(a, a) in each group of
    `x`."""
    x, y = ([np.asarray(group, np.float64) for group in side] for side in (x, y))
    starts = np.cumsum([0, *(len(group) for group in y[:-1])])
    others = np.concatenate(y)
    sums = [np.add.reduceat(((group @ others.T / others.shape[1] + 1) ** 3).sum(axis=0), starts) for group in x]
    return np.stack(sums), np.array([_kernel_diagonal(group) for group in x])
