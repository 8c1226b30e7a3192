"""Frechet distance between two normal distributions, the figure behind FID and FVD."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moments:
    """What a Frechet distance needs of feature vectors: their number, mean [d], and scatter [d, d], the sum of the
    outer products of their deviations; float64.

    Moments of parts add up to those of the whole, whoever computed them.
    """

    count: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]

    @classmethod
    def of(cls, features: Float[np.ndarray | jax.Array, "n d"]) -> "Moments":
        features = np.asarray(features, np.float64)
        if not len(features):
            raise ValueError("moments need a feature vector or more")
        mean = features.mean(axis=0)
        deviations = features - mean
        return cls(len(features), mean, deviations.T @ deviations)

    @classmethod
    def of_parts(cls, parts: Iterable[Float[np.ndarray | jax.Array, "n d"]]) -> "Moments":
        """Of features that come a part at a time."""
        return functools.reduce(cls.__add__, map(cls.of, parts))

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        between = np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Unbiased. Raises ValueError for a single vector."""
        if self.count < 2:
            raise ValueError(f"a covariance needs two feature vectors or more, got {self.count}")
        return self.scatter / (self.count - 1)


@dataclass(frozen=True)
class Normal:
    """The normal distribution of `count` feature vectors: its mean, and a factor A of its covariance A' A."""

    count: int
    mean: Float[np.ndarray, " d"]
    factor: Float[np.ndarray, "r d"]


def frechet_distance(
    mean1: Float[np.ndarray | jax.Array, " d"],
    cov1: Float[np.ndarray | jax.Array, "d d"],
    mean2: Float[np.ndarray | jax.Array, " d"],
    cov2: Float[np.ndarray | jax.Array, "d d"],
) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), in float64 (Dowson and Landau 1982).

    Covariances are symmetric and positive semi-definite; eigenvalues that rounding leaves of zeros are left out, so
    that singular covariances (fewer samples than dimensions) need no offset. Raises ValueError for values that are
    not finite.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(part, np.float64) for part in (mean1, cov1, mean2, cov2))
    if not all(np.isfinite(part).all() for part in (mean1, cov1, mean2, cov2)):
        raise ValueError("frechet_distance: the statistics are not finite")
    return between_factors(mean1, factor_of(cov1), mean2, factor_of(cov2))


def between_factors(
    mean1: Float[np.ndarray, " d"],
    factor1: Float[np.ndarray, "r d"],
    mean2: Float[np.ndarray, " d"],
    factor2: Float[np.ndarray, "s d"],
) -> float:
    """`frechet_distance` of the covariances A1' A1 and A2' A2, of which factors are given.

    The trace of (C1^1/2 C2 C1^1/2)^1/2 is the sum of the singular values of A1 A2', which unlike a root of eigenvalues
    loses no digits where the covariances are nearly singular.
    """
    product = factor1 @ factor2.T
    if not np.isfinite(product).all():
        raise ValueError("the features are not finite")
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    spread = np.sum(factor1**2) + np.sum(factor2**2) - 2 * overlap
    return float(np.sum((mean1 - mean2) ** 2) + max(spread, 0.0))


def feature_statistics(
    features: Float[np.ndarray | jax.Array, "n d"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean [d] and unbiased covariance [d, d] of n >= 2 feature vectors, float64."""
    moments = Moments.of(features)
    return moments.mean, moments.covariance


def weighted_factor(
    features: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "r d"]]:
    """Mean and a factor of the unbiased covariance of features that each count so many times."""
    total = weights.sum()
    used = weights > 0
    features, weights = features[used], weights[used]
    mean = weights @ features / total
    factor = np.sqrt(weights / (total - 1))[:, None] * (features - mean)
    return mean, np.asarray(np.linalg.qr(factor, mode="r")) if len(factor) > factor.shape[1] else factor


def weighted_distance(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]
) -> Callable[[Float[np.ndarray, " n"], Float[np.ndarray, " m"]], float]:
    """The function that gives `between_factors` of the `weighted_factor`s of `x` and `y` for weights of both.

    It needs no more than scalar products, taken once here: where there are fewer vectors than dimensions, each value
    costs a fraction.
    """
    within_x, within_y, across = x @ x.T, y @ y.T, x @ y.T

    def distance(of_x: np.ndarray, of_y: np.ndarray) -> float:
        p, q = of_x / of_x.sum(), of_y / of_y.sum()
        to_mean_x, to_mean_y = across.T @ p, across @ q  # of each y to the mean of x, of each x to that of y
        between_means = p @ to_mean_y
        means = p @ within_x @ p + q @ within_y @ q - 2 * between_means
        spread = 0.0
        scales = []
        for gram, weights, share in ((within_x, of_x, p), (within_y, of_y, q)):
            scale = weights / (weights.sum() - 1)
            spread += scale @ (np.diag(gram) - 2 * gram @ share + share @ gram @ share)
            scales.append(np.sqrt(scale))
        product = across - to_mean_x[None, :] - to_mean_y[:, None] + between_means
        product = (scales[0][:, None] * product * scales[1])[np.ix_(of_x > 0, of_y > 0)]
        overlap = np.linalg.svd(product, compute_uv=False).sum()
        return float(means + max(spread - 2 * overlap, 0.0))

    return distance


def factor_of(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "r d"]:
    """A' A = covariance, without the eigenvalues that rounding leaves of zeros."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T
