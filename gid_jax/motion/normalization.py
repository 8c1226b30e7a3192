"""Normalisation of spectra: frequency-adaptive (PAPER.md, eq. 4) or, to compare with it, by the picture's size.

Coefficients fall about exponentially with frequency. `adaptive` divides each by s_k, the 95th percentile of the complex
modulus at its frequency over the training set, and draws them together by a signed square root. `size` divides x by
the width and y by the height (Table 2, "without adaptive normalisation"), which leaves high frequencies near zero.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

Normalization = Literal["adaptive", "size"]
KINDS: tuple[Normalization, ...] = ("adaptive", "size")


def normalize(
    spectrum: Float[ArrayLike, "*b k h w 4"], scales: Float[ArrayLike, " k"], kind: Normalization = "adaptive"
) -> Float[Array, "*b k h w 4"]:
    """sign(c) sqrt(|c| / s_k) of each real component c, or c / size. `scales`: positive, in the spectrum's unit."""
    spectrum = jnp.asarray(spectrum)
    if kind == "size":
        return spectrum / _size(spectrum)
    return jnp.sign(spectrum) * jnp.sqrt(jnp.abs(spectrum) / _broadcast(spectrum, scales))


def denormalize(
    normalized: Float[ArrayLike, "*b k h w 4"], scales: Float[ArrayLike, " k"], kind: Normalization = "adaptive"
) -> Float[Array, "*b k h w 4"]:
    """The inverse, s_k v |v| or v * size."""
    normalized = jnp.asarray(normalized)
    if kind == "size":
        return normalized * _size(normalized)
    return _broadcast(normalized, scales) * normalized * jnp.abs(normalized)


def _broadcast(spectrum: Array, scales: ArrayLike) -> Array:
    shape = (1,) * (spectrum.ndim - 4) + (-1, 1, 1, 1)
    return jnp.asarray(scales, jnp.float32).reshape(shape)


def _size(spectrum: Array) -> Array:
    """(w, h, w, h), for (Re x, Re y, Im x, Im y)."""
    height, width = spectrum.shape[-3:-1]
    return jnp.asarray([width, height, width, height], jnp.float32).reshape((1,) * (spectrum.ndim - 1) + (4,))
