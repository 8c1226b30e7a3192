"""Backward warping: every pixel fetches what lies at the end of its motion."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def backward_warp(image: Float[Array, "*b h w c"], motion: Float[Array, "*b h w 2"]) -> Float[Array, "*b h w c"]:
    """I(p + F(p)), bilinear, the border repeated. With forward motion F_t, warping frame t gives back frame 0.

    `motion` is (dx, dy) in pixels, x right, y down, pixel centres at integers.
    """
    batch, (height, width, channels) = image.shape[:-3], image.shape[-3:]
    flat = image.reshape(-1, height * width, channels)
    field = motion.reshape(-1, height, width, 2)
    x = jnp.clip(jnp.arange(width, dtype=field.dtype)[None, None, :] + field[..., 0], 0, width - 1)
    y = jnp.clip(jnp.arange(height, dtype=field.dtype)[None, :, None] + field[..., 1], 0, height - 1)
    left = jnp.clip(jnp.floor(x), 0, max(width - 2, 0))
    top = jnp.clip(jnp.floor(y), 0, max(height - 2, 0))
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    left, top = left.astype(jnp.int32), top.astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)

    def fetch(row: Array, column: Array) -> Array:
        index = (row * width + column).reshape(flat.shape[0], -1, 1)
        return jnp.take_along_axis(flat, index, axis=1).reshape(-1, height, width, channels)

    upper = fetch(top, left) * (1 - fx) + fetch(top, right) * fx
    lower = fetch(bottom, left) * (1 - fx) + fetch(bottom, right) * fx
    return (upper * (1 - fy) + lower * fy).reshape(*batch, height, width, channels)
