"""Frechet and kernel distance and windows, against scipy, closed forms and loops."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax.metrics.distances import bootstrap_frechet, bootstrap_kernel, fid, fvd, kid
from gid_jax.metrics.frechet import (
    Moments,
    between_factors,
    feature_statistics,
    frechet_distance,
    weighted_distance,
    weighted_factor,
)
from gid_jax.metrics.kernel import kernel_blocks, kernel_distance
from gid_jax.metrics.windows import sliding_windows


def random_covariance(rng, dimensions, rank):
    root = rng.normal(size=(dimensions, rank))
    return root @ root.T / rank


def test_frechet_is_scipys_matrix_square_root():
    rng = np.random.default_rng(0)
    cov1, cov2 = random_covariance(rng, 12, 40), random_covariance(rng, 12, 20)
    mean1, mean2 = rng.normal(size=(2, 12))
    product = scipy.linalg.sqrtm(cov1 @ cov2).real
    expected = np.sum((mean1 - mean2) ** 2) + np.trace(cov1 + cov2 - 2 * product)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), dimensions=st.integers(1, 9))
def test_frechet_of_commuting_covariances_has_a_closed_form(seed, dimensions):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    a, b = rng.uniform(0, 4, (2, dimensions))
    mean1, mean2 = rng.normal(size=(2, dimensions))
    expected = np.sum((mean1 - mean2) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    got = frechet_distance(mean1, basis * a @ basis.T, mean2, basis * b @ basis.T)
    assert got == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_frechet_of_equal_statistics_is_zero_and_it_is_symmetric():
    rng = np.random.default_rng(0)
    mean, cov = feature_statistics(rng.normal(size=(20, 64)))  # singular: fewer samples than dimensions
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-6)
    other_mean, other_cov = feature_statistics(rng.normal(size=(20, 64)) * 2 + 1)
    forward = frechet_distance(mean, cov, other_mean, other_cov)
    assert forward == pytest.approx(frechet_distance(other_mean, other_cov, mean, cov), abs=1e-6)
    assert forward > 1


def test_statistics_are_numpys_and_bad_values_raise():
    features = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    mean, cov = feature_statistics(features)
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-10)
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(mean * np.nan, cov, mean, cov)
    with pytest.raises(ValueError, match="two"):
        feature_statistics(features[:1])


def test_kernel_distance_is_the_loop():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(5, 4)) + 0.5

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    within_x = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)
    with pytest.raises(ValueError, match="two"):
        kernel_distance(x[:1], y)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(2)
    same = [kernel_distance(rng.normal(size=(20, 6)), rng.normal(size=(20, 6))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300)
    assert min(same) < 0


def test_kernel_distance_in_blocks_equals_one_block(monkeypatch):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(31, 3))
    whole = kernel_distance(x, y)
    monkeypatch.setattr("gid_jax.metrics.kernel.ROWS", 7)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 20), size=st.integers(1, 20), stride=st.integers(1, 7))
def test_windows_are_the_slices(frames, size, stride):
    clip = np.arange(frames * 6).reshape(frames, 2, 3)
    expected = [clip[i : i + size] for i in range(0, frames - size + 1, stride)]
    if not expected:
        with pytest.raises(ValueError, match="window"):
            sliding_windows(clip, size, stride)
        return
    np.testing.assert_array_equal(sliding_windows(clip, size, stride), expected)


def samples(n, d, seed, shift=0.0):
    """Features as networks give them: not negative, correlated, of very different sizes."""
    random = np.random.default_rng(seed)
    return np.maximum(random.normal(shift, 1, (n, d)) @ (np.random.default_rng(9).normal(size=(d, d)) / d), 0) ** 2


@pytest.mark.parametrize(("n", "d"), [(300, 48), (30, 48)])
def test_fid_is_scipys_and_that_of_parts_is_that_of_the_whole(n, d):
    real, fake = samples(n, d, 0), samples(n + 7, d, 1, 0.3)
    (mean1, cov1), (mean2, cov2) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (real, fake))
    roots = scipy.linalg.svdvals((real - mean1) @ (fake - mean2).T) / np.sqrt((n - 1) * (n + 6))
    expected = np.sum((mean1 - mean2) ** 2) + np.trace(cov1 + cov2) - 2 * roots.sum()
    whole = fid(real, fake)
    assert whole == pytest.approx(expected, rel=1e-9) and whole == fvd(real, fake)
    if n > d:
        root = scipy.linalg.sqrtm(cov1 @ cov2).real
        assert whole == pytest.approx(np.sum((mean1 - mean2) ** 2) + np.trace(cov1 + cov2 - 2 * root), rel=1e-6)
    four = sum((Moments.of(part) for part in np.array_split(real, 4)[1:]), Moments.of(np.array_split(real, 4)[0]))
    streamed = Moments.of_parts(fake[i : i + 3] for i in range(0, len(fake), 3))
    assert four.count == n and fid(four, streamed) == pytest.approx(whole, rel=1e-9)


@pytest.mark.slow
def test_fid_is_scipys_at_its_real_size():
    real, fake = samples(4096, 2048, 0), samples(4096, 2048, 1, 0.1)
    (mean1, cov1), (mean2, cov2) = (feature_statistics(x) for x in (real, fake))
    root = scipy.linalg.sqrtm(cov1 @ cov2).real
    expected = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [20, 300])
def test_a_set_is_nowhere_from_itself(n):
    real = samples(n, 64, 0)
    trace = np.trace(np.cov(real, rowvar=False))
    assert 0 <= fid(real, real[::-1]) < 1e-9 * trace
    assert fid(real[: n // 2], real[n // 2 :]) > 1e-3 * trace


def test_kid_draws_subsets_only_where_there_are_more():
    real, fake = samples(60, 5, 0), samples(50, 5, 1, 3.0)
    assert kid(real, fake) == pytest.approx(100 * kernel_distance(real, fake), rel=1e-12)
    drawn = kid(real, fake, subsets=400, size=25)
    assert drawn == kid(real, fake, subsets=400, size=25)
    assert drawn == pytest.approx(kid(real, fake), rel=0.1) and drawn != kid(real, fake)


def test_kernel_sums_of_groups_add_up_to_the_distance():
    x = [samples(n, 6, n) for n in (3, 5, 4)]
    y = [samples(n, 6, n, 0.5) for n in (2, 7)]
    (within_x, diagonal_x), (within_y, diagonal_y), (across, _) = (kernel_blocks(*p) for p in ((x, x), (y, y), (x, y)))
    assert across.shape == (3, 2)
    expected = (within_x.sum() - diagonal_x.sum()) / 132 + (within_y.sum() - diagonal_y.sum()) / 72 - across.sum() / 54
    assert kernel_distance(np.concatenate(x), np.concatenate(y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [5, 40])
def test_weights_of_vectors_are_their_repetitions(n):
    features, weights = samples(n, 12, 0), np.random.default_rng(0).integers(0, 3, n).astype(float)
    repeated = np.repeat(features, weights.astype(int), axis=0)
    mean, factor = weighted_factor(features, weights)
    expected_mean, expected = feature_statistics(repeated)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    np.testing.assert_allclose(factor.T @ factor, expected, rtol=1e-9, atol=1e-12)
    assert len(factor) <= 12
    assert between_factors(mean, factor, mean, factor) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("estimate", "bootstrap"), [(fid, bootstrap_frechet), (kid, bootstrap_kernel)])
def test_the_bootstraps_error_is_that_of_drawing_the_videos_anew(estimate, bootstrap):
    """Videos differ among each other more than their frames do, so that frames alone would claim too much."""

    def videos(seed, shift):
        random = np.random.default_rng(seed)
        return [shift + random.normal(size=6) + 0.1 * random.normal(size=(4, 6)) for _ in range(30)]

    anew = [estimate(*(np.concatenate(videos(2 * i + j, j)) for j in (0, 1))) for i in range(150)]
    told = [bootstrap(videos(1000 + i, 0.0), videos(2000 + i, 1.0), seed=i).error for i in range(6)]
    assert 0.7 * np.std(anew) < np.mean(told) < 1.4 * np.std(anew)
    assert bootstrap(videos(0, 0.0)[:2], videos(1, 1.0)) is None


def test_weighted_distance_is_that_of_the_factors():
    random = np.random.default_rng(4)
    x, y = random.normal(size=(9, 30)) + 1, 2 * random.normal(size=(7, 30))
    weights = random.integers(0, 3, 9).astype(float), random.integers(1, 4, 7).astype(float)
    expected = between_factors(*weighted_factor(x, weights[0]), *weighted_factor(y, weights[1]))
    assert weighted_distance(x, y)(*weights) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("bootstrap", [bootstrap_frechet, bootstrap_kernel])
def test_pairs_are_drawn_together(bootstrap):
    """Of a set and the same set moved by a constant nothing is uncertain but the little that a kernel sees."""
    random = np.random.default_rng(5)
    real = [random.normal(size=(4, 6)) * 3 + random.normal(size=6) * 5 for _ in range(12)]
    fake = [part + 0.5 for part in real]
    apart, together = bootstrap(real, fake), bootstrap(real, fake, paired=True)
    assert together.error < apart.error / 5
