"""Statistics of a data set in one pass: mergeable, so that Beam may spread it over any number of workers."""

import dataclasses

import apache_beam as beam
import numpy as np

_PER_OCTAVE = 256  # bins: each 0.27 % wide
_LOWEST, _HIGHEST = -20, 24  # octaves of a coefficient's modulus in px
_BINS = (_HIGHEST - _LOWEST) * _PER_OCTAVE


@dataclasses.dataclass
class SpectrumSums:
    """Per frequency: a histogram of the modulus of the complex coefficients, x and y pooled, and sums of squares."""

    counts: np.ndarray  # int64 [k, bins], logarithmic
    squares: np.ndarray  # float64 [k]
    num_examples: int = 0

    @classmethod
    def zero(cls, num_frequencies: int) -> "SpectrumSums":
        return cls(np.zeros((num_frequencies, _BINS), np.int64), np.zeros(num_frequencies))

    def add(self, spectrum: np.ndarray) -> "SpectrumSums":
        """Adds an example's S [k, h, w, 4] in place."""
        square = np.asarray(spectrum[..., :2], np.float64) ** 2 + np.asarray(spectrum[..., 2:], np.float64) ** 2
        with np.errstate(divide="ignore"):
            bins = np.floor((0.5 * np.log2(square) - _LOWEST) * _PER_OCTAVE)
        for k, row in enumerate(np.clip(bins, 0, _BINS - 1).astype(np.int64)):
            self.counts[k] += np.bincount(row.ravel(), minlength=_BINS)
        self.squares += square.sum(axis=(1, 2, 3))
        self.num_examples += 1
        return self

    def merge(self, other: "SpectrumSums") -> "SpectrumSums":
        self.counts += other.counts
        self.squares += other.squares
        self.num_examples += other.num_examples
        return self

    def percentile(self, percent: float) -> np.ndarray:
        """Of the modulus at each frequency, float64 [k], to 0.3 %."""
        below = np.cumsum(self.counts, axis=1)
        rank = percent / 100 * below[:, -1:]
        index = np.argmax(below >= rank, axis=1)
        rows = np.arange(len(index))
        within = (rank[:, 0] - below[rows, index] + self.counts[rows, index]) / np.maximum(self.counts[rows, index], 1)
        return 2.0 ** (_LOWEST + (index + within) / _PER_OCTAVE)

    def mean_power(self) -> np.ndarray:
        """Mean of the squared modulus at each frequency, float64 [k]."""
        return self.squares / np.maximum(self.counts.sum(axis=1), 1)


class CombineSpectra(beam.CombineFn):
    """S [k, h, w, 4] of each example -> `SpectrumSums` of all."""

    def __init__(self, num_frequencies: int):
        self._num_frequencies = num_frequencies

    def create_accumulator(self) -> SpectrumSums:
        return SpectrumSums.zero(self._num_frequencies)

    def add_input(self, accumulator: SpectrumSums, spectrum: np.ndarray) -> SpectrumSums:
        return accumulator.add(spectrum)

    def merge_accumulators(self, accumulators: list[SpectrumSums]) -> SpectrumSums:
        total = self.create_accumulator()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def extract_output(self, accumulator: SpectrumSums) -> SpectrumSums:
        return accumulator
