"""Candles: a still body, and a flame that is held at its wick and wobbles at its tip."""

import numpy as np

from data_pipeline.procedural.canvas import Canvas, Color
from data_pipeline.procedural.field import Motion
from data_pipeline.procedural.stage import Stage


def candle(stage: Stage, top: np.ndarray, radius: float, wax: Color, holder: str) -> None:
    """A candle whose body's upper rim is centred at `top`; it reaches down past the picture's lower edge."""
    light = stage.light
    canvas = Canvas((top[0] - radius * 1.6, top[1] - radius, top[0] + radius * 1.6, stage.aspect + 0.03), stage.width)
    foot = stage.aspect + 0.02
    for x in np.linspace(-1, 1, 25)[:-1]:
        edges = (x, x, x + 0.09, x + 0.09)
        column = top + np.stack([np.array(edges) * radius, np.array([0, 1, 1, 0]) * (foot - top[1])], -1)
        canvas.polygon(column, light.on(wax, 0.35 + 0.95 * np.sqrt(max(0.0, 1 - (x + 0.25) ** 2 / 1.6))))
    if holder == "glass":
        rim = top[1] + radius * 0.9
        for side in (-1, 1):
            x = top[0] + side * radius * 1.2
            canvas.stroke(np.array([[x, rim], [x, foot]]), 0.008, (0.62, 0.58, 0.52))
    canvas.disc(top, (radius, radius * 0.22), light.on(tuple(min(1, 1.5 * c) for c in wax), 1.3))
    canvas.disc(top, (radius * 0.7, radius * 0.14), (1.0, 0.86, 0.55))
    canvas.stroke(top + np.array([[0, 0], [0.002, -0.012], [0.004, -0.025]]), 0.006, (0.16, 0.10, 0.08))
    stage.add(canvas, None, nodes=(2, 2))


def flame(stage: Stage, wick: np.ndarray, height: float, breadth: float) -> None:
    """A flame: blue foot, bright body, orange edge, each a drop inside the other."""
    stage.kinds.add("flame")
    canvas = stage.canvas(np.stack([wick, wick - (0, height)]), breadth)
    s = np.linspace(0, 1, 24)
    drop = 1.9 * np.sqrt(s + 0.01) * (1 - s) ** 0.9
    layers = [
        (1.0, 1.0, (0.92, 0.38, 0.08)),
        (0.9, 0.93, (0.98, 0.55, 0.14)),
        (0.78, 0.86, (1.0, 0.72, 0.26)),
        (0.66, 0.78, (1.0, 0.86, 0.45)),
        (0.5, 0.68, (1.0, 0.95, 0.70)),
        (0.34, 0.55, (1.0, 0.99, 0.90)),
    ]
    for wide, tall, color in layers:
        foot = wick - (0, 0.06 * height * (1 - tall) * 3)
        outline = np.stack([drop * breadth / 2 * wide, -s * height * tall], -1)
        canvas.polygon(foot + np.concatenate([outline, outline[::-1] * (-1, 1)]), color)
    canvas.disc(wick - (0, height * 0.05), (breadth * 0.2, height * 0.07), (0.42, 0.42, 0.85))
    canvas.disc(wick - (0, height * 0.13), (breadth * 0.22, height * 0.08), (0.98, 0.66, 0.34))
    stage.add(canvas, _wobbling(stage, wick, height, breadth), nodes=(3, 6), blur=0.0025)


def _wobbling(stage: Stage, wick: np.ndarray, height: float, breadth: float) -> Motion:
    """Sway grows with the square of the height; a ripple rises; the flame stretches and shrinks."""
    rng = stage.rng
    natural = float(np.clip(1.1 * (0.2 / height) ** 0.5, 0.7, 2.0))
    reach = 0.014 * (height / 0.25) ** 1.1 * (0.09 / breadth) ** 0.2
    sway, ripple, stretch = (
        stage.wind.sway(rng, wick[0], natural * ratio, damping)
        for ratio, damping in ((1, 0.2), (1.8, 0.15), (1.3, 0.25))
    )

    def motion(points: np.ndarray) -> np.ndarray:
        s = (wick[1] - points[:, 1]) / height
        rise = np.maximum(s, 0)
        across = reach * (np.outer(sway, rise**2) + 0.5 * np.outer(ripple, rise**2 * (1.6 - 2.2 * rise)))
        return np.stack([across, 0.5 * reach * np.outer(-stretch, rise**1.5)], -1)

    return motion
