"""Motion metrics, image metrics and intervals, against closed forms and written-out loops."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gid_jax.metrics import image, motion
from gid_jax.metrics.bootstrap import estimate
from gid_jax.motion.spectrum import to_spectrum, to_trajectories


def random_spectrum(seed, shape=(5, 6, 7)):
    return np.random.default_rng(seed).normal(size=(*shape, 4)).astype(np.float32)


def test_amplitude_of_a_pure_oscillation():
    times = np.arange(150)
    swing = np.zeros((150, 4, 5, 2), np.float32)
    swing[..., 0] = (3.0 * np.cos(2 * np.pi * 2 * times / 150))[:, None, None]
    amplitude = motion.band_amplitude(to_spectrum(swing, 4))
    np.testing.assert_allclose(amplitude, [0, 0, 3.0 * 75, 0], atol=1e-3)


def test_amplitude_error_in_decibels():
    true = random_spectrum(0)
    gains = np.array([1, 2, 0.5, 10, 1], np.float32)
    error = motion.amplitude_error_db(true * gains[:, None, None, None], true)
    np.testing.assert_allclose(error, 20 * np.log10(gains), atol=1e-5)
    assert np.isfinite(motion.amplitude_error_db(true, np.zeros_like(true))).all()


def test_map_correlation_is_numpys():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 3, 8, 9))
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(motion.map_correlation(a, b), expected, rtol=1e-10)
    np.testing.assert_allclose(motion.map_correlation(a, 5 * a + 2), 1)
    np.testing.assert_allclose(motion.map_correlation(a, np.ones_like(a)), 0)


def test_phase_coherence_of_one_gust_is_one_at_any_time():
    rng = np.random.default_rng(0)
    response = rng.uniform(0.5, 2, (6, 5, 7, 2))  # amplitudes differ from pixel to pixel and band to band
    for delay in (0.0, 3.7):
        wave = response * np.exp(-2j * np.pi * np.arange(6) * delay / 150)[:, None, None, None]
        spectrum = np.concatenate([wave.real, wave.imag], axis=-1)
        assert motion.phase_coherence(spectrum) == pytest.approx(1, abs=1e-9)


def test_phase_coherence_of_unrelated_slices_falls_and_matches_the_loop():
    spectrum = random_spectrum(1, (4, 20, 20))
    waves = spectrum[..., :2] + 1j * spectrum[..., 2:]
    terms = []
    for k in (1, 2):
        products = [
            waves[k + 1, i, j, c] * np.conj(waves[k, i, j, c]) for i in range(20) for j in range(20) for c in (0, 1)
        ]
        terms.append(abs(sum(products)) / sum(abs(product) for product in products))
    assert motion.phase_coherence(spectrum) == pytest.approx(np.mean(terms), rel=1e-5)
    assert np.mean(terms) < 0.2
    with pytest.raises(ValueError, match="3"):
        motion.phase_coherence(spectrum[:2])


def test_wrap_jump():
    steady = np.zeros((150, 2, 3, 2))
    steady[..., 1] = np.arange(150)[:, None, None]
    assert motion.wrap_jump(steady) == pytest.approx(149)
    loop = to_trajectories(random_spectrum(2), 150)
    assert 0 < motion.wrap_jump(np.stack([loop, loop]))[0] < 3
    assert motion.wrap_jump(np.zeros((4, 2, 2, 2))) == 0


def test_psnr_of_known_noise():
    picture = np.full((2, 12, 13, 3), 0.5)
    np.testing.assert_allclose(image.psnr(picture + 0.1, picture), 20)
    assert np.isinf(image.psnr(picture, picture)).all()


def test_ssim_is_the_definition_written_with_scipy():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(24, 19, 3))
    y = np.clip(x + rng.normal(scale=0.1, size=x.shape), 0, 1)

    def smooth(a):  # truncate 3.5 sigma = 5 pixels on each side
        return gaussian_filter(a, 1.5, truncate=3.5)[5:-5, 5:-5]

    values = []
    for c in range(3):
        a, b = x[..., c], y[..., c]
        ma, mb = smooth(a), smooth(b)
        va, vb, cov = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
        ratio = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
        values.append(ratio.mean())
    assert image.ssim(x, y) == pytest.approx(np.mean(values), rel=1e-9)
    assert image.ssim(x, x) == pytest.approx(1)
    with pytest.raises(ValueError, match="11"):
        image.ssim(x[:10], y[:10])


def test_interval_of_a_normal_mean_and_its_coverage():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        values = rng.normal(3.0, 2.0, 40)
        result = estimate(values, range(40), seed)
        covered += result.low <= 3.0 <= result.high
    assert 86 <= covered <= 100
    assert result.mean == pytest.approx(values.mean()) and (result.n, result.groups) == (40, 40)
    assert result.high - result.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.15)


def test_interval_counts_videos_not_frames():
    video_means = np.random.default_rng(1).normal(size=10)
    once = estimate(video_means, range(10))
    often = estimate(np.repeat(video_means, 50), np.repeat(range(10), 50))
    assert often.low == pytest.approx(once.low) and often.high == pytest.approx(once.high)
    assert estimate([1.0, 2.0], ["a", "a"]).low is None
    with pytest.raises(ValueError, match="finite"):
        estimate([np.nan], ["a"])
