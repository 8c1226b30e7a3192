"""Anti-aliased drawing of layer textures, in picture widths, on PIL at several times the picture's resolution."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TEXELS = 2  # texture samples per picture pixel, each way
STROKES = 3  # drawn samples per texture sample, each way

Color = tuple[float, ...]  # RGB in [0, 1]


class Canvas:
    """An empty transparent sheet over box (x0, y0, x1, y1) in picture widths, to be rendered at `width` px a width."""

    def __init__(self, box: tuple[float, float, float, float], width: int):
        self.width = width
        x0, y0, x1, y1 = (edge * width for edge in box)
        left, top = int(np.floor(x0)) - 2, int(np.floor(y0)) - 2
        columns, rows = int(np.ceil(x1)) + 2 - left, int(np.ceil(y1)) + 2 - top
        self.origin = (left, top)  # px, corner of the first texel
        self.scale = TEXELS * STROKES
        self.sheet = Image.new("RGBA", (columns * self.scale, rows * self.scale))
        self.draw = ImageDraw.Draw(self.sheet)

    def _place(self, points: np.ndarray) -> list[tuple[float, float]]:
        placed = (np.asarray(points, np.float64) * self.width - self.origin) * self.scale - 0.5
        return list(map(tuple, placed.tolist()))

    def polygon(self, points: np.ndarray, color: Color) -> None:
        """Fills the outline [n, 2]."""
        self.draw.polygon(self._place(points), fill=_bytes(color))

    def disc(self, center: np.ndarray, radius: float | tuple[float, float], color: Color) -> None:
        """Fills a circle, or an ellipse with two radii."""
        radii = np.broadcast_to(np.asarray(radius, np.float64), 2)
        (corner, opposite) = self._place(np.stack([center - radii, center + radii]))
        self.draw.ellipse([corner, opposite], fill=_bytes(color))

    def stroke(self, points: np.ndarray, widths: float | np.ndarray, color: Color) -> None:
        """A line through points [n, 2] whose width varies: scalar or [n]."""
        points = np.asarray(points, np.float64)
        tangent = np.concatenate([points[1:2] - points[:1], points[2:] - points[:-2], points[-1:] - points[-2:-1]])
        normal = tangent[:, ::-1] * (-1, 1) / np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
        half = np.broadcast_to(widths, len(points))[:, None] / 2 * normal
        self.polygon(np.concatenate([points + half, (points - half)[::-1]]), color)

    def fans(self, outlines: np.ndarray, colors: np.ndarray) -> None:
        """Fills many outlines [n, p, 2] in turn, with colours [n, 3]."""
        placed = (outlines * self.width - self.origin) * self.scale - 0.5
        fills = np.round(np.clip(colors, 0, 1) * 255).astype(int).tolist()
        for outline, (r, g, b) in zip(placed.reshape(len(placed), -1).tolist(), fills, strict=True):
            self.draw.polygon(outline, fill=(r, g, b, 255))

    def texture(self, blur: float = 0.0) -> np.ndarray:
        """Premultiplied RGBA [4, h, w] in [0, 1] at TEXELS per px; blur is a radius in widths."""
        image = self.sheet.convert("RGBa").reduce(STROKES).filter(ImageFilter.BoxBlur(0.5))
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(float(blur) * self.width * TEXELS))
        return np.ascontiguousarray(np.moveaxis(np.asarray(image), -1, 0), np.float32) / np.float32(255)


def _bytes(color: Color) -> tuple[int, int, int, int]:
    r, g, b = (round(255 * min(max(value, 0.0), 1.0)) for value in color)
    return r, g, b, 255


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float], octaves: int = 5
) -> np.ndarray:
    """Smooth noise [h, w] of zero mean and unit variance, whose coarsest octave has `cells` (down, across).

    The same generator state gives the same picture at every resolution.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(2, round(n * 2**octave)) + 2 for n in cells)
        grid = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
        if rows > 2 * shape[0] or columns > 2 * shape[1]:
            continue
        box = (1, 1, columns - 1, rows - 1)
        total += 0.55**octave * np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))
    return (total - total.mean()) / max(float(total.std()), 1e-6)
