"""FID, KID and FVD between features of real and of made pictures or videos, and how sure they are.

Features are [n, d] arrays; the Frechet distances take `Moments` in their place, which parts of a set add up to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from gid_jax.metrics.frechet import Moments, Normal, between_factors, factor_of, weighted_distance, weighted_factor
from gid_jax.metrics.kernel import kernel_blocks, kernel_distance

Features = Float[np.ndarray | jax.Array, "_ d"]
SUBSETS, SUBSET_SIZE = 100, 1000
RESAMPLES, RESAMPLES_OF_LARGE, LARGE = 100, 20, 512
"""Bootstrap resamples; fewer where both sides have more than `LARGE` vectors and dimensions, and each takes seconds."""


def fid(real: Features | Moments | Normal, fake: Features | Moments | Normal) -> float:
    """Frechet distance of Inception features (Heusel et al. 2017). Raises ValueError for fewer than two vectors."""
    first, second = normal_of(real), normal_of(fake)
    return between_factors(first.mean, first.factor, second.mean, second.factor)


def normal_of(features: Features | Moments | Normal) -> Normal:
    """The normal distribution that a Frechet distance sees of features."""
    if isinstance(features, Normal):
        return features
    if isinstance(features, Moments):
        return Normal(features.count, features.mean, factor_of(features.covariance))
    if len(features) < 2:
        raise ValueError(f"a covariance needs two feature vectors or more, got {len(features)}")
    return Normal(len(features), *weighted_factor(np.asarray(features, np.float64), np.ones(len(features))))


def fvd(real: Features | Moments | Normal, fake: Features | Moments | Normal) -> float:
    """Frechet distance of I3D's logits (Unterthiner et al. 2018). Raises ValueError for fewer than two vectors."""
    return fid(real, fake)


def kid(real: Features, fake: Features, subsets: int = SUBSETS, size: int = SUBSET_SIZE, seed: int = 0) -> float:
    """Kernel distance of Inception features times 100 (Binkowski et al. 2018): mean over `subsets` of `size` vectors a
    side, drawn without replacement; of all at once where neither side has more.

    Raises ValueError for fewer than two vectors.
    """
    if max(len(real), len(fake)) <= size:
        return 100 * kernel_distance(real, fake)
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(subsets):
        x, y = (part[random.choice(len(part), min(size, len(part)), replace=False)] for part in (real, fake))
        drawn.append(kernel_distance(x, y))
    return 100 * float(np.mean(drawn))


def of_halves(features: Sequence[Features], distance: Callable[[Features, Features], float] = fid) -> float | None:
    """`distance` between two halves, drawn at random, of features given by video: as near as sets of that size come.

    None for fewer than four videos.
    """
    parts = halves(features)
    return distance(*map(np.concatenate, parts)) if parts else None


def halves(features: Sequence[Features]) -> tuple[list[Features], list[Features]] | None:
    """The halves of `of_halves`."""
    if len(features) < 4:
        return None
    order = np.random.default_rng(0).permutation(len(features))
    return [features[i] for i in order[::2]], [features[i] for i in order[1::2]]


@dataclass(frozen=True)
class Spread:
    """Standard error of a distance, and how many resamples it comes from."""

    error: float
    resamples: int


def bootstrap_frechet(
    real: Sequence[Features] | Normal, fake: Sequence[Features], seed: int = 0, paired: bool = False
) -> Spread | None:
    """Of `fid` or `fvd` between features given by video, drawing whole videos of both sides; of a `Normal`, which
    knows no videos, the fixed other side. Where `paired`, video i of one side is made from the start frames of video i
    of the other, and both are drawn together.

    None where a side has fewer than three videos. Resampled sets repeat videos, so that their distances are too large
    by about as much as small sets' are: only their spread is used.
    """
    drawn = [fake] if isinstance(real, Normal) else [real, fake]
    fixed = [(real.mean, real.factor)] if isinstance(real, Normal) else []
    whole = [np.concatenate(side).astype(np.float64) for side in drawn]
    video = [np.repeat(np.arange(len(side)), [len(part) for part in side]) for side in drawn]

    if not fixed and all(len(x) <= x.shape[1] for x in whole):
        between = weighted_distance(*whole)
    else:

        def between(*weights: np.ndarray) -> float:
            first, second = fixed + [weighted_factor(x, w) for x, w in zip(whole, weights, strict=True)]
            return between_factors(*first, *second)

    def distance(counts: list[np.ndarray]) -> float:
        return between(*(count[v] for v, count in zip(video, counts, strict=True)))

    rows = min(*(len(factor) for _, factor in fixed), *(min(x.shape) for x in whole), LARGE + 1)
    return _bootstrap(
        distance, [len(side) for side in drawn], RESAMPLES if rows <= LARGE else RESAMPLES_OF_LARGE, seed, paired
    )


def bootstrap_kernel(
    real: Sequence[Features], fake: Sequence[Features], seed: int = 0, paired: bool = False
) -> Spread | None:
    """Of `kid`, as `bootstrap_frechet`."""
    blocks = [kernel_blocks(real, real), kernel_blocks(fake, fake), kernel_blocks(real, fake)]
    sizes = [np.array([len(part) for part in side], np.float64) for side in (real, fake)]

    def distance(counts: list[np.ndarray]) -> float:
        within = []
        for (sums, diagonal), count, size in zip(blocks, counts, sizes, strict=False):
            n = count @ size
            within.append((count @ sums @ count - count @ diagonal) / (n * (n - 1)))
        across = counts[0] @ blocks[2][0] @ counts[1] / ((counts[0] @ sizes[0]) * (counts[1] @ sizes[1]))
        return 100 * float(sum(within) - 2 * across)

    return _bootstrap(distance, [len(real), len(fake)], RESAMPLES, seed, paired)


def _bootstrap(
    distance: Callable[[list[np.ndarray]], float], videos: list[int], resamples: int, seed: int, paired: bool
) -> Spread | None:
    if min(videos) < 3:
        return None
    random = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        counts = [random.multinomial(n, np.full(n, 1 / n)).astype(np.float64) for n in videos[: 1 if paired else None]]
        counts *= len(videos) // len(counts)
        if min(np.count_nonzero(count) for count in counts) > 1:
            found.append(distance(counts))
    return Spread(float(np.std(found, ddof=1)), resamples)
