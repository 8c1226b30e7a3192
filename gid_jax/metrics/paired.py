"""Which of several made sets is nearer to the real one: their distances over common bootstrap draws.

Sets that are made from the same start frames share most of what a small sample happens to be: the difference of their
distances is surer than either.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from gid_jax.metrics.distances import RESAMPLES, Features
from gid_jax.metrics.frechet import between_factors, weighted_factor
from gid_jax.metrics.kernel import kernel_blocks

Distance = Callable[[Float[np.ndarray, " videos"]], float]


def paired_resamples(
    real: Sequence[Features],
    made: Sequence[Sequence[Features]],
    *,
    kernel: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, "resamples sets"]:
    """Frechet distances (or `kernel`: KID's, times 100) of each set to `real`, over draws of whole videos.

    Features are given by video, and video i of all sets and of `real` belongs together: a draw takes it everywhere or
    nowhere. The spread of a column less another is the standard error of their difference; the values themselves are
    too large by about as much as small sets' are. Raises ValueError for sets of different numbers of videos, or fewer
    than three.
    """
    videos = len(real)
    if videos < 3 or any(len(side) != videos for side in made):
        raise ValueError(f"paired sets need three videos or more, as many in each; got {[videos, *map(len, made)]}")
    random = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    while len(draws) < resamples:
        counts = random.multinomial(videos, np.full(videos, 1 / videos)).astype(np.float64)
        if np.count_nonzero(counts) > 1:
            draws.append(counts)
    distances = [(_kernel if kernel else _frechet)(real, side) for side in made]
    return np.array([[distance(counts) for distance in distances] for counts in draws])


def _frechet(real: Sequence[Features], made: Sequence[Features]) -> Distance:
    whole = [np.concatenate(side).astype(np.float64) for side in (real, made)]
    video = [np.repeat(np.arange(len(side)), [len(part) for part in side]) for side in (real, made)]

    def distance(counts: np.ndarray) -> float:
        first, second = (weighted_factor(x, counts[v]) for x, v in zip(whole, video, strict=True))
        return between_factors(*first, *second)

    return distance


def _kernel(real: Sequence[Features], made: Sequence[Features]) -> Distance:
    (true, true_same), (fake, fake_same) = kernel_blocks(real, real), kernel_blocks(made, made)
    across, _ = kernel_blocks(real, made)
    sizes = [np.array([len(part) for part in side], np.float64) for side in (real, made)]

    def distance(counts: np.ndarray) -> float:
        n, m = (counts @ size for size in sizes)
        within = (counts @ true @ counts - counts @ true_same) / (n * (n - 1))
        within += (counts @ fake @ counts - counts @ fake_same) / (m * (m - 1))
        return 100 * float(within - 2 * (counts @ across @ counts) / (n * m))

    return distance
