"""From a picture and its motion to frames: one place for photos, evaluation and benchmarks.

A large picture is rendered in tiles, each with as much around it as can matter to what is shown of it: how far pixels
move, how far the decoder sees, and for the features how far the encoder sees. Tiles together equal the whole.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, UInt8

from gid_jax.models.network import Network, Params
from gid_jax.models.renderer import Encoded, Renderer

TILE = 1_250_000  # pixels that are rendered at once
SHARE = 0.65  # of that in a tile of a larger picture, which takes memory itself
TOGETHER = 8  # frames of one call
CANVAS = 110_000_000  # bytes that they may take


def render(
    network: Network[Renderer],
    params: Params,
    image: Float[ArrayLike, "h w 3"],
    motions: Iterable[Float[ArrayLike, "H W 2"]],
    weight: Float[ArrayLike, "h w"],
    tile: int = TILE,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """A frame of the picture `image` ([0, 1]) for each of `motions`.

    A motion is F_t in pixels of its own resolution, which may be another than the picture's; `weight` is W, the mean
    over the clip of |F_t|, in pixels of the picture. About `tile` pixels are rendered at once, so that memory does not
    grow with the number of frames, and with the picture's size by its own pixels only. The next frames are made while
    the caller works on some.
    """
    scene = _Scene(network, params, np.asarray(image, np.float32), np.asarray(weight, np.float32), tile)
    together = int(np.clip(CANVAS // (3 * scene.height * scene.width), 1, TOGETHER))
    ahead: _Job | None = None
    for fields in _groups(motions, together):
        canvas = np.empty((len(fields), scene.height, scene.width, 3), np.uint8)
        filled = np.pad(fields, [(0, together - len(fields)), *[(0, 0)] * 3])  # one compiled size
        tiles = scene.tiles(fields)
        for number, (rows, columns) in enumerate(tiles, 1):
            if ahead is not None and len(tiles) > 1:  # one tile's memory, not two
                jax.block_until_ready(ahead.frames)
            job = _Job(canvas, rows, columns, scene.render(rows, columns, filled, len(fields)), number == len(tiles))
            if ahead is not None:
                yield from ahead.finish()
            ahead = job
    if ahead is not None:
        yield from ahead.finish()


class Window(NamedTuple):
    """A tile along one axis."""

    start: int
    """first pixel that is rendered"""
    size: int
    """how many are"""
    first: int
    """first pixel that is shown"""
    end: int
    """past the last one"""


class _Job(NamedTuple):
    """Frames of one tile in the making."""

    canvas: np.ndarray
    rows: Window
    columns: Window
    frames: Array
    last: bool  # of these frames

    def finish(self) -> Iterator[np.ndarray]:
        """Puts them in place; yields the frames whose last tile this is."""
        shown = self.canvas[:, self.rows.first : self.rows.end, self.columns.first : self.columns.end]
        top, left = self.rows.first - self.rows.start, self.columns.first - self.columns.start
        shown[:] = np.asarray(self.frames)[: len(shown), top:, left:][:, : shown.shape[1], : shown.shape[2]]
        if self.last:
            yield from self.canvas


class _Scene:
    """What all frames of a picture share. `image` and `weight` are padded to multiples of the renderer's stride."""

    def __init__(self, network: Network[Renderer], params: Params, image: np.ndarray, weight: np.ndarray, limit: int):
        self.height, self.width = image.shape[:2]
        self._network, self._params, self._limit = network, params, int(SHARE * limit)
        renderer = network.bind(params)
        self._stride, self._reach, self._features_reach = renderer.stride, renderer.reach, renderer.features_reach
        pad = [(0, -side % self._stride) for side in image.shape[:2]]
        odd = any(after for _, after in pad)  # else the copies, of large pictures, are spared
        self._image = np.pad(image, [*pad, (0, 0)], mode="reflect") if odd else image
        self._weight = np.pad(weight, pad, mode="reflect") if odd else weight
        self._size = self._weight.shape
        self._encoded: Encoded | None = None
        self._pooled: Array | None = None
        if self._weight.size <= limit:
            self._encoded = self._encode(*self._whole())
        else:
            self._pooled = self._mean_features()

    def tiles(self, fields: np.ndarray) -> list[tuple[Window, Window]]:
        """Rows and columns of the tiles that motions [n, h, w, 2] need."""
        if self._encoded is not None:
            return [self._whole()]
        across, down = np.abs(fields).max(axis=(0, 1, 2)) * self._scale(fields)
        margins = self._multiple(self._reach + down), self._multiple(self._reach + across)
        return list(itertools.product(*cut(self._size, margins, self._limit, self._stride)))

    def render(self, rows: Window, columns: Window, fields: np.ndarray, count: int) -> Array:
        """The first `count` frames, uint8 [n, rows.size, columns.size, 3]."""
        place = np.s_[rows.start : rows.start + rows.size, columns.start : columns.start + columns.size]
        encoded = self._encode(rows, columns) if self._encoded is None else self._encoded
        resample = [
            _resampling(small, side, whole)[window.start : window.start + window.size]
            for small, side, whole, window in zip(
                fields.shape[1:3], (self.height, self.width), self._size, (rows, columns), strict=True
            )
        ]
        # Importance falls by the width (`splat`), here that of the tile.
        weight = self._weight[place] * np.float32(columns.size / self._size[1])
        fields = fields * self._scale(fields)
        return _render(self._network, self._params, encoded, self._image[place], weight, *resample, fields, count)

    def _whole(self) -> tuple[Window, Window]:
        height, width = self._size
        return Window(0, height, 0, height), Window(0, width, 0, width)

    def _multiple(self, pixels: float) -> int:
        return self._stride * int(np.ceil(pixels / self._stride))

    def _scale(self, fields: np.ndarray) -> np.ndarray:
        """(x, y): pixels of the picture to one of the motions'."""
        return np.asarray([self.width / fields.shape[2], self.height / fields.shape[1]], np.float32)

    def _encode(self, rows: Window, columns: Window) -> Encoded:
        around, offset = [], []
        for window, length in zip((rows, columns), self._size, strict=True):
            size = min(length, window.size + 2 * self._features_reach)
            start = int(np.clip(window.start - self._features_reach, 0, length - size))
            around.append(slice(start, start + size))
            offset.append(window.start - start)
        size = rows.size, columns.size
        encoded = _encode(self._network, size, self._params, self._image[tuple(around)], np.asarray(offset, np.int32))
        return encoded if self._pooled is None else encoded._replace(pooled=self._pooled)

    def _mean_features(self) -> Array:
        """`Encoded.pooled` of a picture that is too large to be encoded at once."""
        total = 0.0
        for rows, columns in itertools.product(*cut(self._size, (0, 0), self._limit, self._stride)):
            inner = [
                slice((w.first - w.start) // self._stride, (w.end - w.start) // self._stride) for w in (rows, columns)
            ]
            total += np.asarray(self._encode(rows, columns).pyramid[-1], np.float64)[0][tuple(inner)].sum(axis=(0, 1))
        count = self._size[0] * self._size[1] // self._stride**2
        return jnp.asarray(total / count, jnp.float32)[None]


def cut(size: tuple[int, int], margins: tuple[int, int], limit: int, stride: int) -> tuple[list[Window], list[Window]]:
    """Windows over rows and over columns whose tiles have about `limit` pixels, with the least rendered in all.

    Sizes and margins are multiples of `stride`. Where `limit` leaves no room between margins, tiles are larger.
    """
    height, width = size
    best: tuple[int, list[Window], list[Window]] | None = None
    for parts in range(1, 1 + max(1, width // max(stride, 2 * margins[1]))):
        across = min(width, stride * -(-(width // parts + 2 * margins[1]) // stride))
        down = min(height, limit // across // stride * stride)
        if down < min(height, 2 * margins[0] + stride):
            continue
        rows, columns = windows(height, down, margins[0], stride), windows(width, across, margins[1], stride)
        cost = len(rows) * len(columns) * down * across
        if best is None or cost < best[0]:
            best = cost, rows, columns
    return best[1:] if best else cut(size, margins, 2 * limit, stride)


def windows(length: int, size: int, margin: int, stride: int) -> list[Window]:
    """Windows of one size that show each pixel once, `margin` pixels from their ends where more is beyond."""
    found = [Window(0, size, 0, length if size >= length else size - margin)]
    while found[-1].end < length:
        start = min(found[-1].end - margin, length - size)
        end = length if start + size == length else start + size - margin
        found.append(Window(start, size, found[-1].end, end))
    return found


def _groups(motions: Iterable[ArrayLike], together: int) -> Iterator[np.ndarray]:
    iterator = iter(motions)
    while group := list(itertools.islice(iterator, together)):
        yield np.stack([np.asarray(field, np.float32) for field in group])


@functools.lru_cache(maxsize=4)
def _resampling(small: int, side: int, padded: int) -> np.ndarray:
    """Bilinear resizing along one axis as a matrix [padded, small]; beyond `side` it is reflected."""
    with jax.ensure_compile_time_eval():
        matrix = jax.image.resize(jnp.eye(small), (side, small), "linear")
    return np.pad(np.asarray(matrix), [(0, padded - side), (0, 0)], mode="reflect")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode(network: Network[Renderer], size: tuple[int, int], params: Params, image: Array, offset: Array) -> Encoded:
    """Of `image` [h, w, 3] the part of `size` at `offset`."""
    encoded = network.bind(params).encode(image[None])

    def part(x: Array) -> Array:
        factor = image.shape[0] // x.shape[1]
        y, x_ = offset // factor
        return lax.dynamic_slice(x, (0, y, x_, 0), (1, size[0] // factor, size[1] // factor, x.shape[-1]))

    return encoded._replace(pyramid=[part(level) for level in encoded.pyramid], slopes=part(encoded.slopes))


@functools.partial(jax.jit, static_argnums=0)
def _render(
    network: Network[Renderer],
    params: Params,
    encoded: Encoded,
    image: Array,
    weight: Array,
    rows: Array,
    columns: Array,
    fields: Array,
    count: Array,
) -> Array:
    """One frame after the other, so that all use the same memory: the system takes longer to give it than a frame."""
    renderer = network.bind(params)

    def frame(number: Array, frames: Array) -> Array:
        precision = lax.Precision.HIGHEST
        tall = jnp.einsum("yh,hwc->ywc", rows, fields[number], precision=precision)
        motion = jnp.einsum("ywc,xw->yxc", tall, columns, precision=precision)
        colours = renderer.render(encoded, image[None], motion[None], weight[None])[0]
        return frames.at[number].set(jnp.round(255 * jnp.clip(colours, 0, 1)).astype(jnp.uint8))

    return lax.fori_loop(0, count, frame, jnp.zeros((len(fields), *image.shape), jnp.uint8))
