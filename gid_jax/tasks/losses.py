"""Losses that several tasks share."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp


def absolute(x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean of |x - y|."""
    return jnp.mean(jnp.abs(x - y))


def multiscale_gradient(x: jax.Array, y: jax.Array, levels: int = 4) -> jax.Array:
    """Gradient consistency of fields [b, h, w, c]: sum over scales of the mean of |d/dx R| and |d/dy R|, R = x - y.

    Each scale halves the one before by means of 2 x 2 pixels (an odd last row or column is left out).
    """
    residual, total = x - y, jnp.zeros((), jnp.float32)
    for level in range(levels):
        total += jnp.mean(jnp.abs(jnp.diff(residual, axis=1))) + jnp.mean(jnp.abs(jnp.diff(residual, axis=2)))
        b, h, w, c = residual.shape
        if level == levels - 1 or min(h, w) < 4:
            break
        blocks = residual[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c)
        residual = jnp.mean(blocks, axis=(2, 4))
    return total


def features(x: Sequence[jax.Array], y: Sequence[jax.Array]) -> jax.Array:
    """Sum over layers of the mean absolute difference, relative to the mean absolute value in `y` (the truth)."""
    total = jnp.zeros((), jnp.float32)
    for ours, theirs in zip(x, y, strict=True):
        ours, theirs = ours.astype(jnp.float32), jax.lax.stop_gradient(theirs.astype(jnp.float32))
        total += jnp.mean(jnp.abs(ours - theirs)) / (jnp.mean(jnp.abs(theirs)) + 1e-6)
    return total


def generator_adversarial(fake: jax.Array) -> jax.Array:
    """Non-saturating loss (Goodfellow et al. 2014): mean of -log sigmoid of the logits of what was generated."""
    return jnp.mean(jax.nn.softplus(-fake))


def discriminator_adversarial(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Mean of -log sigmoid(real) plus that of -log(1 - sigmoid(fake)), of logits."""
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def r1(discriminator: Callable[[jax.Array], jax.Array], real: jax.Array) -> jax.Array:
    """Gradient penalty on real pictures [b, ...], E |grad_x D(x)|^2 / 2 (Mescheder et al. 2018, eq. 9, gamma 1).

    D(x) is the sum of a picture's logits, and depends on that picture alone.
    """
    gradient = jax.grad(lambda x: jnp.sum(discriminator(x)))(real.astype(jnp.float32))
    return jnp.sum(jnp.square(gradient)) / (2 * len(real))


def psnr(x: jax.Array, y: jax.Array) -> jax.Array:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1], mean over the batch."""
    error = jnp.mean(jnp.square(x - y), axis=(1, 2, 3))
    return jnp.mean(-10 * jnp.log10(jnp.maximum(error, 1e-10)))
