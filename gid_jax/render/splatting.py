"""Forward splatting: every source pixel is carried along its motion and shared among four target pixels.

    warped(q) = sum_p B(q - p - F(p)) w(p) I(p) / sum_p B(q - p - F(p)) w(p)

with the bilinear kernel B. The weight w decides who is in front: `softmax` w = exp(alpha (W - max W)), `linear`
w = W (PAPER.md, eq. 11), `average` w = 1.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gid_jax.render import accumulation

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
    0 and hole 1. Differentiable in features, motion and weight. Computed in float32, in float64 if features are.
    """
    batch, (height, width, channels) = features.shape[:-3], features.shape[-3:]
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    if mode == "average" or weight is None:
        if mode != "average":
            raise ValueError(f"mode {mode!r} needs a weight")
        shares = jnp.ones((*batch, height, width), dtype)
    elif mode == "softmax":
        shares = importance(weight.astype(dtype), alpha)
    elif mode == "linear":
        shares = weight.astype(dtype)
    else:
        raise ValueError(f"mode is 'softmax', 'linear' or 'average', not {mode!r}")

    summed, total = accumulation.accumulate(
        features.astype(dtype).reshape(-1, height, width, channels),
        shares.reshape(-1, height, width),
        motion.astype(dtype).reshape(-1, height, width, 2),
    )
    total = total[..., None]
    arrived = total > 0
    warped = jnp.where(arrived, summed / jnp.where(arrived, total, 1), 0)
    holes = 1 - arrived.astype(jnp.float32)
    return warped.reshape(features.shape).astype(features.dtype), holes.reshape(*batch, height, width, 1)


def importance(weight: Float[Array, "*b h w"], alpha: float | None = None) -> Float[Array, "*b h w"]:
    """w = exp(alpha (W - max W)), `softmax`'s."""
    scale = ALPHA * 256 / weight.shape[-1] if alpha is None else alpha
    peak = jax.lax.stop_gradient(jnp.max(weight, axis=(-2, -1), keepdims=True))
    return jnp.exp(jnp.maximum(scale * (weight - peak), LARGEST_DROP))


def splat_picture(
    image: Float[Array, "*b h w c"], motion: Float[Array, "*b h w 2"], weight: Float[Array, "*b h w"]
) -> Float[Array, "*b h w c"]:
    """A picture carried along `motion` without any network: holes show what was there before."""
    warped, holes = splat(image, motion, weight)
    return jnp.where(holes > 0, image, warped)
