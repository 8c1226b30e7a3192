"""Streaming percentiles against numpy's exact ones."""

import numpy as np
import pytest

from data_pipeline.statistics import CombineSpectra, SpectrumSums


def draw(seed: int, count: int = 6) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    scale = 80 * np.exp(-np.arange(5) / 2)[:, None, None, None]
    return [(scale * generator.standard_t(5, (5, 20, 32, 4))).astype(np.float32) for _ in range(count)]


def moduli(spectra: list[np.ndarray]) -> np.ndarray:
    """[k, samples]"""
    stacked = np.stack(spectra, axis=1).astype(np.float64)
    return np.hypot(stacked[..., :2], stacked[..., 2:]).reshape(5, -1)


@pytest.mark.parametrize("percent", [5, 50, 95])
def test_percentiles_equal_numpy_to_half_a_percent(percent):
    spectra = draw(0)
    sums = SpectrumSums.zero(5)
    for spectrum in spectra:
        sums.add(spectrum)
    exact = np.percentile(moduli(spectra), percent, axis=1)
    np.testing.assert_allclose(sums.percentile(percent), exact, rtol=0.004)
    np.testing.assert_allclose(sums.mean_power(), (moduli(spectra) ** 2).mean(axis=1), rtol=1e-12)


def test_merging_parts_equals_one_pass():
    spectra = draw(1)
    combine = CombineSpectra(5)
    parts = [combine.create_accumulator() for _ in range(3)]
    for i, spectrum in enumerate(spectra):
        combine.add_input(parts[i % 3], spectrum)
    merged = combine.extract_output(combine.merge_accumulators(parts))
    whole = SpectrumSums.zero(5)
    for spectrum in spectra:
        whole.add(spectrum)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.squares, whole.squares, rtol=1e-12)
    assert merged.num_examples == len(spectra)


def test_zero_motion_has_a_finite_percentile():
    sums = SpectrumSums.zero(5).add(np.zeros((5, 4, 4, 4), np.float32))
    assert np.all(sums.percentile(95) < 1e-5) and np.all(np.isfinite(sums.percentile(95)))
