"""Are predictions as spread as the truth? Rank histograms and their chi-square (Talagrand et al. 1997; Hamill 2001)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class ChiSquare:
    """Pearson's statistic, its degrees of freedom, and the probability of one as large if the expectation holds."""

    statistic: float
    freedom: int
    probability: float


def ranks(values: Float[np.ndarray, " n"], ensembles: Float[np.ndarray, "n m"], seed: int = 0) -> Int[np.ndarray, " n"]:
    """How many of the m members of its ensemble each value exceeds, 0 to m; among equals its place is drawn.

    Of values from the members' own distribution each rank is as probable as any other; of too wide or too narrow ones
    the ends or the middle are. Raises ValueError for values that are not finite.
    """
    if not (np.isfinite(values).all() and np.isfinite(ensembles).all()):
        raise ValueError("ranks need finite values")
    below = (ensembles < values[:, None]).sum(axis=1)
    equal = (ensembles == values[:, None]).sum(axis=1)
    return below + np.random.default_rng(seed).integers(0, equal + 1)


def rank_histogram(
    ranks: Int[np.ndarray, " n"], members: int, bins: int
) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Counts of ranks 0 to `members` in neighbouring groups, as equal as can be, and the counts to be expected.

    Raises ValueError for more bins than ranks, or ranks out of range.
    """
    if not 1 <= bins <= members + 1 or (len(ranks) and not 0 <= ranks.min() <= ranks.max() <= members):
        raise ValueError(f"{bins} bins of ranks 0 to {members}: a rank is out of range or there are too many bins")
    groups = np.array_split(np.arange(members + 1), bins)
    counts = np.array([np.isin(ranks, group).sum() for group in groups])
    return counts, len(ranks) * np.array([len(group) for group in groups]) / (members + 1)


def chi_square(counts: Int[np.ndarray, " bins"], expected: Float[np.ndarray, " bins"]) -> ChiSquare:
    """Of counts that add up to as many as are expected; five or more in each bin for the probability to mean much."""
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    return ChiSquare(statistic, len(counts) - 1, _upper_tail(statistic, len(counts) - 1))


def _upper_tail(statistic: float, freedom: int) -> float:
    """Q(freedom / 2, statistic / 2), the regularised incomplete gamma function, which ends for half-integers."""
    x, first = statistic / 2, freedom % 2 / 2
    total = math.erfc(math.sqrt(x)) if freedom % 2 else 0.0
    term = math.exp(-x) * x**first / math.gamma(first + 1)
    for step in range(freedom // 2):
        total += term
        term *= x / (first + step + 1)
    return total
