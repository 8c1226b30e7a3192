"""Adaptive normalisation: its formula, its inverse, and that s_k maps to one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax.motion.normalization import denormalize, normalize


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_denormalize_inverts_normalize(seed, magnitude):
    rng = np.random.default_rng(seed)
    spectrum = (magnitude * rng.normal(size=(2, 3, 4, 5, 4))).astype(np.float32)
    scales = rng.uniform(0.1, 50, 3).astype(np.float32)
    back = np.asarray(denormalize(normalize(spectrum, scales), scales))
    np.testing.assert_allclose(back, spectrum, rtol=1e-5, atol=1e-6 * magnitude)


def test_formula_by_frequency():
    scales = np.array([4.0, 9.0], np.float32)
    spectrum = np.stack([np.full((1, 1, 4), -4.0), np.full((1, 1, 4), 36.0)]).astype(np.float32)
    result = np.asarray(normalize(spectrum, scales))
    np.testing.assert_allclose(result[0], -1.0)
    np.testing.assert_allclose(result[1], 2.0)


def test_by_size_each_axis_is_divided_by_its_own():
    spectrum = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 4)).astype(np.float32)
    result = np.asarray(normalize(spectrum, np.full(3, np.nan), "size"))
    np.testing.assert_allclose(result[..., [0, 2]], spectrum[..., [0, 2]] / 5, rtol=1e-6)
    np.testing.assert_allclose(result[..., [1, 3]], spectrum[..., [1, 3]] / 4, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(denormalize(result, np.full(3, np.nan), "size")), spectrum, rtol=1e-6)
