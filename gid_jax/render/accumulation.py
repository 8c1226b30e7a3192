"""The sums of forward splatting, and their gradients, as scatters and gathers.

    A(q) = sum_p B(q - p - F(p)) w(p) (I(p), 1),    B(d) = max(0, 1 - |dx|) max(0, 1 - |dy|)

For a cotangent G(q) of A, its bilinear value at the end of the motion, g(p) = sum_q B(q - p - F(p)) G(q), gives every
gradient: that of I is w g, that of w is (I, 1) . g, that of F is w (I, 1) . dg/dF. So the scatter's gradient gathers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


@jax.custom_vjp
def accumulate(
    features: Float[Array, "b h w c"], importance: Float[Array, "b h w"], motion: Float[Array, "b h w 2"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
    """Sums of w I and of w over what arrives at each pixel; what leaves the picture is dropped."""
    return scattered(features, importance, motion)


def _forward(features, importance, motion):
    return accumulate(features, importance, motion), (features, importance, motion)


def _backward(arguments, cotangents):
    return gathered(*arguments, *cotangents)


accumulate.defvjp(_forward, _backward)


SPARE = 2  # rows and columns on each side of the picture: what ends outside ends there, and indices need no mask


class Ends(NamedTuple):
    """Where the motion of each source pixel ends, [b, h, w]."""

    index: Array
    """of the upper left of the four pixels around the end, in the padded pictures, flat"""
    x: Array
    """fraction of the way to the right ones"""
    y: Array
    """fraction of the way to the lower ones"""
    stride: int
    """from a row to the next"""


def _ends(motion: Array) -> Ends:
    batch, height, width, _ = motion.shape
    # Floor and fraction of the displacement, not of the position: float32 keeps its digits far from the origin.
    whole = jnp.floor(motion)
    fraction = motion - whole
    whole = jnp.clip(whole, -(2.0**20), 2.0**20).astype(jnp.int32)
    x = jnp.arange(width, dtype=jnp.int32)[None, None, :] + whole[..., 0]
    y = jnp.arange(height, dtype=jnp.int32)[None, :, None] + whole[..., 1]
    row = jnp.clip(y, -SPARE, height) + SPARE
    column = jnp.clip(x, -SPARE, width) + SPARE
    first = jnp.arange(batch, dtype=jnp.int32)[:, None, None] * (height + 2 * SPARE)
    stride = width + 2 * SPARE
    return Ends((first + row) * stride + column, fraction[..., 0], fraction[..., 1], stride)


def scattered(features: Array, importance: Array, motion: Array) -> tuple[Array, Array]:
    """`accumulate`, by scattering."""
    ends = _ends(motion)
    return _scatter(features * importance[..., None], ends), _scatter(importance[..., None], ends)[..., 0]


def _scatter(values: Array, ends: Ends) -> Array:
    batch, height, _, channels = values.shape
    index, x, y, stride = ends
    result = jnp.zeros((batch * (height + 2 * SPARE) * stride, channels), values.dtype)
    for offset, share in ((0, (1 - x) * (1 - y)), (1, x * (1 - y)), (stride, (1 - x) * y), (stride + 1, x * y)):
        updates = (values * share[..., None]).reshape(-1, channels)
        result = result.at[index.reshape(-1) + offset].add(updates, mode="promise_in_bounds")
    return result.reshape(batch, -1, stride, channels)[:, SPARE:-SPARE, SPARE:-SPARE]


def gathered(
    features: Array, importance: Array, motion: Array, by_sum: Array, by_total: Array
) -> tuple[Array, Array, Array]:
    """Gradients of features, importance and motion from those of the sums, by gathering."""
    ends = _ends(motion)
    value, value_again, by_x, by_y = _gather(by_sum, ends)
    total, _, total_x, total_y = (g[..., 0] for g in _gather(by_total[..., None], ends))
    of_importance = _dot(features, value_again) + total
    of_motion = jnp.stack([_dot(features, by_x) + total_x, _dot(features, by_y) + total_y], axis=-1)
    return value * importance[..., None], of_importance, of_motion * importance[..., None]


def _gather(values: Array, ends: Ends) -> tuple[Array, Array, Array, Array]:
    """Bilinear values at the ends, the same again, and their derivatives along x and y."""
    index, x, y, stride = ends[0], ends.x[..., None], ends.y[..., None], ends.stride
    spare = ((0, 0), (SPARE, SPARE), (SPARE, SPARE), (0, 0))
    padded = jnp.pad(values, spare).reshape(-1, values.shape[-1])

    def corners(index: Array) -> list[Array]:
        return [padded.at[index + offset].get(mode="promise_in_bounds") for offset in (0, 1, stride, stride + 1)]

    def value(a: Array, b: Array, c: Array, d: Array) -> Array:
        return (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)

    # On a CPU a row fetched for a single use costs nothing, one kept for a second use a pass through memory. Behind
    # the barrier the compiler does not see that these are the same.
    first, second, third, fourth = lax.optimization_barrier((index,) * 4)
    a, b, c, d = corners(third)
    by_x = (1 - y) * (b - a) + y * (d - c)
    a, b, c, d = corners(fourth)
    by_y = (1 - x) * (c - a) + x * (d - b)
    return value(*corners(first)), value(*corners(second)), by_x, by_y


def _dot(a: Array, b: Array) -> Array:
    """Sums of products over channels: by a product with ones, since a CPU does not vectorise a fused sum."""
    ones = jnp.ones((a.shape[-1], 1), a.dtype)
    return jnp.matmul((a * b).reshape(-1, a.shape[-1]), ones, precision=lax.Precision.HIGHEST).reshape(a.shape[:-1])
