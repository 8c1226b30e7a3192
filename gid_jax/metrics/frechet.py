"""Frechet distance between two normal distributions, the figure behind FID and FVD."""

import jax
import numpy as np
from jaxtyping import Float


def frechet_distance(
    mean1: Float[np.ndarray | jax.Array, " d"],
    cov1: Float[np.ndarray | jax.Array, "d d"],
    mean2: Float[np.ndarray | jax.Array, " d"],
    cov2: Float[np.ndarray | jax.Array, "d d"],
) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), in float64 (Dowson and Landau 1982).

    Covariances are symmetric and positive semi-definite; eigenvalues that rounding makes negative count as zero, so
    that singular covariances (fewer samples than dimensions) need no offset. Raises ValueError for values that are
    not finite.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(part, np.float64) for part in (mean1, cov1, mean2, cov2))
    if not all(np.isfinite(part).all() for part in (mean1, cov1, mean2, cov2)):
        raise ValueError("frechet_distance: the statistics are not finite")
    root = _square_root(cov1)
    overlap = np.linalg.eigvalsh(_symmetric(root @ cov2 @ root))
    trace = np.trace(cov1) + np.trace(cov2) - 2 * np.sum(np.sqrt(np.maximum(overlap, 0)))
    return float(np.sum((mean1 - mean2) ** 2) + max(trace, 0.0))


def feature_statistics(
    features: Float[np.ndarray | jax.Array, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean [d] and unbiased covariance [d, d] of n >= 2 feature vectors, float64."""
    features = np.asarray(features, np.float64)
    if len(features) < 2:
        raise ValueError(f"a covariance needs two feature vectors or more, got {len(features)}")
    mean = features.mean(axis=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2
