"""Rank histograms against ranks counted one by one, and the chi-square against scipy's."""

import numpy as np
import pytest
from scipy import stats

from gid_jax.metrics.calibration import chi_square, rank_histogram, ranks


def test_ranks_count_the_members_below():
    values, ensembles = np.array([0.5, -1.0, 9.0]), np.array([[0.0, 1.0, 0.2], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(ranks(values, ensembles), [2, 0, 3])


def test_the_rank_among_equals_is_drawn_evenly():
    found = ranks(np.zeros(4000), np.zeros((4000, 3)))
    np.testing.assert_allclose(np.bincount(found) / 4000, 0.25, atol=0.03)


def test_ranks_of_the_same_distribution_are_even_and_of_a_wider_one_lie_at_the_ends():
    random = np.random.default_rng(2)
    ensembles = random.normal(size=(600, 16))
    same, wider = (
        chi_square(*rank_histogram(ranks(spread * random.normal(size=600), ensembles), 16, 5)) for spread in (1, 2)
    )
    assert same.probability > 0.05 and wider.probability < 1e-6
    counts, expected = rank_histogram(ranks(2 * random.normal(size=600), ensembles), 16, 5)
    assert counts[0] > 1.3 * expected[0] and counts[-1] > 1.3 * expected[-1]


def test_groups_of_unequal_size_expect_as_many():
    counts, expected = rank_histogram(np.arange(17), 16, 5)
    np.testing.assert_array_equal(counts, [4, 4, 3, 3, 3])
    np.testing.assert_array_equal(counts, expected)
    with pytest.raises(ValueError, match="out of range"):
        rank_histogram(np.array([17]), 16, 5)
    with pytest.raises(ValueError, match="too many bins"):
        rank_histogram(np.array([1]), 3, 5)


@pytest.mark.parametrize("bins", [2, 3, 4, 5, 8, 17])
def test_chi_square_is_scipys(bins):
    random = np.random.default_rng(bins)
    for spread in (1, 3):
        counts = random.poisson(20, bins) + spread * random.integers(0, 5, bins)
        expected = np.full(bins, counts.sum() / bins)
        ours, theirs = chi_square(counts, expected), stats.chisquare(counts, expected)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
        assert ours.probability == pytest.approx(theirs.pvalue, rel=1e-10) and ours.freedom == bins - 1
