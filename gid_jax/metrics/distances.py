"""FID, KID and FVD between features of real and of made pictures or videos, and how sure they are.

Features are [n, d] arrays; the Frechet distances take `Moments` in their place, which parts of a set add up to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from gid_jax.metrics.frechet import Moments, between_factors, frechet_distance, weighted_factor
from gid_jax.metrics.kernel import kernel_blocks, kernel_distance

Features = Float[np.ndarray | jax.Array, "_ d"]
SUBSETS, SUBSET_SIZE = 100, 1000
RESAMPLES, RESAMPLES_OF_LARGE, LARGE = 100, 20, 512
"""Bootstrap resamples; fewer where both sides have more than `LARGE` vectors and dimensions, and each takes seconds."""


def fid(real: Features | Moments, fake: Features | Moments) -> float:
    """Frechet distance of Inception features (Heusel et al. 2017). Raises ValueError for fewer than two vectors."""
    first, second = (part if isinstance(part, Moments) else Moments.of(part) for part in (real, fake))
    return frechet_distance(first.mean, first.covariance, second.mean, second.covariance)


def fvd(real: Features | Moments, fake: Features | Moments) -> float:
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


@dataclass(frozen=True)
class Spread:
    """Standard error of a distance, and how many resamples it comes from."""

    error: float
    resamples: int


def bootstrap_frechet(real: Sequence[Features], fake: Sequence[Features], seed: int = 0) -> Spread | None:
    """Of `fid` or `fvd` between features given by video, drawing whole videos of both sides.

    None where a side has fewer than three videos. Resampled sets repeat videos, so that their distances are too large
    by about as much as small sets' are: only their spread is used.
    """
    rows = min(sum(map(len, real)), sum(map(len, fake)), real[0].shape[1])
    whole = [
        (np.concatenate(side).astype(np.float64), np.repeat(np.arange(len(side)), list(map(len, side))))
        for side in (real, fake)
    ]

    def distance(counts: list[np.ndarray]) -> float:
        parts = [weighted_factor(x, count[video]) for (x, video), count in zip(whole, counts, strict=True)]
        return between_factors(*parts[0], *parts[1])

    return _bootstrap(distance, [len(real), len(fake)], RESAMPLES if rows <= LARGE else RESAMPLES_OF_LARGE, seed)


def bootstrap_kernel(real: Sequence[Features], fake: Sequence[Features], seed: int = 0) -> Spread | None:
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

    return _bootstrap(distance, [len(real), len(fake)], RESAMPLES, seed)


def _bootstrap(
    distance: Callable[[list[np.ndarray]], float], videos: list[int], resamples: int, seed: int
) -> Spread | None:
    if min(videos) < 3:
        return None
    random = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        counts = [random.multinomial(n, np.full(n, 1 / n)).astype(np.float64) for n in videos]
        if min(np.count_nonzero(count) for count in counts) > 1:
            found.append(distance(counts))
    return Spread(float(np.std(found, ddof=1)), resamples)
