"""A velocity network scaled by what is known of the clean latents beforehand: their variance at each place.

For z_0 ~ N(0, variance) the best prediction of the velocity is c_skip z_t, and what it misses has the deviation c_out;
so v = c_skip z_t + c_out F(c_in z_t) asks of the network F only what is not known, at unit scale. With a variance of 1
everywhere it is the plain network. Karras et al. 2022 (table 1, EDM), there with one variance for the whole data set.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gid_jax.diffusion.guidance import Denoise
from gid_jax.diffusion.prediction import Prediction, to_noise
from gid_jax.diffusion.schedule import Schedule


def coefficients(
    schedule: Schedule, variance: Float[Array, "*z"], t: Int[Array, " *b"]
) -> tuple[Float[Array, "*z"], Float[Array, "*z"], Float[Array, "*z"]]:
    """(c_in, c_skip, c_out) at the steps `t`, which have the leading axes of `variance`."""
    signal, sigma = schedule.coefficients(t, variance.ndim)
    total = signal**2 * variance + sigma**2
    return jax.lax.rsqrt(total), signal * sigma * (1 - variance) / total, jnp.sqrt(variance / total)


def velocity(
    network: Callable[[Array], Array],
    schedule: Schedule,
    noisy: Float[Array, "n h w c"],
    variance: Float[Array, "n h w 1"],
    t: Int[Array, " *b"],
) -> Float[Array, "n h w c"]:
    """The preconditioned prediction for z_t = `noisy`; `t` is one step for all or one for each."""
    c_in, c_skip, c_out = coefficients(schedule, variance, t)
    return c_skip * noisy + c_out * network(c_in * noisy)


def predicted_noise(
    network: Callable[[Array, Array], Array],
    kind: Prediction,
    schedule: Schedule,
    variance: Float[Array, "n h w 1"] | None = None,
) -> Denoise:
    """eps(z_t, t) as samplers take it, of a network that answers `kind`; with a `variance` the preconditioned one."""

    def denoise(z: Array, t: Array) -> Array:
        return to_noise(kind, schedule, network(z, t), z, t)

    def preconditioned(z: Array, t: Array) -> Array:
        assert variance is not None
        return to_noise(kind, schedule, velocity(lambda z: network(z, t), schedule, z, variance, t), z, t)

    return denoise if variance is None else preconditioned
