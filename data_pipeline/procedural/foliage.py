"""Leaves and blossoms: how they are drawn."""

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.procedural.canvas import Canvas, Color
from data_pipeline.procedural.stage import Light, hsv


@dataclass(frozen=True)
class Leaf:
    """Length in picture widths, breadth as a share of that, kind: "leaf" or "petals" (a tuft of blossom)."""

    length: float
    breadth: float
    kind: str = "leaf"

    def scaled(self, factor: float) -> "Leaf":
        return replace(self, length=self.length * factor)


def _direction(angle: float) -> np.ndarray:
    return np.array([np.sin(angle), -np.cos(angle)])


def vary(rng: np.random.Generator, color: Color, amount: float = 1.0) -> Color:
    """A colour of the same family."""
    hue, saturation, value = colorsys.rgb_to_hsv(*color)
    return hsv(
        hue + amount * rng.normal(0, 0.016),
        saturation * (1 + amount * rng.uniform(-0.15, 0.1)),
        value * (1 + amount * rng.uniform(-0.14, 0.14)),
    )


def leaves(
    canvas: Canvas,
    rng: np.random.Generator,
    light: Light,
    bases: np.ndarray,
    angles: np.ndarray,
    shape: Leaf,
    sizes: np.ndarray,
    color: Color,
    levels: np.ndarray,
) -> None:
    """Leaves one upon another: bases [n, 2], angles [n] from upwards, sizes [n] as shares of `shape`, light levels [n].

    The half that is turned to the light is brighter, the midrib brightest.
    """
    if shape.kind == "petals":
        return _tufts(canvas, rng, light, bases, angles, shape, sizes, color, levels)
    count = len(bases)
    s = np.linspace(0, 1, 8)[:, None]
    length = (shape.length * sizes)[:, None, None]
    along = np.stack([np.sin(angles), -np.cos(angles)], -1)[:, None]
    across = np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]
    bow = rng.uniform(-0.25, 0.25, (count, 1, 1))
    middle = bases[:, None] + length * (s * along + bow * s**2 * across)
    half = length * shape.breadth / 2 * np.sin(np.pi * s**0.8) * across
    rib = length * 0.018 * (1 - s) * across
    outlines = [np.concatenate([middle, (middle + edge)[:, ::-1]], 1) for edge in (half, -half)]
    outlines.append(np.concatenate([middle + rib, (middle - rib)[:, ::-1]], 1))
    tints = np.asarray(color) * rng.uniform(0.86, 1.14, (count, 1)) * rng.uniform(0.92, 1.08, (count, 3))
    facing = np.where(across[:, 0, 1] < 0, 0.2, -0.2)
    shades = [
        light.over(tints, levels * (1 + facing)),
        light.over(tints, levels * (1 - facing)),
        light.over(tints, levels * 1.4),
    ]
    canvas.fans(np.stack(outlines, 1).reshape(count * 3, 16, 2), np.stack(shades, 1).reshape(count * 3, 3))


def _tufts(
    canvas: Canvas,
    rng: np.random.Generator,
    light: Light,
    bases: np.ndarray,
    angles: np.ndarray,
    shape: Leaf,
    sizes: np.ndarray,
    color: Color,
    levels: np.ndarray,
) -> None:
    """Blossoms of five round petals and a dark eye."""
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    disc = np.stack([np.cos(turn), np.sin(turn)], -1)
    length = (shape.length * sizes)[:, None, None]
    rounds, shades = [], []
    for petal in range(5):
        to = angles + petal * 2 * np.pi / 5
        center = bases[:, None] + length * 0.3 * np.stack([np.sin(to), -np.cos(to)], -1)[:, None]
        rounds.append(center + length * 0.27 * disc)
        tints = np.asarray(color) * rng.uniform(0.93, 1.05, (len(bases), 3))
        shades.append(light.over(tints, levels + 0.2 * np.cos(to + 0.6)))
    rounds.append(bases[:, None] + length * 0.1 * disc)
    shades.append(light.over(np.full((len(bases), 3), (0.75, 0.35, 0.35)), levels))
    canvas.fans(np.stack(rounds, 1).reshape(-1, 10, 2), np.stack(shades, 1).reshape(-1, 3))


def blossom(
    canvas: Canvas, rng: np.random.Generator, light: Light, spine: np.ndarray, kind: str, size: float, color: Color
) -> None:
    """A flower's head of radius `size` at the end of its stem."""
    head, lean = spine[-1], float(np.arctan2(*((spine[-1] - spine[-3]) * (1, -1))))
    if kind == "daisy":
        _daisy(canvas, rng, light, head, size, color)
    elif kind == "poppy":
        _poppy(canvas, rng, light, head, size, color)
    elif kind == "tulip":
        _tulip(canvas, rng, light, head, lean, size, color)
    elif kind == "spike":
        _spike(canvas, rng, light, spine, size, color)
    else:
        _puff(canvas, rng, light, head, size, color)


def _petal(
    canvas: Canvas, center: np.ndarray, angle: float, length: float, breadth: float, squash: float, color: Color
) -> None:
    turn = np.linspace(0, 2 * np.pi, 14)
    along, across = _direction(angle), _direction(angle + np.pi / 2)
    outline = np.outer((1 + np.cos(turn)) * length / 2, along) + np.outer(np.sin(turn) * breadth / 2, across)
    canvas.polygon(center + outline * (1, squash), color)


def _daisy(canvas: Canvas, rng: np.random.Generator, light: Light, head: np.ndarray, size: float, color: Color) -> None:
    count, squash, first = rng.integers(9, 15), rng.uniform(0.65, 1.0), rng.uniform(0, 1)
    for level, length in ((0.55, 1.0), (0.95, 0.92)):
        for turn in np.arange(count) * 2 * np.pi / count + first + level:
            tint = light.on(vary(rng, color, 0.5), level + 0.12 * np.cos(turn))
            _petal(canvas, head, turn, size * length, size * 4.4 / count, squash, tint)
    eye = hsv(rng.uniform(0.08, 0.13), 0.9, rng.choice([0.35, 0.9]))
    canvas.disc(head, (size * 0.34, size * 0.34 * squash), light.on(eye, 0.5))
    canvas.disc(head - size * 0.06, (size * 0.25, size * 0.25 * squash), light.on(eye, 0.95))


def _poppy(canvas: Canvas, rng: np.random.Generator, light: Light, head: np.ndarray, size: float, color: Color) -> None:
    squash = rng.uniform(0.7, 0.95)
    for level, turns in ((0.5, (-2.2, 2.2, 0.0)), (0.9, (-1.2, 1.3, np.pi))):
        for turn in turns:
            tint = vary(rng, color, 0.6)
            _petal(canvas, head, turn, size, size * 1.35, squash, light.on(tint, level))
            _petal(canvas, head, turn, size * 0.7, size * 0.9, squash, light.on(tint, level * 0.8))
    canvas.disc(head, (size * 0.22, size * 0.22 * squash), light.on((0.12, 0.10, 0.14), 0.8))
    canvas.disc(head - size * 0.05, size * 0.08, light.on((0.75, 0.70, 0.40), 0.9))


def _tulip(
    canvas: Canvas, rng: np.random.Generator, light: Light, head: np.ndarray, lean: float, size: float, color: Color
) -> None:
    base = head + _direction(lean) * size * -0.3
    for turn, level in ((-0.28, 0.5), (0.28, 0.6), (0.0, 0.72), (-0.42, 0.8), (0.42, 0.98)):
        _petal(canvas, base, lean + turn, size * 1.75, size * 0.95, 1.0, light.on(vary(rng, color, 0.5), level))


def _spike(
    canvas: Canvas, rng: np.random.Generator, light: Light, spine: np.ndarray, size: float, color: Color
) -> None:
    length = len(spine) - 1
    for s in np.linspace(0.5, 1.04, 26):
        at = spine[min(length, int(s * length))] + (s - min(length, int(s * length)) / length) * (spine[-1] - spine[0])
        breadth = size * 0.75 * (1.25 - s) / 0.7
        for side in rng.uniform(-1, 1, 4):
            center = at + np.array([side * breadth, rng.normal(0, 0.1 * size)])
            canvas.disc(center, size * rng.uniform(0.13, 0.24), light.on(vary(rng, color, 1.2), 0.75 - 0.35 * side))


def _puff(canvas: Canvas, rng: np.random.Generator, light: Light, head: np.ndarray, size: float, color: Color) -> None:
    canvas.disc(head, size * 0.8, light.on(vary(rng, color, 0.5), 0.35))
    for radius in (0.75, 0.5, 0.25):
        for turn in rng.uniform(0, 2 * np.pi, round(40 * radius)):
            at = head + _direction(turn) * size * radius
            tint = light.on(vary(rng, color), 0.7 + 0.35 * np.cos(turn + 0.6))
            canvas.disc(at, size * 0.16, tint)
