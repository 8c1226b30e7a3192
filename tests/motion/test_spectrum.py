"""Spectra against numpy's FFT and closed forms; resizing and the splatting weight against their definitions."""

import jax
import numpy as np
import pytest

from gid_jax.motion import spectrum as sp


def k_limited_motion(num_frequencies: int, num_frames: int = 150, amplitude: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(num_frames)[:, None, None, None]
    motion = np.zeros((num_frames, 5, 7, 2))
    for k in range(num_frequencies):
        phase = rng.uniform(0, 2 * np.pi, (1, 5, 7, 2))
        motion += amplitude * rng.normal(size=(1, 5, 7, 2)) * np.cos(2 * np.pi * k * t / num_frames + phase)
    return motion


@pytest.mark.parametrize("include_dc", [True, False])
def test_spectrum_is_the_unnormalised_rfft(include_dc):
    motion = np.random.default_rng(1).normal(size=(2, 150, 3, 4, 2)).astype(np.float32)
    expected = np.fft.fft(motion.astype(np.float64), axis=1)
    expected = expected[:, :16] if include_dc else expected[:, 1:17]
    result = np.asarray(sp.to_spectrum(motion, 16, include_dc))
    assert result.shape == (2, 16, 3, 4, 4)
    np.testing.assert_allclose(result[..., :2] + 1j * result[..., 2:], expected, atol=2e-4)


def test_round_trip_of_band_limited_motion():
    motion = k_limited_motion(16)
    back = np.asarray(sp.to_trajectories(sp.to_spectrum(motion.astype(np.float32), 16), 150))
    assert np.abs(back - motion).max() < 1e-4


def test_round_trip_without_dc():
    motion = k_limited_motion(9)
    motion -= motion.mean(axis=0, keepdims=True)
    back = np.asarray(sp.to_trajectories(sp.to_spectrum(motion.astype(np.float32), 8, False), 150, include_dc=False))
    assert np.abs(back - motion).max() < 1e-4


def test_any_real_time_and_the_period():
    motion = k_limited_motion(4)
    spectrum = sp.to_spectrum(motion.astype(np.float32), 4)
    later = np.asarray(sp.at_times(spectrum, np.array([37.0, 37.0 + 150, 37.0 - 150])))
    np.testing.assert_allclose(later[1], later[0], atol=1e-5)
    np.testing.assert_allclose(later[2], later[0], atol=1e-5)
    x = np.asarray(sp.at_times(spectrum, np.array([10.25])))[0, ..., 0]
    complex_spectrum = np.fft.fft(motion, axis=0)[:4, ..., 0]
    expected = complex_spectrum[0].real / 150 + sum(
        2 / 150 * (complex_spectrum[k] * np.exp(2j * np.pi * k * 10.25 / 150)).real for k in (1, 2, 3)
    )
    np.testing.assert_allclose(x, expected, atol=1e-4)


def test_too_many_frequencies_are_refused():
    with pytest.raises(ValueError, match="frames"):
        sp.to_spectrum(np.zeros((20, 2, 2, 2), np.float32), 11)


def test_mean_magnitude_is_the_mean_length():
    motion = k_limited_motion(3)
    weight = np.asarray(sp.mean_magnitude(sp.to_spectrum(motion.astype(np.float32), 3)))
    np.testing.assert_allclose(weight, np.linalg.norm(motion, axis=-1).mean(axis=0), atol=1e-4)


def test_resizing_rescales_displacements():
    motion = np.broadcast_to(np.array([3.0, -2.0], np.float32), (6, 8, 2))
    resized = np.asarray(sp.resize_motion(motion, 18, 16))
    np.testing.assert_allclose(resized, np.broadcast_to([6.0, -6.0], (18, 16, 2)), atol=1e-5)
    spectrum = np.broadcast_to(np.array([1.0, 2.0, 3.0, 4.0], np.float32), (2, 6, 8, 4))
    resized = np.asarray(sp.resize_spectrum(spectrum, 3, 16))
    np.testing.assert_allclose(resized, np.broadcast_to([2.0, 1.0, 6.0, 2.0], (2, 3, 16, 4)), atol=1e-5)


def test_transform_commutes_with_resizing():
    motion = jax.random.normal(jax.random.key(0), (30, 6, 8, 2))
    one = sp.resize_spectrum(sp.to_spectrum(motion, 5), 12, 16)
    other = sp.to_spectrum(sp.resize_motion(motion, 12, 16), 5)
    np.testing.assert_allclose(one, other, atol=1e-4)
