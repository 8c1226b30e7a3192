"""What every element of a scene shares: the picture's size, the light and its colours, the wind, the layers so far."""

import colorsys
from dataclasses import dataclass, field

import numpy as np

from data_pipeline.procedural.canvas import TEXELS, Canvas, Color, fractal
from data_pipeline.procedural.compositor import Layer
from data_pipeline.procedural.field import Grid, Motion
from data_pipeline.procedural.wind import Wind

MARGIN = 0.04  # widths around a layer's drawing for which its field is defined


@dataclass(frozen=True)
class Light:
    """The hour of the day: what light and shade do to a colour, and the colours of the sky."""

    sun: Color
    shade: Color
    sky: tuple[Color, Color]  # top, horizon

    def on(self, color: Color, level: float = 1.0) -> Color:
        """`color` in shade (level 0) to full sun (1); above 1 it shines."""
        factors = (dark * (1 - level) + bright * level for dark, bright in zip(self.shade, self.sun, strict=True))
        return tuple(min(channel * factor, 1.0) for channel, factor in zip(color, factors, strict=True))

    def over(self, colors: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """`on` for colours [n, 3] and levels [n]."""
        levels = levels[:, None]
        return colors * (np.asarray(self.shade) * (1 - levels) + np.asarray(self.sun) * levels)


HOURS = {
    "morning": Light((1.06, 1.0, 0.88), (0.50, 0.56, 0.66), ((0.50, 0.68, 0.86), (0.96, 0.90, 0.78))),
    "noon": Light((1.08, 1.06, 1.0), (0.46, 0.52, 0.58), ((0.26, 0.52, 0.82), (0.74, 0.87, 0.95))),
    "golden": Light((1.16, 0.96, 0.70), (0.50, 0.42, 0.46), ((0.45, 0.52, 0.70), (1.0, 0.80, 0.52))),
    "overcast": Light((0.92, 0.95, 0.97), (0.58, 0.62, 0.66), ((0.66, 0.71, 0.76), (0.86, 0.88, 0.88))),
    "dusk": Light((0.88, 0.70, 0.72), (0.36, 0.32, 0.48), ((0.22, 0.22, 0.44), (0.96, 0.56, 0.44))),
    "night": Light((0.60, 0.56, 0.60), (0.20, 0.20, 0.30), ((0.03, 0.04, 0.10), (0.12, 0.12, 0.22))),
}


def hsv(hue: float, saturation: float, value: float) -> Color:
    """RGB of a hue (turns), saturation and value, both clipped to [0, 1]."""
    return colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))


@dataclass
class Stage:
    """A scene while it is being built. Lengths are picture widths: x right from 0 to 1, y down from 0 to `aspect`."""

    width: int
    height: int
    rng: np.random.Generator
    wind: Wind
    light: Light
    background: np.ndarray | None = None  # [h, w, 3]
    layers: list[Layer] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def aspect(self) -> float:
        return self.height / self.width

    def canvas(self, points: np.ndarray, margin: float) -> Canvas:
        """An empty canvas that holds points [n, 2] with a margin."""
        low, high = np.min(points, axis=0) - margin, np.max(points, axis=0) + margin
        return Canvas((low[0], low[1], high[0], high[1]), self.width)

    def add(self, canvas: Canvas, motion: Motion | None, nodes: tuple[int, int] = (4, 4), blur: float = 0.0) -> None:
        """Puts the drawing in front of all others; a motion of None means that it stands still."""
        texture = canvas.texture(blur)
        texture[:3] *= np.clip(1 + 0.05 * fractal(self.rng, texture.shape[1:], (9.0, 9.0), 2), 0, 1.2)
        np.minimum(texture[:3], texture[3], out=texture[:3])
        left, top = canvas.origin
        size = np.array(texture.shape[:0:-1]) / TEXELS
        margin = MARGIN * self.width
        grid = Grid((left - margin, top - margin, left + size[0] + margin, top + size[1] + margin), nodes)
        if motion is None:
            displacement = np.zeros((len(self.wind.times), len(grid.points), 2))
        else:  # pixel (0, 0) has its centre at (0.5, 0.5) / width
            displacement = motion((grid.points + 0.5) / self.width) * self.width
        self.layers.append(Layer(texture, canvas.origin, grid, displacement))


def stiffness(length: float, thickness: float, load: float = 1.0) -> tuple[float, float]:
    """Natural frequency (Hz) of a stem and how far its tip goes in a gust (widths), from what one can see of it.

    Longer, thinner and more heavily laden is slower and softer, as for a beam, with gentler exponents than d / L^2.
    """
    natural = 0.8 * (0.35 / length) ** 0.8 * (thickness / 0.012) ** 0.35 * load**-0.5
    reach = 0.0072 * (length / 0.35) ** 1.3 * (0.012 / thickness) ** 0.5 * load**0.5
    return float(np.clip(natural, 0.35, 2.0)), float(np.clip(reach, 0.0008, 0.012))
