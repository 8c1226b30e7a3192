"""Pictures carried without blur: every pixel takes along how its colours change around it.

What is shared bilinearly loses its fine detail wherever it lands between pixels. Here pixel p brings the plane

    T_p(q) = I(p) + 1/2 s(p) . (q - p - F(p))

with s the slope of the cubic spline through the picture, and target pixel q gets the mean of T_p(q) with the usual
shares. Half of the slope, because bilinear shares of full tangents go as far beyond a parabola as shares of colours
stay below: under a translation the mean of half tangents is exact for every quadratic.

A plane is linear in q, so it is splatted as three numbers for each colour: value at the origin, half slope in x and y.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

POLE = 3**0.5 - 2  # of the cubic spline
REACH = 8  # pixels on each side that slopes depend on; further ones count for less than 1e-4


def spline_slopes(image: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c2"]:
    """d/dx of all channels, then d/dy, per pixel, of the cubic spline through the picture; the border is repeated.

    The slopes m of a cubic spline through y solve m[i-1] + 4 m[i] + m[i+1] = 3 (y[i+1] - y[i-1]) (de Boor 1978,
    chapter IV); written out, m[i] = sum_n a_n (y[i+n] - y[i-n]) with a_n = sqrt(3)/2 (1 - POLE^2) POLE^(n-1).
    """
    return jnp.concatenate([_slope(image, -2), _slope(image, -3)], axis=-1)


def to_planes(
    image: Float[Array, "*b h w c"], slopes: Float[Array, "*b h w c2"], motion: Float[Array, "*b h w 2"]
) -> Float[Array, "*b h w c3"]:
    """The planes of pixels that `motion` (dx, dy in pixels) carries away: features for `splat`."""
    half_x, half_y = jnp.split(slopes / 2, 2, axis=-1)
    x, y = _positions(motion)
    return jnp.concatenate([image - half_x * x - half_y * y, half_x, half_y], axis=-1)


def from_planes(planes: Float[Array, "*b h w c3"], motion: Float[Array, "*b h w 2"] | None = None) -> Array:
    """Their values at every pixel, or where `motion` leads from it: [*b, h, w, c]."""
    value, half_x, half_y = jnp.split(planes, 3, axis=-1)
    x, y = _positions(jnp.zeros((*planes.shape[:-1], 2), planes.dtype) if motion is None else motion)
    return value + half_x * x + half_y * y


def _positions(motion: Array) -> tuple[Array, Array]:
    """Columns and rows that lie `motion` away from every pixel, each [*b, h, w, 1]."""
    height, width = motion.shape[-3:-1]
    grid = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1).astype(motion.dtype)
    ends = jnp.broadcast_to(grid, motion.shape) + motion
    return ends[..., :1], ends[..., 1:]


def _slope(image: Array, axis: int) -> Array:
    size = image.shape[axis]
    pads = [(0, 0)] * image.ndim
    pads[axis] = (REACH, REACH)
    padded = jnp.pad(image, pads, mode="edge")

    def shifted(steps: int) -> Array:
        return lax.slice_in_dim(padded, REACH + steps, REACH + steps + size, axis=axis % image.ndim)

    factors = [3**0.5 / 2 * (1 - POLE**2) * POLE ** (n - 1) for n in range(1, REACH + 1)]
    return sum((a * (shifted(n) - shifted(-n)) for n, a in enumerate(factors, 1)), jnp.zeros_like(image))
