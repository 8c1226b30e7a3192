"""One level of the variational solver: warp, linearise, weight, relax, filter.

Minimised over the motion (u, v) of the source's pixels p, with I and J a channel of the source and of the target:

    E = sum_p mean over channels [
              psi_d( t0 (J(p + F) - I(p))^2 )                                           brightness
            + gamma psi_d( tx (J_x(p + F) - I_x(p))^2 + ty (J_y(p + F) - I_y(p))^2 ) ]  gradients
      + alpha psi_s( |grad u|^2 + |grad v|^2 )                                          smoothness

with psi(s^2) = sqrt(s^2 + eps^2). The normalisation t = 1 / (|grad|^2 + zeta^2) turns each residual into a distance in
pixels. Brox et al. 2004 (warping, gradient constancy), Zimmer et al. 2011 (normalisation), Liu 2009 (lagged weights).
Planes are [n, h, w]; those of the source [1, h, w]. A picture is one such array per channel.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gid_jax.flow.presets import Preset

Field = tuple[Array, Array]
Picture = tuple[Array, ...]
"""Planes of each channel."""


class Weights(NamedTuple):
    """Numbers of the energy, for pictures in [0, 1] and motion in pixels of the level."""

    alpha: Array
    """weight of the smoothness"""
    gamma: Array
    """weight of the gradient constancy"""
    zeta: Array
    """gradient per pixel below which a structure counts as noise"""
    data_epsilon: Array
    """px; residuals below it are penalised quadratically"""
    smooth_epsilon: Array
    """px per px; motion gradients below it are penalised quadratically"""
    radius: Array
    """assumed spectral radius of the Jacobi iteration, in (0, 1)"""

    @classmethod
    def of(cls, preset: Preset) -> "Weights":
        """Those of the finest level."""
        return cls(*(jnp.float32(getattr(preset, name)) for name in cls._fields))


def shifted(planes: Float[Array, "n h w"], dy: int, dx: int, height: int, width: int) -> Float[Array, "n height width"]:
    return planes[:, dy : dy + height, dx : dx + width]


def pad_edge(planes: Float[Array, "n h w"], margin: int) -> Float[Array, "n h2 w2"]:
    """The border repeated `margin` times; materialised, for a compiler that fuses it pays its branches at every tap."""
    return lax.optimization_barrier(jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="edge"))


class Derivatives(NamedTuple):
    """A plane and its first and second derivatives by the five-tap filter (1, -8, 0, 8, -1) / 12."""

    value: Array
    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: Array


def derivatives(planes: Float[Array, "n h w"]) -> Derivatives:
    height, width = planes.shape[1:]
    tall, wide = height + 4, width + 4

    def along_x(p: Array, rows: int, columns: int) -> Array:
        return (
            8 * (p[:, :rows, 3 : 3 + columns] - p[:, :rows, 1 : 1 + columns])
            - (p[:, :rows, 4 : 4 + columns] - p[:, :rows, :columns])
        ) / 12

    def along_y(p: Array, rows: int, columns: int) -> Array:
        return (
            8 * (p[:, 3 : 3 + rows, :columns] - p[:, 1 : 1 + rows, :columns])
            - (p[:, 4 : 4 + rows, :columns] - p[:, :rows, :columns])
        ) / 12

    padded = pad_edge(planes, 4)
    x = along_x(padded[:, 2:-2], tall, wide)
    y = along_y(padded[:, :, 2:-2], tall, wide)
    x, y = lax.optimization_barrier((x, y))
    all_six = Derivatives(
        planes,
        shifted(x, 2, 2, height, width),
        shifted(y, 2, 2, height, width),
        along_x(x[:, 2:-2], height, width),
        along_y(x[:, :, 2:-2], height, width),
        along_y(y[:, :, 2:-2], height, width),
    )
    return lax.optimization_barrier(all_six)


def fetch(picture: Picture, field: Field) -> Picture:
    """Bilinear values of each channel at p + F(p), the border repeated.

    A TPU, whose gathers are slow, looks no further than `reach` along x and along y.
    """
    return lax.platform_dependent(picture, field, tpu=_fetch_within_reach, default=_fetch_by_gathers)


def reach(height: int, width: int) -> int:
    """px: an eighth of the shorter side."""
    return -(-min(height, width) // 8)


def _fetch_by_gathers(picture: Picture, field: Field) -> Picture:
    n, height, width = picture[0].shape
    x, y = _ends(field)
    left, top = jnp.minimum(jnp.floor(x), width - 2), jnp.minimum(jnp.floor(y), height - 2)
    fx, fy = x - left, y - top
    corner = top.astype(jnp.int32) * width + left.astype(jnp.int32)
    take = jax.vmap(lambda flat, index: flat.at[index].get(mode="promise_in_bounds"))

    def fetched(planes: Array) -> Array:
        flat = planes.reshape(n, height * width)
        a, b = take(flat, corner), take(flat, corner + 1)
        c, d = take(flat, corner + width), take(flat, corner + width + 1)
        upper, lower = a + fx * (b - a), c + fx * (d - c)
        return upper + fy * (lower - upper)

    return tuple(fetched(planes) for planes in picture)


def _fetch_within_reach(picture: Picture, field: Field) -> Picture:
    """Every pixel within reach, weighted by the bilinear tent: thousands of products, but no address is computed."""
    _, height, width = picture[0].shape
    far = reach(height, width)
    x, y = _ends(field)
    u = jnp.clip(x - jnp.arange(width, dtype=jnp.float32)[None, None, :], -far, far)
    v = jnp.clip(y - jnp.arange(height, dtype=jnp.float32)[None, :, None], -far, far)
    padded = [pad_edge(planes, far) for planes in picture]

    def tent(distance: Array) -> Array:
        return jnp.maximum(0, 1 - jnp.abs(distance))

    def add_row(i: Array, totals: Picture) -> Picture:
        rows = [lax.dynamic_slice_in_dim(p, i, height, axis=1) for p in padded]
        across = [jnp.zeros_like(total) for total in totals]
        for dx in range(-far, far + 1):
            weight = tent(u - dx)
            across = [a + weight * r[:, :, dx + far : dx + far + width] for a, r in zip(across, rows, strict=True)]
        weight = tent(v - (i - far))
        return tuple(total + weight * a for total, a in zip(totals, across, strict=True))

    return lax.fori_loop(0, 2 * far + 1, add_row, tuple(jnp.zeros_like(planes) for planes in picture))


def _ends(field: Field) -> Field:
    """p + F(p), cut at the border."""
    _, height, width = field[0].shape
    x = jnp.clip(jnp.arange(width, dtype=jnp.float32)[None, None, :] + field[0], 0, width - 1)
    y = jnp.clip(jnp.arange(height, dtype=jnp.float32)[None, :, None] + field[1], 0, height - 1)
    return x, y


def inside(field: Field) -> Bool[Array, "n h w"]:
    """True where p + F(p) lies in the picture."""
    height, width = field[0].shape[1:]
    x = jnp.arange(width, dtype=jnp.float32)[None, None, :] + field[0]
    y = jnp.arange(height, dtype=jnp.float32)[None, :, None] + field[1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def data_term(source: Sequence[Derivatives], target: Picture, field: Field, weights: Weights) -> tuple[Array, ...]:
    """J11, J12, J22, b1, b2 of the linearised data term at `field`: its gradient by (du, dv) is J d + b."""
    share = inside(field).astype(jnp.float32) / len(source)
    terms = [_channel_term(s, t, share, weights) for s, t in zip(source, fetch(target, field), strict=True)]
    return lax.optimization_barrier(tuple(sum(channels) for channels in zip(*terms, strict=True)))


def _channel_term(source: Derivatives, fetched: Array, share: Array, weights: Weights) -> tuple[Array, ...]:
    warped = derivatives(fetched)
    z, xz, yz = warped.value - source.value, warped.x - source.x, warped.y - source.y
    x, y, xx, xy, yy = (0.5 * (s + t) for s, t in zip(source[1:], warped[1:], strict=True))
    zeta, epsilon = weights.zeta**2, weights.data_epsilon**2
    scale = 1 / (x * x + y * y + zeta)
    scale_x, scale_y = 1 / (xx * xx + xy * xy + zeta), 1 / (xy * xy + yy * yy + zeta)
    first = share * scale * lax.rsqrt(scale * z * z + epsilon)
    second = share * weights.gamma * lax.rsqrt(scale_x * xz * xz + scale_y * yz * yz + epsilon)
    p, q, r = lax.optimization_barrier((first, second * scale_x, second * scale_y))
    return (
        p * x * x + q * xx * xx + r * xy * xy,
        p * x * y + q * xx * xy + r * xy * yy,
        p * y * y + q * xy * xy + r * yy * yy,
        p * x * z + q * xx * xz + r * xy * yz,
        p * y * z + q * xy * xz + r * yy * yz,
    )


def smoothness(field: Field, weights: Weights) -> tuple[Array, Array, Array, Array]:
    """Diffusivities alpha psi' on the links to the left, right, upper and lower neighbour, 0 beyond the border."""
    height, width = field[0].shape[1:]
    padded = [pad_edge(f, 1) for f in field]
    square = jnp.zeros_like(field[0])
    for p in padded:
        r, l = shifted(p, 1, 2, height, width), shifted(p, 1, 0, height, width)
        d, u = shifted(p, 2, 1, height, width), shifted(p, 0, 1, height, width)
        square = square + 0.25 * ((r - l) ** 2 + (d - u) ** 2)
    psi = weights.alpha * lax.rsqrt(square + weights.smooth_epsilon**2)
    across = 0.5 * (psi[:, :, 1:] + psi[:, :, :-1])
    down = 0.5 * (psi[:, 1:] + psi[:, :-1])
    pad = jnp.pad
    return (
        pad(across, ((0, 0), (0, 0), (1, 0))),
        pad(across, ((0, 0), (0, 0), (0, 1))),
        pad(down, ((0, 0), (1, 0), (0, 0))),
        pad(down, ((0, 0), (0, 1), (0, 0))),
    )


def relax(field: Field, tensor: tuple[Array, ...], links: tuple[Array, ...], sweeps: Array, radius: Array) -> Field:
    """Chebyshev-accelerated block Jacobi on (J + W) F = J F0 - b + sum of neighbours, from F0 = `field`."""
    height, width = field[0].shape[1:]
    j11, j12, j22, b1, b2 = tensor
    left, right, up, down = links
    total = left + right + up + down
    rhs = (j11 * field[0] + j12 * field[1] - b1, j12 * field[0] + j22 * field[1] - b2)
    a11, a22 = j11 + total, j22 + total
    inverse = 1 / (a11 * a22 - j12 * j12)
    m11, m12, m22 = a22 * inverse, -j12 * inverse, a11 * inverse

    def neighbours(f: Array) -> Array:
        p = jnp.pad(f, ((0, 0), (1, 1), (1, 1)))
        across = left * shifted(p, 1, 0, height, width) + right * shifted(p, 1, 2, height, width)
        return across + up * shifted(p, 0, 1, height, width) + down * shifted(p, 2, 1, height, width)

    def sweep(i: Array, state: tuple[Field, Field, Array]) -> tuple[Field, Field, Array]:
        (u, v), (u0, v0), omega = state
        p, q = rhs[0] + neighbours(u), rhs[1] + neighbours(v)
        new = (omega * (m11 * p + m12 * q - u0) + u0, omega * (m12 * p + m22 * q - v0) + v0)
        omega = 1 / (1 - radius**2 * jnp.where(i == 0, 0.5, 0.25 * omega))
        return new, (u, v), omega

    return lax.fori_loop(0, sweeps, sweep, (field, field, jnp.ones((), jnp.float32)))[0]


def median(planes: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
    """3 x 3 median, the border repeated: nineteen compare-exchanges (Smith 1996)."""
    height, width = planes.shape[1:]
    padded = pad_edge(planes, 1)
    p = [shifted(padded, i, j, height, width) for i in range(3) for j in range(3)]
    for i, j in (
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ):
        p[i], p[j] = jnp.minimum(p[i], p[j]), jnp.maximum(p[i], p[j])
    return p[4]


def refine(
    field: Field,
    target: Picture,
    source: Sequence[Derivatives],
    weights: Weights,
    warps: Int[Array, ""],
    sweeps: Int[Array, ""],
) -> Field:
    """Improve `field` by `warps` warps of the targets, each solved by `sweeps` sweeps at frozen weights."""

    def warp(_: Array, field: Field) -> Field:
        tensor = data_term(source, target, field, weights)
        u, v = relax(field, tensor, smoothness(field, weights), sweeps, weights.radius)
        return median(u), median(v)

    return lax.fori_loop(0, warps, warp, field)
