"""Guidance of the noise prediction."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gid_jax.diffusion.schedule import Schedule

Denoise = Callable[[Array, Array], Array]  # (z_t, t) -> eps


def classifier_free(conditional: Denoise, null: Denoise, scale: float) -> Denoise:
    """eps = (1 + w) eps_c - w eps_0. With w = 0 the null prediction is never computed."""
    if scale == 0:
        return conditional
    return lambda z, t: (1 + scale) * conditional(z, t) - scale * null(z, t)


def downhill(
    denoise: Denoise, loss: Callable[[Array], Array], schedule: Schedule, strength: float, through_network: bool
) -> Denoise:
    """eps + u sigma_t grad_z L(z_0), towards a small `loss` of the clean latents z_0 that eps implies (eq. 5).

    With `through_network` the gradient goes through `denoise`, whose inner values are computed again; without, eps is
    taken as fixed, and no Jacobian of the network is needed. What is not finite of a gradient counts as 0.
    """

    def whole(z: Array, t: Array) -> tuple[Array, Array]:
        eps = jax.checkpoint(denoise)(z, t)
        return loss(schedule.to_clean(z, eps, t)), eps

    def guided(z: Array, t: Array) -> Array:
        if through_network:
            gradient, eps = jax.grad(whole, has_aux=True)(z, t)
        else:
            eps = denoise(z, t)
            gradient = jax.grad(lambda z: loss(schedule.to_clean(z, eps, t)))(z)
        _, sigma = schedule.coefficients(t, z.ndim)
        return eps + strength * sigma * jnp.where(jnp.isfinite(gradient), gradient, 0)

    return guided
