"""Trajectories of pixels and their spectral volumes (PAPER.md, eq. 1 and 2).

A trajectory F[t, y, x] = (dx, dy) says where pixel (x, y) of the start frame has moved at frame t, in pixels of the
array's own resolution; F[0] = 0. Its spectrum is the unnormalised discrete Fourier transform over the T frames,

    S[k] = sum_t F[t] exp(-2 pi i k t / T),        k = 0 ... K-1,  k / T * fps Hz,

packed as four real numbers (Re x, Re y, Im x, Im y).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

PERIOD = 150  # frames of a clip: 5 s at 30 fps


def _bins(num_frequencies: int, include_dc: bool) -> np.ndarray:
    return np.arange(num_frequencies) + (0 if include_dc else 1)


def to_spectrum(
    trajectories: Float[ArrayLike, "*b t h w 2"], num_frequencies: int, include_dc: bool = True
) -> Float[Array, "*b k h w 4"]:
    """Spectrum of the lowest `num_frequencies` bins, in pixels times frames.

    `include_dc=False` starts at k = 1 instead of k = 0. Raises ValueError where a bin would reach the Nyquist
    frequency, T / 2.
    """
    trajectories = jnp.asarray(trajectories, jnp.float32)
    num_frames = trajectories.shape[-4]
    bins = _bins(num_frequencies, include_dc)
    if num_frequencies < 1 or 2 * bins[-1] >= num_frames:
        raise ValueError(f"{num_frequencies} frequencies need more than {2 * bins[-1]} frames; there are {num_frames}")
    # Angles are reduced modulo T in integers: exact, where float32 products k t / T would lose digits.
    angles = 2 * np.pi / num_frames * (np.outer(bins, np.arange(num_frames)) % num_frames)
    real = jnp.einsum("kt,...thwc->...khwc", jnp.asarray(np.cos(angles), jnp.float32), trajectories)
    imaginary = jnp.einsum("kt,...thwc->...khwc", jnp.asarray(-np.sin(angles), jnp.float32), trajectories)
    return jnp.concatenate([real, imaginary], axis=-1)


def synthesis_matrix(
    times: Float[ArrayLike, " t"], num_frequencies: int, period: int = PERIOD, include_dc: bool = True
) -> np.ndarray:
    """The inverse transform as a matrix [t, 2k]: F(t) = M @ (Re S[0..K-1], Im S[0..K-1]).

    Weights are 1 / P for k = 0 and 2 / P for the others, whose conjugates are left out. `times` are in frames, any
    real number.
    """
    bins = _bins(num_frequencies, include_dc)
    angles = 2 * np.pi / period * np.mod(np.outer(np.asarray(times, np.float64), bins), period)
    weights = np.where(bins == 0, 1.0, 2.0) / period
    return np.concatenate([weights * np.cos(angles), -weights * np.sin(angles)], axis=1).astype(np.float32)


def at_times(
    spectrum: Float[ArrayLike, "*b k h w 4"],
    times: Float[ArrayLike, " t"],
    period: int = PERIOD,
    include_dc: bool = True,
) -> Float[Array, "*b t h w 2"]:
    """Displacements at `times` (in frames, any real number). A truncated series repeats after `period` frames."""
    spectrum = jnp.asarray(spectrum, jnp.float32)
    num_frequencies = spectrum.shape[-4]
    matrix = jnp.asarray(synthesis_matrix(times, num_frequencies, period, include_dc))
    parts = jnp.concatenate([spectrum[..., :2], spectrum[..., 2:]], axis=-4)
    return jnp.einsum("tk,...khwc->...thwc", matrix, parts)


def to_trajectories(
    spectrum: Float[ArrayLike, "*b k h w 4"], num_frames: int, period: int = PERIOD, include_dc: bool = True
) -> Float[Array, "*b t h w 2"]:
    """Displacements of frames 0 ... num_frames - 1, the inverse of `to_spectrum` for motion limited to K bins."""
    return at_times(spectrum, np.arange(num_frames, dtype=np.float64), period, include_dc)


def mean_magnitude(spectrum: Float[ArrayLike, "*b k h w 4"], num_frames: int = PERIOD) -> Float[Array, "*b h w"]:
    """The mean over t of |F_t|, in pixels: the map of how much each pixel moves, and the splatting weight W."""
    spectrum = jnp.asarray(spectrum, jnp.float32)
    chunk = 25  # bounds memory at large pictures

    def magnitude(matrix):
        parts = jnp.concatenate([spectrum[..., :2], spectrum[..., 2:]], axis=-4)
        motion = jnp.einsum("tk,...khwc->...thwc", matrix, parts)
        return jnp.sqrt(jnp.sum(motion**2, axis=-1)).sum(axis=-3)

    times = np.arange(num_frames, dtype=np.float64)
    total = sum(
        magnitude(jnp.asarray(synthesis_matrix(times[i : i + chunk], spectrum.shape[-4])))
        for i in range(0, num_frames, chunk)
    )
    return total / num_frames


def from_rest(spectrum: Float[ArrayLike, "k h w 4"]) -> Float[Array, "k h w 4"]:
    """The spectrum with F(0) = 0, so that a video starts as its photo.

    A truncated or predicted series does not vanish at t = 0. The whole motion is shifted by -F(0), which changes the
    mean displacement only: S_0 = -2 sum_k Re S_k. The predicted S_0 drops out.
    """
    spectrum = jnp.asarray(spectrum, jnp.float32)
    real = -2 * jnp.sum(spectrum[1:, ..., :2], axis=0)
    return spectrum.at[0].set(jnp.concatenate([real, jnp.zeros_like(real)], axis=-1))


def resize_motion(motion: Float[ArrayLike, "*b h w 2"], height: int, width: int) -> Float[Array, "*b H W 2"]:
    """Bilinear resize of a displacement field; dx and dy are rescaled to pixels of the new resolution."""
    return _resize(jnp.asarray(motion), height, width, 1)


def resize_spectrum(spectrum: Float[ArrayLike, "*b k h w 4"], height: int, width: int) -> Float[Array, "*b k H W 4"]:
    """Bilinear resize of a spectrum; x and y parts are rescaled to pixels of the new resolution."""
    return _resize(jnp.asarray(spectrum), height, width, 2)


def splatting_weight(spectrum: Float[ArrayLike, "k H W 4"], height: int, width: int) -> Float[Array, "h w"]:
    """W, the mean over the clip of |F_t|, at height x width and in pixels of that size."""
    spectrum = jnp.asarray(spectrum)
    x, y = width / spectrum.shape[-2], height / spectrum.shape[-3]
    weight = mean_magnitude(spectrum * jnp.asarray([x, y, x, y], jnp.float32).reshape(1, 1, 1, 4))
    return jax.image.resize(weight, (height, width), "linear")


def _resize(field: Array, height: int, width: int, pairs: int) -> Array:
    if field.shape[-3:-1] == (height, width):
        return field
    scale = jnp.asarray([width / field.shape[-2], height / field.shape[-3]] * pairs, field.dtype)
    resized = jax.image.resize(field, (*field.shape[:-3], height, width, field.shape[-1]), "linear", antialias=True)
    return resized * scale.reshape((1,) * (field.ndim - 1) + (-1,))
