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
    """Frames uint8 [t, h, w, 3] and the number of the topmost layer, 0 for the background, [h * w, t]."""
    height, width, _ = background.shape
    picture = np.repeat(background.reshape(-1, 3).T[:, :, None], num_frames, axis=2).astype(np.float32)
    top = np.zeros((height * width, num_frames), np.uint8)
    for number, layer in enumerate(layers, start=1):
        inverse = layer.grid.inverse(layer.displacement).astype(np.float32)
        texture = layer.texture.reshape(4, -1)
        touched = _touched(layer, inverse, height, width)
        for pixels in np.array_split(touched, range(CHUNK, len(touched), CHUNK)):
            index, along_x, along_y = _look_up(layer, inverse, pixels, width)
            r, g, b, alpha = (_bilinear(channel, index, along_x, along_y, layer.texture.shape[2]) for channel in texture)
            through = 1 - alpha
            for channel, color in zip(picture, (r, g, b), strict=True):
                channel[pixels] = channel[pixels] * through + color
            top[pixels] = np.where(alpha > 0.5, np.uint8(number), top[pixels])
    frames = np.empty((num_frames, height * width, 3), np.uint8)
    for c, channel in enumerate(picture):
        frames[:, :, c] = np.clip(channel * 255 + 0.5, 0, 255).astype(np.uint8).T
    return frames.reshape(num_frames, height, width, 3), top


def _touched(layer: Layer, inverse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Indices of the pixels that the layer reaches at any time: its alpha, grown by the range of its displacement."""
    x0, y0, x1, y1 = layer.grid.box
    corners = np.stack(np.meshgrid(np.linspace(x0, x1, 5), np.linspace(y0, y1, 5)), -1).reshape(-1, 2)
    moves = np.tensordot(inverse, layer.grid.basis(corners), (1, 1))
    low, high = np.floor(moves.min((0, 2))).astype(int) - 1, np.ceil(moves.max((0, 2))).astype(int) + 1
    rows, columns = (size // TEXELS for size in layer.texture.shape[1:])
    drawn = layer.texture[3].reshape(rows, TEXELS, columns, TEXELS).max((1, 3)) > 0
    wide = np.zeros((rows, columns + high[0] - low[0]), bool)
    for shift in range(high[0] - low[0] + 1):
        wide[:, shift : shift + columns] |= drawn
    grown = np.zeros((rows + high[1] - low[1], wide.shape[1]), bool)
    for shift in range(high[1] - low[1] + 1):
        grown[shift : shift + rows] |= wide
    y, x = np.nonzero(grown)
    x, y = x + layer.origin[0] + low[0], y + layer.origin[1] + low[1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return y[inside] * width + x[inside]


def _look_up(layer: Layer, inverse: np.ndarray, pixels: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First texel (flat) and fractions, each [n, t], of the material seen at the pixels."""
    position = np.stack([pixels % width, pixels // width], -1)
    weights = layer.grid.basis(position.astype(np.float64)).astype(np.float32)
    _, rows, columns = layer.texture.shape
    start, fractions = 0, []
    for axis, (limit, stride) in enumerate(((columns, 1), (rows, columns))):
        shifted = position[:, axis, None].astype(np.float32) + np.float32(0.5 - layer.origin[axis])
        texel = (shifted - weights @ inverse[..., axis].T) * np.float32(TEXELS) - np.float32(0.5)
        np.clip(texel, 0, limit - 1.001, out=texel)
        first = texel.astype(np.int64)
        fractions.append(texel - first)
        start = start + first * stride
    return start, fractions[0], fractions[1]


def _bilinear(channel: np.ndarray, index: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, stride: int) -> np.ndarray:
    upper = channel.take(index, mode="clip")
    upper += along_x * (channel.take(index + 1, mode="clip") - upper)
    lower = channel.take(index + stride, mode="clip")
    lower += along_x * (channel.take(index + (stride + 1), mode="clip") - lower)
    return upper + along_y * (lower - upper)


def trace(layers: list[Layer], top: np.ndarray, shape: tuple[int, int], num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact trajectories [t, h, w, 2] of the pixels of frame 0, and whether each is visible [t, h, w].

    A pixel belongs to the topmost layer with alpha above one half there; its material m solves m + D(0, m) = p, and
    F(t, p) = D(t, m) - D(0, m). It is visible while inside the picture and not under a nearer layer, whose edge is
    taken where half of the four pixels around (by bilinear weight) are covered.
    """
    height, width = shape
    trajectories = np.zeros((num_frames, height * width, 2), np.float32)
    for number, layer in enumerate(layers, start=1):
        pixels = np.flatnonzero(top[:, 0] == number)
        if not len(pixels):
            continue
        place = np.stack([pixels % width, pixels // width], -1).astype(np.float64)
        material = place
        for _ in range(40):
            material = place - layer.grid.basis(material) @ layer.displacement[0]
        weights = layer.grid.basis(material)
        moved = np.moveaxis(np.tensordot(weights, layer.displacement[:num_frames], (1, 1)), 0, 1)
        trajectories[:, pixels] = moved - moved[:1]
    x, y = np.arange(height * width) % width + trajectories[..., 0], np.arange(height * width) // width + trajectories[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, above = x.astype(np.int64), y.astype(np.int64)
    x, y = x - left, y - above
    owner, time = top[:, 0], np.arange(num_frames)[:, None]
    covered = np.zeros(x.shape, np.float32)
    for below, beside, share in ((0, 0, (1 - y) * (1 - x)), (0, 1, (1 - y) * x), (1, 0, y * (1 - x)), (1, 1, y * x)):
        covered += share * (top[(above + below) * width + left + beside, time] > owner)
    visible = inside & (covered <= 0.5)
    return trajectories.reshape(num_frames, height, width, 2), visible.reshape(num_frames, height, width)
