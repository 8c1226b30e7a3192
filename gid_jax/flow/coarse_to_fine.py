"""Dense motion of one picture towards many, coarse to fine."""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from gid_jax.flow import pyramid, solver
from gid_jax.flow.presets import PRESETS, Preset

CACHE_PIXELS = 1 << 14
"""Pixels a CPU core relaxes at once: the solver's planes (15 of 4 bytes a pixel) then stay in its cache."""
DEVICE_PIXELS = 1 << 23
"""Pixels relaxed at once on an accelerator, to bound its memory."""


Motion = Float[Array | np.ndarray, "n h w 2"]
"""(dx, dy) px of n fields."""


def estimate(
    source: Float[Array | np.ndarray, "h w 3"],
    targets: Float[Array | np.ndarray, "n h w 3"],
    preset: Literal["accurate", "fast"] = "accurate",
    initial: Motion | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Float[Array, "n h w 2"]:
    """Forward motion (dx, dy) px of every source pixel: source(p) is found at p + F_i(p) in target i.

    Pictures are float32 in [0, 1]. With `initial`, such as the motion to neighbouring frames, only the finest level is
    solved, from there. `devices` share the targets, each running the same program on its part without a word to the
    others; by default all of this process's accelerators do, and on a CPU each core takes a few targets at a time. One
    program is compiled per picture size, on an accelerator per number of targets too. Raises ValueError for arrays of
    unequal size or with a side under 8 px, and for an unknown preset.
    """
    source, targets = check(source, targets, preset)
    if initial is not None:
        initial = jnp.asarray(initial, jnp.float32)
        if initial.shape != (*targets.shape[:3], 2):
            raise ValueError(f"initial must be {(*targets.shape[:3], 2)}, got {initial.shape}")
    return search(source, targets, PRESETS[preset], PRESETS[preset].warps, initial, devices)


def check(
    source: Array | np.ndarray, targets: Array | np.ndarray, preset: str
) -> tuple[Float[Array, "h w 3"], Float[Array, "n h w 3"]]:
    """Both as float32, or the ValueError of `estimate`."""
    source, targets = jnp.asarray(source, jnp.float32), jnp.asarray(targets, jnp.float32)
    if source.ndim != 3 or source.shape[2] != 3 or targets.shape[1:] != source.shape or not len(targets):
        raise ValueError(f"source must be [h, w, 3] and targets [n, h, w, 3], got {source.shape} and {targets.shape}")
    if min(source.shape[:2]) < 8:
        raise ValueError(f"pictures must be at least 8 x 8 px, got {source.shape[1]} x {source.shape[0]}")
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: choose one of {', '.join(sorted(PRESETS))}")
    return source, targets


def search(
    source: Array,
    targets: Array,
    preset: Preset,
    warps: int,
    initial: Array | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Array:
    """`estimate` of what `check` returned, with so many warps at the finest level."""
    batch = (targets,) if initial is None else (targets, initial)
    if devices is None and jax.default_backend() == "cpu":
        return _on_cores(functools.partial(_estimate, source, jnp.int32(warps), preset=preset), batch)
    return _on_devices(source, warps, batch, preset, tuple(devices or jax.local_devices()))


def _on_cores(solve: Callable[..., Array], batch: Sequence[Array]) -> Array:
    """`solve` on parts of a size that fits a core's cache, one core each: XLA would keep so little work on one core."""
    n, height, width = batch[0].shape[:3]
    size = max(1, CACHE_PIXELS // (height * width))
    filled = [_fill(planes, size) for planes in batch]
    first, *others = ([planes[i : i + size] for planes in filled] for i in range(0, n, size))
    results = [solve(*first)]  # compiles, once
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results += pool.map(lambda part: jax.block_until_ready(solve(*part)), others)
    return jnp.concatenate(results)[:n]


def _on_devices(
    source: Array, warps: int, batch: Sequence[Array], preset: Preset, devices: tuple[jax.Device, ...]
) -> Array:
    """One program on all devices; blank pictures fill up the last one's share."""
    n = len(batch[0])
    mesh = Mesh(np.array(devices), ("targets",))
    shares = NamedSharding(mesh, P("targets"))
    parts = [jax.device_put(_fill(planes, len(devices)), shares) for planes in batch]
    everywhere = jax.device_put((source, np.int32(warps)), NamedSharding(mesh, P()))
    found = _sharded(mesh, preset)(*everywhere, *parts)
    return found if len(found) == n else found[:n]


@functools.cache
def _sharded(mesh: Mesh, preset: Preset) -> Callable[..., Array]:
    def solve(source: Array, warps: Array, *parts: Array) -> Array:
        specs = (P(), P(), *(P("targets") for _ in parts))
        one = jax.shard_map(
            functools.partial(_estimate, preset=preset),
            mesh=mesh,
            in_specs=specs,
            out_specs=P("targets"),
            check_vma=False,
        )
        return one(source, warps, *parts)

    return jax.jit(solve)


def _fill(planes: Array, multiple: int) -> Array:
    """Blank pictures added until the number is a multiple."""
    return jnp.pad(planes, ((0, -len(planes) % multiple), *((0, 0),) * (planes.ndim - 1)))


@functools.partial(jax.jit, static_argnames="preset")
def _estimate(source: Array, warps: Array, targets: Array, initial: Array | None = None, *, preset: Preset) -> Array:
    weights = solver.Weights.of(preset)
    first, others = _channels(source[None], preset.blur), _channels(targets, preset.blur)
    sizes = pyramid.level_sizes(source.shape[0], source.shape[1], preset.ratio, preset.smallest)
    if initial is None:
        field = jnp.zeros((len(targets), *sizes[0]), jnp.float32), jnp.zeros((len(targets), *sizes[0]), jnp.float32)
    else:
        field, sizes = (initial[..., 0], initial[..., 1]), sizes[-1:]
    for i, (height, width) in enumerate(sizes):
        coarseness = len(sizes) - 1 - i
        channels = slice(1, 4) if coarseness < preset.colour_levels else slice(0, 1)
        growth = (source.shape[0] / height) ** preset.growth
        refine = functools.partial(
            solver.refine,
            source=[solver.derivatives(pyramid.resize_planes(p, height, width)) for p in first[channels]],
            weights=weights._replace(alpha=growth * weights.alpha, gamma=growth * weights.gamma),
            warps=(warps if coarseness == 0 else jnp.int32(preset.warps)) + preset.extra_warps * coarseness,
            sweeps=jnp.int32(preset.sweeps),
        )
        field = pyramid.resize_field(field, height, width)
        field = _by_chunks(refine, field, tuple(pyramid.resize_planes(t, height, width) for t in others[channels]))
    return jnp.stack(field, axis=-1)


def _channels(pictures: Array, blur: float) -> tuple[Array, ...]:
    """Luminance, red, green and blue planes."""
    red, green, blue = pyramid.colours(pictures, blur)
    return 0.299 * red + 0.587 * green + 0.114 * blue, red, green, blue


def _by_chunks(
    refine: Callable[[solver.Field, solver.Picture], solver.Field], field: solver.Field, targets: solver.Picture
) -> solver.Field:
    """`refine` on equal parts of the targets, one after the other; blank pictures fill up the last part."""
    n, height, width = targets[0].shape
    parts = -(-n // max(1, DEVICE_PIXELS // (height * width)))
    size = -(-n // max(parts, 1))
    if parts <= 1:
        return refine(field, targets)
    split = [_fill(p, parts * size).reshape(parts, size, height, width) for p in (*field, *targets)]
    u, v = lax.map(lambda part: refine((part[0], part[1]), tuple(part[2:])), split)
    return u.reshape(-1, height, width)[:n], v.reshape(-1, height, width)[:n]


def consistency(forward: Motion, backward: Motion) -> Float[Array, "n h w"]:
    """|F(p) + B(p + F(p))| px: how far a pixel misses itself after going to the target and back.

    `backward` is the motion of each target's pixels to the source; it is read bilinearly, its border repeated.
    """
    missed, _ = _round_trip(forward, backward)
    return jnp.sqrt(missed)


def occlusion(forward: Motion, backward: Motion) -> Bool[Array, "n h w"]:
    """True where a source pixel is hidden in the target or leaves the picture.

    |F + B|^2 > 0.01 (|F|^2 + |B|^2) + 0.5 px^2 with B read at p + F(p) (Sundaram et al. 2010).
    """
    missed, length = _round_trip(forward, backward)
    return (missed > 0.01 * length + 0.5) | ~solver.inside((jnp.asarray(forward[..., 0]), jnp.asarray(forward[..., 1])))


def _round_trip(forward: Motion, backward: Motion) -> tuple[Array, Array]:
    """|F + B|^2 and |F|^2 + |B|^2, px^2, [n, h, w]."""
    forward, backward = jnp.asarray(forward), jnp.asarray(backward)
    u, v = forward[..., 0], forward[..., 1]
    back_u, back_v = solver.fetch((backward[..., 0], backward[..., 1]), (u, v))
    return (u + back_u) ** 2 + (v + back_v) ** 2, u**2 + v**2 + back_u**2 + back_v**2
