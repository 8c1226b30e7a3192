"""Means with their uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean of `n` values in `groups` groups and its 95 % interval, None where one group leaves nothing to
    resample."""

    mean: float
    low: float | None
    high: float | None
    n: int
    groups: int

    def as_dict(self) -> dict:
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n, "groups": self.groups}


def estimate(
    values: Sequence[float] | np.ndarray, groups: Sequence | np.ndarray, seed: int = 0, *, alike: bool = False
) -> Estimate:
    """Mean of `values`, or with `alike` of the groups' means, with a percentile bootstrap that resamples whole groups.

    Values of one group are not independent (start frames of one video), so the group is what is drawn. The same groups
    and seed draw the same resamples, and a difference of paired values has the interval of the pairs. Values that are
    not finite raise ValueError, as does none at all.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or len(values) != len(groups) or not np.isfinite(values).all():
        raise ValueError(f"an estimate needs finite values, one group each; got {len(values)} and {len(groups)}")
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(group_of, weights=values), np.bincount(group_of)
    n = len(values)
    if alike:
        sums, counts = np.divide(sums, counts), np.ones_like(counts)
        values = sums
    if len(counts) == 1:
        return Estimate(float(values.mean()), None, None, n, 1)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(RESAMPLES, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values.mean()), float(low), float(high), n, len(counts))
