"""Motion along a clip: what the search lost in one frame is taken over from the frame before."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from gid_jax.flow import pyramid, solver
from gid_jax.flow.coarse_to_fine import check, search
from gid_jax.flow.presets import PRESETS, Preset

SHARE, MARGIN = 0.9, 0.001
"""Motion is taken over where the pictures then differ by less than so much of what they did, and by less than that."""
RANGE = 0.1
"""Differences of pictures, which are in [0, 1], count no more than this."""
WINDOW = 5
"""px; differences are averaged over so large a square"""


def follow(
    source: Float[Array | np.ndarray, "h w 3"],
    targets: Float[Array | np.ndarray, "n h w 3"],
    preset: Literal["accurate", "fast"] = "accurate",
    devices: Sequence[jax.Device] | None = None,
) -> Float[Array, "n h w 2"]:
    """`estimate` for the frames of a clip that begins with `source`, in their order; the same arguments and errors.

    Each frame is searched by itself, but for the last warp. Where the motion of the frame before, carried on at its
    speed, fits the pictures better, that is taken over; then comes the last warp. So a thin thing is found that moves
    by more than its width since the source, but by less from frame to frame. The frames go one after the other here, on
    the first of the devices.
    """
    source, targets = check(source, targets, preset)
    motion = search(source, targets, PRESETS[preset], PRESETS[preset].warps - 1, devices=devices)
    one = devices[0] if devices else jax.local_devices()[0]
    return _follow(*jax.device_put((source, targets, motion), one), preset=PRESETS[preset])


@functools.partial(jax.jit, static_argnames="preset")
def _follow(source: Array, targets: Array, motion: Array, *, preset: Preset) -> Array:
    weights = solver.Weights.of(preset)
    first, others = (pyramid.colours(pictures, preset.blur) for pictures in (source[None], targets))
    fixed = [solver.derivatives(channel) for channel in first]

    def take_over(
        before: tuple[solver.Field, solver.Field], frame: tuple[Array, ...]
    ) -> tuple[tuple[solver.Field, solver.Field], solver.Field]:
        last, earlier = before
        *target, u, v = (plane[None] for plane in frame)
        onwards = 2 * last[0] - earlier[0], 2 * last[1] - earlier[1]
        better = _misfit(first, tuple(target), onwards) < SHARE * _misfit(first, tuple(target), (u, v)) - MARGIN
        field = jnp.where(better, onwards[0], u), jnp.where(better, onwards[1], v)
        # A loop of one: XLA compiles the body of a loop as it does in the search, and half as fast outside of one.
        field = solver.refine(field, tuple(target), fixed, weights, jnp.int32(1), jnp.int32(preset.sweeps))
        return (field, last), (field[0][0], field[1][0])

    still = jnp.zeros_like(first[0]), jnp.zeros_like(first[0])
    field = lax.scan(take_over, (still, still), (*others, motion[..., 0], motion[..., 1]))[1]
    return jnp.stack(field, axis=-1)


def _misfit(source: solver.Picture, target: solver.Picture, field: solver.Field) -> Float[Array, "n h w"]:
    """Mean difference of the pictures along the motion around each pixel; outside of the target the largest."""
    pairs = zip(solver.fetch(target, field), source, strict=True)
    difference = jnp.stack([jnp.minimum(jnp.abs(a - b), RANGE) for a, b in pairs]).mean(axis=0)
    difference = jnp.where(solver.inside(field), difference, RANGE)
    height, width = difference.shape[1:]
    padded = solver.pad_edge(difference, WINDOW // 2)
    rows = jnp.stack([padded[:, i : i + height] for i in range(WINDOW)]).mean(axis=0)
    return jnp.stack([rows[:, :, i : i + width] for i in range(WINDOW)]).mean(axis=0)
