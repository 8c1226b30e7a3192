"""Motion and splatting weights at the levels of a feature pyramid: halved in size, displacements with them."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def halve(field: Float[Array, "*b h w c"]) -> Float[Array, "*b H W c"]:
    """Means of 2 x 2 pixels. Raises ValueError for odd sizes."""
    height, width, channels = field.shape[-3:]
    if height % 2 or width % 2:
        raise ValueError(f"a pyramid needs even sizes at every level, not {width} x {height}")
    blocks = field.reshape(*field.shape[:-3], height // 2, 2, width // 2, 2, channels)
    return jnp.mean(blocks, axis=(-4, -2))


def motion_pyramid(motion: Float[Array, "*b h w 2"], levels: int) -> list[Float[Array, "*b H W 2"]]:
    """Displacements at full, half, quarter ... resolution, each in pixels of its own level."""
    return _levels(motion, levels)


def weight_pyramid(weight: Float[Array, "*b h w"], levels: int) -> list[Float[Array, "*b H W"]]:
    """Mean motion magnitudes W at full, half, quarter ... resolution, each in pixels of its own level."""
    return [level[..., 0] for level in _levels(weight[..., None], levels)]


def _levels(field: Array, levels: int) -> list[Array]:
    pyramid = [field]
    for _ in range(levels - 1):
        pyramid.append(halve(pyramid[-1]) / 2)
    return pyramid
