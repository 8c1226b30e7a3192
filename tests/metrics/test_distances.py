"""Frechet and kernel distance and windows, against scipy, closed forms and loops."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax.metrics.frechet import feature_statistics, frechet_distance
from gid_jax.metrics.kernel import kernel_distance
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
    assert forward == pytest.approx(frechet_distance(other_mean, other_cov, mean, cov), rel=1e-9)
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
