"""Resolutions of the coarse-to-fine search and the passage between them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def level_sizes(height: int, width: int, ratio: float, smallest: int) -> list[tuple[int, int]]:
    """(height, width) of each level, coarsest first; no level but the picture itself has a side below `smallest`."""
    sizes = [(height, width)]
    while round(min(height, width) * ratio ** len(sizes)) >= smallest:
        factor = ratio ** len(sizes)
        sizes.append((round(height * factor), round(width * factor)))
    return sizes[::-1]


def resize_planes(planes: Float[Array, "*b h w"], height: int, width: int) -> Float[Array, "*b height width"]:
    """Anti-aliased cubic resampling (half-pixel centres) of the last two axes."""
    return jax.image.resize(planes, (*planes.shape[:-2], height, width), "cubic", antialias=True)


def resize_field(field: tuple[Array, Array], height: int, width: int) -> tuple[Array, Array]:
    """The motion (u, v), planes [n, h, w] in px, at another resolution: resampled bilinearly and rescaled."""
    u, v = field
    shape = (u.shape[0], height, width)
    scale_x, scale_y = width / u.shape[2], height / u.shape[1]
    return jax.image.resize(u, shape, "linear") * scale_x, jax.image.resize(v, shape, "linear") * scale_y


def gaussian_blur(planes: Float[Array, "*b h w"], sigma: Array | float) -> Float[Array, "*b h w"]:
    """Seven-tap Gaussian of standard deviation `sigma` px, the border repeated."""
    height, width = planes.shape[-2:]
    taps = jnp.exp(-0.5 * (jnp.arange(-3, 4) / sigma) ** 2)
    taps = taps / taps.sum()
    still = ((0, 0),) * (planes.ndim - 2)
    wide = jnp.pad(planes, (*still, (3, 3), (3, 3)), mode="edge")
    rows = jnp.stack([taps[i] * wide[..., i : i + height, :] for i in range(7)]).sum(axis=0)
    return jnp.stack([taps[i] * rows[..., i : i + width] for i in range(7)]).sum(axis=0)


def colours(pictures: Float[Array, "n h w 3"], sigma: float) -> tuple[Array, Array, Array]:
    """Red, green and blue planes, blurred by `sigma` px."""
    red, green, blue = (gaussian_blur(pictures[..., c], sigma) for c in range(3))
    return red, green, blue
