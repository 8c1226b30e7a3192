"""Motion as colours."""

import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array, ArrayLike, Float

INFERNO = matplotlib.colormaps["inferno"](np.arange(256))[:, :3].astype(np.float32)


def magnitude(values: Float[ArrayLike, "*b h w"], largest: Float[ArrayLike, "*b"] | float) -> Float[Array, "*b h w 3"]:
    """Lengths from 0 (black) to `largest` and more (pale yellow); one `largest` for each map, or one for all."""
    share = jnp.asarray(values) / jnp.maximum(jnp.asarray(largest), 1e-6)[..., None, None]
    return jnp.asarray(INFERNO)[jnp.clip(jnp.round(255 * share), 0, 255).astype(jnp.int32)]


def direction(
    vectors: Float[ArrayLike, "*b h w 2"], largest: Float[ArrayLike, "*b"] | float
) -> Float[Array, "*b h w 3"]:
    """The colour wheel of optical flow: the hue is the direction (right red, down yellow-green, left cyan, up violet),
    the saturation the length, from 0 (white) to `largest` and more.
    """
    x, y = jnp.moveaxis(jnp.asarray(vectors), -1, 0)
    length = jnp.hypot(x, y) / jnp.maximum(jnp.asarray(largest), 1e-6)[..., None, None]
    sextant = 3 / jnp.pi * jnp.arctan2(y, x)
    # HSV to RGB with value 1: how far each channel falls below 1 at this hue.
    place = jnp.mod(jnp.stack([sextant + 5, sextant + 3, sextant + 1], axis=-1), 6)
    fall = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return 1 - jnp.minimum(length, 1)[..., None] * fall
