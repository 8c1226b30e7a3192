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


BOUND = 2 ** (1 / 256) - 1  # a bin's width: within it, the rank is all that is known

HARD = {
    "heavy tails": lambda g, n: g.standard_cauchy(n) * 1e-2,
    "spike at zero": lambda g, n: np.where(g.random(n) < 0.9, 0.0, g.normal(size=n)),
    "tiny": lambda g, n: 1e-5 * g.lognormal(0, 2, n),
    "huge": lambda g, n: 1e5 * g.lognormal(0, 1, n),
    "two values": lambda g, n: np.where(g.random(n) < 0.97, 0.3, 40.0),
    "constant": lambda g, n: np.full(n, 0.1234),
    "eight decades": lambda g, n: 10 ** g.uniform(-4, 4, n),
    "smooth, one decade": lambda g, n: g.uniform(1, 10, n),
}


@pytest.mark.parametrize("distribution", HARD)
def test_hard_distributions_in_any_order_of_merging(distribution):
    """Against numpy's percentile by the same definition, without interpolation between samples."""
    generator = np.random.default_rng(list(HARD).index(distribution))
    moduli_ = HARD[distribution](generator, (30, 2, 16, 24, 2)).astype(np.float32)
    angle = generator.uniform(0, 2 * np.pi, moduli_.shape)
    spectra = np.concatenate([moduli_ * np.cos(angle), moduli_ * np.sin(angle)], -1).astype(np.float32)
    combine, results = CombineSpectra(2), []
    for _ in range(3):
        parts = [combine.create_accumulator() for _ in range(generator.integers(1, 8))]
        for spectrum in generator.permutation(spectra):
            combine.add_input(parts[generator.integers(len(parts))], spectrum)
        while len(parts) > 1:
            some = generator.permutation(len(parts))[: generator.integers(2, len(parts) + 1)]
            merged = combine.merge_accumulators([parts[i] for i in some])
            parts = [part for i, part in enumerate(parts) if i not in some] + [merged]
        results.append(combine.extract_output(parts[0]))
    exact_moduli = np.hypot(*np.split(spectra.astype(np.float64), 2, -1)).transpose(1, 0, 2, 3, 4).reshape(2, -1)
    for percent in (50, 90, 95, 99):
        found = [result.percentile(percent) for result in results]
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
        exact = np.percentile(exact_moduli, percent, axis=1, method="inverted_cdf")
        assert np.all(np.abs(found[0] - exact) <= BOUND * (exact + 2**-20) + 2**-20), (
            distribution,
            percent,
            found[0],
            exact,
        )
    for result in results:
        np.testing.assert_allclose(result.mean_power(), (exact_moduli**2).mean(axis=1), rtol=1e-12)


def test_float64_sums_do_not_drift():
    """A million small squares beside a large one: float32 would lose them."""
    spectrum = np.full((1, 1000, 1000, 4), 1e-3, np.float32)
    sums = SpectrumSums.zero(1).add(np.full((1, 1, 1, 4), 1e3, np.float32)).add(spectrum)
    exact = (2e6 * np.float64(np.float32(1e-3)) ** 2 * 2 + 2 * 2e6) / (2e6 + 2)
    np.testing.assert_allclose(sums.mean_power(), exact, rtol=1e-12)
