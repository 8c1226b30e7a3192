"""Guidance of the noise prediction."""

from collections.abc import Callable

from jaxtyping import Array

Denoise = Callable[[Array, Array], Array]  # (z_t, t) -> eps


def classifier_free(conditional: Denoise, null: Denoise, scale: float) -> Denoise:
    """eps = (1 + w) eps_c - w eps_0. With w = 0 the null prediction is never computed."""
    if scale == 0:
        return conditional
    return lambda z, t: (1 + scale) * conditional(z, t) - scale * null(z, t)
