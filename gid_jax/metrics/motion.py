"""How near predicted motion is to true motion, and how natural it is: figures that need no feature network.

Spectra [*b, k, h, w, 4] = (Re x, Re y, Im x, Im y) in px, k = 0 the mean (DC); motion maps [*b, h, w] in px.
Everything is computed in float64.
"""

import jax
import numpy as np
from jaxtyping import Float

Spectrum = Float[np.ndarray | jax.Array, "*b k h w 4"]
MotionMap = Float[np.ndarray | jax.Array, "*b h w"]


def band_amplitude(spectrum: Spectrum) -> Float[np.ndarray, "*b k"]:
    """Root mean square over pixels of |S[k]|, the length of the complex vector (S_x, S_y), px."""
    power = np.sum(np.asarray(spectrum, np.float64) ** 2, axis=-1)
    return np.sqrt(power.mean(axis=(-2, -1)))


def decibels(predicted: np.ndarray, true: np.ndarray, floor: float = 1e-3) -> np.ndarray:
    """20 log10 (predicted / true) of amplitudes: 0 is right, +6 twice too strong. Less than `floor` px counts as
    `floor`."""
    return 20 * np.log10(np.maximum(predicted, floor) / np.maximum(true, floor))


def amplitude_error_db(predicted: Spectrum, true: Spectrum) -> Float[np.ndarray, "*b k"]:
    """The error of each band's amplitude in `decibels`."""
    return decibels(band_amplitude(predicted), band_amplitude(true))


def map_correlation(predicted: MotionMap, true: MotionMap) -> Float[np.ndarray, "*b"]:
    """Pearson correlation over pixels of two motion maps (mean over t of |F_t|); 0 where either map is constant."""
    a, b = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    a = a - a.mean(axis=(-2, -1), keepdims=True)
    b = b - b.mean(axis=(-2, -1), keepdims=True)
    product = np.sum(a * b, axis=(-2, -1))
    norm = np.sqrt(np.sum(a * a, axis=(-2, -1)) * np.sum(b * b, axis=(-2, -1)))
    return np.asarray(np.where(norm > 1e-12, product / np.maximum(norm, 1e-12), 0.0))


def phase_coherence(spectrum: Spectrum) -> Float[np.ndarray, "*b"]:
    """How far neighbouring frequencies keep one phase step over the whole picture, 0 to 1, mean over k = 1 ... K-2.

        C_k = |sum_p S[k+1, p] conj(S[k, p])| / sum_p |S[k+1, p]| |S[k, p]|,     p over pixels and x, y.

    A gust sets everything off at one time, so the phase step is the same everywhere: 1, whatever the time. Slices
    that know nothing of each other have unrelated steps. Compare with the value of the true motion. Raises ValueError
    for fewer than 3 frequencies.
    """
    spectrum = np.asarray(spectrum, np.float64)
    if spectrum.shape[-4] < 3:
        raise ValueError(f"phase coherence needs 3 frequencies or more, got {spectrum.shape[-4]}")
    waves = (spectrum[..., :2] + 1j * spectrum[..., 2:])[..., 1:, :, :, :]
    upper, lower = waves[..., 1:, :, :, :], waves[..., :-1, :, :, :]
    agreement = np.abs(np.sum(upper * lower.conj(), axis=(-3, -2, -1)))
    bound = np.sum(np.abs(upper) * np.abs(lower), axis=(-3, -2, -1))
    return np.asarray(np.mean(agreement / np.maximum(bound, 1e-12), axis=-1))


def wrap_jump(trajectories: Float[np.ndarray | jax.Array, "*b t h w 2"]) -> Float[np.ndarray, "*b"]:
    """Mean |F(0) - F(P-1)| over mean |F(t+1) - F(t)|, of one whole period.

    About 1 for a seamless loop, more for a visible jump, 0 where nothing moves.
    """
    trajectories = np.asarray(trajectories, np.float64)
    jump = np.linalg.norm(trajectories[..., 0, :, :, :] - trajectories[..., -1, :, :, :], axis=-1).mean(axis=(-2, -1))
    steps = np.linalg.norm(np.diff(trajectories, axis=-4), axis=-1).mean(axis=(-3, -2, -1))
    return np.asarray(np.where(steps > 1e-12, jump / np.maximum(steps, 1e-12), 0.0))
