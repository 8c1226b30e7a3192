"""Frequency-adaptive normalisation of spectra (PAPER.md, eq. 4).

Coefficients fall about exponentially with frequency. Each is divided by s_k, the 95th percentile of the complex modulus
at its frequency over the training set, and drawn together by a signed square root.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def normalize(spectrum: Float[ArrayLike, "*b k h w 4"], scales: Float[ArrayLike, " k"]) -> Float[Array, "*b k h w 4"]:
    """sign(c) sqrt(|c| / s_k) of each real component c. `scales` are in the spectrum's unit and positive."""
    spectrum, scales = jnp.asarray(spectrum), _broadcast(spectrum, scales)
    return jnp.sign(spectrum) * jnp.sqrt(jnp.abs(spectrum) / scales)


def denormalize(
    normalized: Float[ArrayLike, "*b k h w 4"], scales: Float[ArrayLike, " k"]
) -> Float[Array, "*b k h w 4"]:
    """The inverse, s_k v |v|."""
    normalized, scales = jnp.asarray(normalized), _broadcast(normalized, scales)
    return scales * normalized * jnp.abs(normalized)


def _broadcast(spectrum: ArrayLike, scales: ArrayLike) -> Array:
    shape = (1,) * (jnp.ndim(spectrum) - 4) + (-1, 1, 1, 1)
    return jnp.asarray(scales, jnp.float32).reshape(shape)
