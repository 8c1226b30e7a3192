"""Paired draws, against sets written out and against distances of independent draws."""

import numpy as np
import pytest

from gid_jax.metrics import distances
from gid_jax.metrics.paired import paired_resamples

RANDOM = np.random.default_rng(5)
REAL = [RANDOM.normal(size=(n, 6)) + RANDOM.normal(size=6) for n in (3, 2, 4, 3, 2, 5, 3, 4)]
NEAR = [part + 0.1 * RANDOM.normal(size=part.shape) for part in REAL]
FAR = [part + 1.0 for part in NEAR]


@pytest.mark.parametrize("kernel", [False, True])
def test_a_draw_is_the_distance_of_the_drawn_videos(kernel):
    drawn = paired_resamples(REAL, [NEAR, FAR], kernel=kernel, resamples=4, seed=3)
    random = np.random.default_rng(3)
    for row in drawn:
        counts = random.multinomial(len(REAL), np.full(len(REAL), 1 / len(REAL)))
        sets = [np.concatenate([side[i] for i, n in enumerate(counts) for _ in range(n)]) for side in (REAL, NEAR, FAR)]
        distance = distances.kid if kernel else distances.fid
        np.testing.assert_allclose(row, [distance(sets[0], sets[1]), distance(sets[0], sets[2])], rtol=1e-7, atol=1e-9)


def test_what_sets_share_does_not_blur_their_difference():
    drawn = paired_resamples(REAL, [NEAR, FAR], resamples=60)
    paired = (drawn[:, 1] - drawn[:, 0]).std()
    alone = [distances.bootstrap_frechet(REAL, side).error for side in (NEAR, FAR)]
    assert (drawn[:, 1] > drawn[:, 0]).all() and paired < 0.5 * np.hypot(*alone)


def test_sets_that_are_not_pairs_are_refused():
    with pytest.raises(ValueError, match="as many in each"):
        paired_resamples(REAL, [NEAR, FAR[:-1]])
    with pytest.raises(ValueError, match="three videos or more"):
        paired_resamples(REAL[:2], [NEAR[:2]])
