"""Forward splatting: every source pixel is carried along its motion and shared among four target pixels.

    warped(q) = sum_p B(q - p - F(p)) w(p) I(p) / sum_p B(q - p - F(p)) w(p)

with the bilinear kernel B. The weight w decides who is in front: `softmax` w = exp(alpha (W - max W)), `linear`
w = W (PAPER.md, eq. 11), `average` w = 1.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ALPHA = 2.0  # per pixel of mean motion at a width of 256
LARGEST_DROP = -60.0  # exp of less underflows in float32


def splat(
    features: Float[Array, "*b h w c"],
    motion: Float[Array, "*b h w 2"],
    weight: Float[Array, "*b h w"] | None = None,
    mode: Literal["softmax", "linear", "average"] = "softmax",
    alpha: float | None = None,
) -> tuple[Float[Array, "*b h w c"], Float[Array, "*b h w 1"]]:
    """Carries `features` along `motion` (dx, dy in pixels) and returns them with the mask of holes.

    `weight` is W, the mean motion magnitude in pixels of this resolution (>= 0); `alpha` is per pixel, by default
    2 * 256 / w, so that a picture splats alike at every resolution. A target pixel where no weight arrived has value
    0 and hole 1. Differentiable in features, motion and weight.
    """
    batch, (height, width, channels) = features.shape[:-3], features.shape[-3:]
    if mode == "average" or weight is None:
        if mode != "average":
            raise ValueError(f"mode {mode!r} needs a weight")
        importance = jnp.ones((*batch, height, width), jnp.float32)
    elif mode == "softmax":
        scale = ALPHA * 256 / width if alpha is None else alpha
        peak = jax.lax.stop_gradient(jnp.max(weight, axis=(-2, -1), keepdims=True))
        importance = jnp.exp(jnp.maximum(scale * (weight.astype(jnp.float32) - peak), LARGEST_DROP))
    elif mode == "linear":
        importance = weight.astype(jnp.float32)
    else:
        raise ValueError(f"mode is 'softmax', 'linear' or 'average', not {mode!r}")

    weighted = jnp.concatenate([features.astype(jnp.float32) * importance[..., None], importance[..., None]], axis=-1)
    summed = _scatter(
        weighted.reshape(-1, height, width, channels + 1), motion.astype(jnp.float32).reshape(-1, height, width, 2)
    ).reshape(*batch, height, width, channels + 1)
    total = summed[..., -1:]
    arrived = total > 0
    warped = jnp.where(arrived, summed[..., :-1] / jnp.where(arrived, total, 1.0), 0.0)
    return warped.astype(features.dtype), 1.0 - arrived.astype(jnp.float32)


def splat_picture(
    image: Float[Array, "*b h w c"], motion: Float[Array, "*b h w 2"], weight: Float[Array, "*b h w"]
) -> Float[Array, "*b h w c"]:
    """A picture carried along `motion` without any network: holes show what was there before."""
    warped, holes = splat(image, motion, weight)
    return jnp.where(holes > 0, image, warped)


def _scatter(values: Array, motion: Array) -> Array:
    """Sums [b, h, w, c] values into the four pixels around p + F(p); what leaves the picture is dropped."""
    batch, height, width, channels = values.shape
    # Floor and fraction of the displacement, not of the position: float32 keeps its digits far from the origin.
    whole = jnp.floor(motion)
    fraction = motion - whole
    whole = jnp.clip(whole, -(2.0**20), 2.0**20).astype(jnp.int32)
    x = jnp.arange(width, dtype=jnp.int32)[None, None, :] + whole[..., 0]
    y = jnp.arange(height, dtype=jnp.int32)[None, :, None] + whole[..., 1]
    fx, fy = fraction[..., 0], fraction[..., 1]
    # One spare row and column around the picture take what falls outside, so that indices need no mask.
    padded = (height + 2) * (width + 2)
    first = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * padded
    result = jnp.zeros((batch * padded, channels), values.dtype)
    for dx, dy, share in (
        (0, 0, (1 - fx) * (1 - fy)),
        (1, 0, fx * (1 - fy)),
        (0, 1, (1 - fx) * fy),
        (1, 1, fx * fy),
    ):
        column = jnp.clip(x + dx, -1, width) + 1
        row = jnp.clip(y + dy, -1, height) + 1
        index = first + row * (width + 2) + column
        result = result.at[index.reshape(-1)].add(
            (values * share[..., None]).reshape(-1, channels), mode="promise_in_bounds"
        )
    return result.reshape(batch, height + 2, width + 2, channels)[:, 1:-1, 1:-1]
