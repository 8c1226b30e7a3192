"""Layers to frames, exact trajectories and visibility."""

from dataclasses import dataclass

import numpy as np

from data_pipeline.procedural.canvas import TEXELS
from data_pipeline.procedural.field import Grid

CHUNK = 192  # pixels whose whole time lines are worked on at once: fits the cache


@dataclass(frozen=True)
class Layer:
    """A texture in its rest pose and how it is displaced. Later layers are nearer."""

    texture: np.ndarray  # [4, h, w] premultiplied RGBA, TEXELS per px
    origin: tuple[int, int]  # px, corner of the first texel
    grid: Grid  # px
    displacement: np.ndarray  # [t, n, 2] px at the grid's nodes


def compose(background: np.ndarray, layers: list[Layer], num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [t, h, w, 3] and the number of the topmost layer, 0 for the background, [h * w, t].

    From front to back, so that what is hidden all the time costs nothing.
    """
    height, width, _ = background.shape
    picture = np.zeros((3, height * width, num_frames), np.float32)
    through = np.ones((height * width, num_frames), np.float32)  # of the light from behind
    seen = np.ones(height * width, bool)
    top = np.zeros((height * width, num_frames), np.uint8)
    for number, layer in reversed(list(enumerate(layers, start=1))):
        inverse = layer.grid.inverse(layer.displacement).astype(np.float32)
        axes = [layer.grid.along(axis, np.arange(size)).astype(np.float32) for axis, size in enumerate((width, height))]
        texture, stride = layer.texture.reshape(4, -1), layer.texture.shape[2]
        drawn = np.pad((layer.texture[3] > 0).cumsum(0, np.int32).cumsum(1, np.int32), ((1, 0), (1, 0)))
        touched = _touched(layer, inverse, height, width)
        touched = touched[seen[touched]]
        for start in range(0, len(touched), CHUNK):
            pixels = touched[start : start + CHUNK]
            place = pixels % width, pixels // width
            weights = (axes[0][place[0], :, None] * axes[1][place[1], None, :]).reshape(len(pixels), -1)
            texels = [_texels(layer, axis, place[axis], weights @ inverse[..., axis].T) for axis in (0, 1)]
            crossed = _crossed(drawn, *texels)
            pixels, (u, v) = pixels[crossed], (texel[crossed] for texel in texels)
            left, above = u.astype(np.int64), v.astype(np.int64)
            tap = above * stride + left, u - left, v - above, stride
            alpha, light = _bilinear(texture[3], *tap), through[pixels]
            for channel, color in zip(picture, texture, strict=False):
                channel[pixels] += light * _bilinear(color, *tap)
            covered = top[pixels]
            top[pixels] = np.where((alpha > 0.5) & (covered == 0), np.uint8(number), covered)
            light *= 1 - alpha
            through[pixels] = light
            seen[pixels] = light.max(1, initial=0) > 1 / 512
    frames = np.empty((num_frames, height * width, 3), np.uint8)
    for c, channel in enumerate(picture):
        channel += through * background.reshape(-1, 3)[:, c, None]
        frames[:, :, c] = np.clip(channel * 255 + 0.5, 0, 255).astype(np.uint8).T
    return frames.reshape(num_frames, height, width, 3), top


def _touched(layer: Layer, inverse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Indices of the pixels that the layer may reach: the box of its drawing grown by the range of its displacement."""
    x0, y0, x1, y1 = layer.grid.box
    corners = np.stack(np.meshgrid(np.linspace(x0, x1, 5), np.linspace(y0, y1, 5)), -1).reshape(-1, 2)
    moves = np.tensordot(inverse, layer.grid.basis(corners), (1, 1))
    low, high = np.floor(moves.min((0, 2))).astype(int) - 1, np.ceil(moves.max((0, 2))).astype(int) + 1
    rows, columns = (np.flatnonzero(layer.texture[3].any(axis)) // TEXELS for axis in (1, 0))
    if not len(rows):
        return np.empty(0, np.int64)
    y = np.arange(max(0, rows[0] + layer.origin[1] + low[1]), min(height, rows[-1] + layer.origin[1] + high[1] + 1))
    x = np.arange(
        max(0, columns[0] + layer.origin[0] + low[0]), min(width, columns[-1] + layer.origin[0] + high[0] + 1)
    )
    return (y[:, None] * width + x).reshape(-1)


def _texels(layer: Layer, axis: int, place: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Texel coordinate [n, t] of the material at pixel coordinates [n] whose inverse displacement is [n, t] px."""
    texels = (place[:, None] + np.float32(0.5 - layer.origin[axis]) - shift) * np.float32(TEXELS) - np.float32(0.5)
    return np.clip(texels, 0, np.float32(layer.texture.shape[2 - axis] - 1.001), dtype=np.float32, casting="same_kind")


def _crossed(drawn: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which of the paths u, v [n, t] have something drawn in their bounding box, by sums over the texture's corner."""
    left, above = u.min(1).astype(np.int64), v.min(1).astype(np.int64)
    right, below = u.max(1).astype(np.int64) + 2, v.max(1).astype(np.int64) + 2
    return drawn[below, right] - drawn[above, right] - drawn[below, left] + drawn[above, left] > 0


def _bilinear(
    channel: np.ndarray, index: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, stride: int
) -> np.ndarray:
    upper = channel.take(index, mode="clip")
    upper += along_x * (channel.take(index + 1, mode="clip") - upper)
    lower = channel.take(index + stride, mode="clip")
    lower += along_x * (channel.take(index + (stride + 1), mode="clip") - lower)
    return upper + along_y * (lower - upper)


def trace(
    layers: list[Layer], top: np.ndarray, shape: tuple[int, int], num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Exact trajectories [t, h, w, 2] of the pixels of frame 0, and whether each is visible [t, h, w].

    A pixel belongs to the topmost layer with alpha above one half there; its material m solves m + D(0, m) = p, and
    F(t, p) = D(t, m) - D(0, m). It is visible while inside the picture and not under a nearer layer, whose edge is
    taken where half of the four pixels around (by bilinear weight) are covered.
    """
    owner = top[:, 0]
    trajectories = follow(layers, owner, shape, num_frames)
    visible = (top[:, :num_frames] <= owner[:, None]).T
    moving = np.flatnonzero(owner)
    visible[:, moving] = _uncovered(trajectories.reshape(num_frames, -1, 2)[:, moving], moving, top, shape)
    return trajectories, visible.reshape(num_frames, *shape)


def follow(layers: list[Layer], owner: np.ndarray, shape: tuple[int, int], num_frames: int) -> np.ndarray:
    """The trajectories of `trace`, of pixels whose topmost layers in frame 0 are `owner` [h * w]."""
    height, width = shape
    trajectories = np.zeros((num_frames, height * width, 2), np.float32)
    for number, layer in enumerate(layers, start=1):
        pixels = np.flatnonzero(owner == number)
        if not len(pixels):
            continue
        place = np.stack([pixels % width, pixels // width], -1).astype(np.float64)
        material = place - layer.grid.inverse(layer.displacement[0], place, tolerance=1e-5)
        weights = layer.grid.basis(material)
        moved = np.moveaxis(np.tensordot(weights, layer.displacement[:num_frames], (1, 1)), 0, 1)
        trajectories[:, pixels] = moved - moved[:1]
    return trajectories.reshape(num_frames, height, width, 2)


def _uncovered(moved: np.ndarray, pixels: np.ndarray, top: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[t, n]: whether what started at the pixels and has moved by [t, n, 2] is in sight."""
    height, width = shape
    x, y = pixels % width + moved[..., 0], pixels // width + moved[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, above = x.astype(np.int64), y.astype(np.int64)
    x, y = x - left, y - above
    times = top.shape[1]
    start = (above * width + left) * times + np.arange(len(moved))[:, None]
    covered = np.zeros(x.shape, np.float32)
    for step, share in ((0, (1 - y) * (1 - x)), (1, (1 - y) * x), (width, y * (1 - x)), (width + 1, y * x)):
        covered += share * (top.reshape(-1).take(start + step * times, mode="clip") > top[pixels, 0])
    return inside & (covered <= 0.5)
