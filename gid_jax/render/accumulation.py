"""The sums of forward splatting, and their gradients: by scatters and gathers, on TPUs by matrix products.

    A(q) = sum_p B(q - p - F(p)) w(p) (I(p), 1),    B(d) = max(0, 1 - |dx|) max(0, 1 - |dy|)

For a cotangent G(q) of A, its bilinear value at the end of the motion, g(p) = sum_q B(q - p - F(p)) G(q), gives every
gradient: that of I is w g, that of w is (I, 1) . g, that of F is w (I, 1) . dg/dF. So the scatter's gradient gathers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from gid_jax.render import products


@jax.custom_vjp
def accumulate(
    features: Float[Array, "b h w c"], importance: Float[Array, "b h w"], motion: Float[Array, "b h w 2"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
    """Sums of w I and of w over what arrives at each pixel; what leaves the picture is dropped."""
    arguments = features * importance[..., None], importance, motion
    return lax.platform_dependent(*arguments, tpu=_sums_by_products, cpu=_sums_by_strips, default=_sums_by_scatters)


def _forward(features, importance, motion):
    return accumulate(features, importance, motion), (features, importance, motion)


def _backward(arguments, cotangents):
    features, importance, motion = arguments
    of_features, of_ones = lax.platform_dependent(
        *cotangents, motion, tpu=_fetched_by_products, default=_fetched_by_gathers
    )
    by_weight = _dot(features, of_features.again) + of_ones.value
    by_x, by_y = _dot(features, of_features.by_x) + of_ones.by_x, _dot(features, of_features.by_y) + of_ones.by_y
    by_motion = jnp.stack([by_x, by_y], axis=-1)
    return of_features.value * importance[..., None], by_weight, by_motion * importance[..., None]


accumulate.defvjp(_forward, _backward)


class Fetched(NamedTuple):
    """A plane at the ends of the motion."""

    value: Array
    """bilinear, 0 outside"""
    again: Array
    """the same"""
    by_x: Array
    """derivative by the motion along x"""
    by_y: Array


def _sums_by_products(values: Array, importance: Array, motion: Array) -> tuple[Array, Array]:
    result = products.scatter(jnp.concatenate([values, importance[..., None]], axis=-1), motion)
    return result[..., :-1], result[..., -1]


def _fetched_by_products(by_sum: Array, by_total: Array, motion: Array) -> tuple[Fetched, Fetched]:
    both = jnp.concatenate([by_sum, by_total[..., None]], axis=-1)
    value, by_x, by_y = products.gather(both, motion)
    fetched = Fetched(value, value, by_x, by_y)
    return Fetched(*(a[..., :-1] for a in fetched)), Fetched(*(a[..., -1] for a in fetched))


def _sums_by_scatters(values: Array, importance: Array, motion: Array) -> tuple[Array, Array]:
    ends = _ends(motion)
    empty = _empty(values, ends), _empty(importance, ends)
    return _crop(_scatter(empty[0], values, ends), ends), _crop(_scatter(empty[1], importance, ends), ends)


def _sums_by_strips(values: Array, importance: Array, motion: Array) -> tuple[Array, Array]:
    """A few rows after the other, so that what is to be added stays in the cache."""
    ends, height = _ends(motion), values.shape[1]
    rows = max(rows for rows in range(1, STRIP + 1) if height % rows == 0)

    def add(index: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        def strip(x: Array) -> Array:
            return lax.dynamic_slice_in_dim(x, index * rows, rows, axis=1)

        part = Ends(strip(ends.corner), strip(ends.x), strip(ends.y), ends.stride)
        return _scatter(sums[0], strip(values), part), _scatter(sums[1], strip(importance), part)

    sums = lax.fori_loop(0, height // rows, add, (_empty(values, ends), _empty(importance, ends)))
    return _crop(sums[0], ends), _crop(sums[1], ends)


def _fetched_by_gathers(by_sum: Array, by_total: Array, motion: Array) -> tuple[Fetched, Fetched]:
    ends = _ends(motion)
    return _gather(by_sum, ends), Fetched(*(a[..., 0] for a in _gather(by_total[..., None], ends)))


STRIP = 16  # rows that a CPU adds together
SPARE = 2  # rows and columns on each side of the picture: what ends outside ends there, and indices need no mask


class Ends(NamedTuple):
    """Where the motion of each source pixel ends, [b, h, w]."""

    corner: Array
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


def _empty(values: Array, ends: Ends) -> Array:
    """Zeros for the padded pictures: [pixels, c] for values [b, h, w, c], [pixels] for [b, h, w]."""
    batch, height = values.shape[:2]
    return jnp.zeros((batch * (height + 2 * SPARE) * ends.stride, *values.shape[3:]), values.dtype)


def _scatter(sums: Array, values: Array, ends: Ends) -> Array:
    """`sums` and the four shares of each of `values`, [b, h, w, c] or [b, h, w]."""
    corner, x, y, stride = ends
    for offset, share in ((0, (1 - x) * (1 - y)), (1, x * (1 - y)), (stride, (1 - x) * y), (stride + 1, x * y)):
        updates = values * share.reshape(share.shape + (1,) * (values.ndim - 3))
        sums = sums.at[corner.reshape(-1) + offset].add(
            updates.reshape(-1, *values.shape[3:]), mode="promise_in_bounds"
        )
    return sums


def _crop(sums: Array, ends: Ends) -> Array:
    batch = len(ends.corner)
    return sums.reshape(batch, -1, ends.stride, *sums.shape[1:])[:, SPARE:-SPARE, SPARE:-SPARE]


def _gather(values: Array, ends: Ends) -> Fetched:
    x, y, stride = ends.x[..., None], ends.y[..., None], ends.stride
    spare = ((0, 0), (SPARE, SPARE), (SPARE, SPARE), (0, 0))
    padded = jnp.pad(values, spare).reshape(-1, values.shape[-1])

    def corners(index: Array) -> list[Array]:
        return [padded.at[index + offset].get(mode="promise_in_bounds") for offset in (0, 1, stride, stride + 1)]

    def value(a: Array, b: Array, c: Array, d: Array) -> Array:
        return (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)

    # On a CPU a row fetched for a single use costs nothing, one kept for a second use a pass through memory. Behind
    # the barrier the compiler does not see that these are the same.
    first, second, third, fourth = lax.optimization_barrier((ends.corner,) * 4)
    a, b, c, d = corners(third)
    by_x = (1 - y) * (b - a) + y * (d - c)
    a, b, c, d = corners(fourth)
    by_y = (1 - x) * (c - a) + x * (d - b)
    return Fetched(value(*corners(first)), value(*corners(second)), by_x, by_y)


def _dot(a: Array, b: Array) -> Array:
    """Sums of products over channels: by a product with ones, since a CPU does not vectorise a fused sum."""
    ones = jnp.ones((a.shape[-1], 1), a.dtype)
    return jnp.matmul((a * b).reshape(-1, a.shape[-1]), ones, precision=lax.Precision.HIGHEST).reshape(a.shape[:-1])
