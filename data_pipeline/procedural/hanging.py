"""What hangs, from a pivot at its top: vines, lanterns and cloth. The lower and the longer, the further and slower."""

import numpy as np

from data_pipeline.procedural.canvas import Canvas, Color
from data_pipeline.procedural.field import Motion, pendulum
from data_pipeline.procedural.foliage import Leaf, leaves, vary
from data_pipeline.procedural.stage import HOURS, Stage


def _swinging(stage: Stage, pivot: np.ndarray, length: float, reach: float, curl: float) -> Motion:
    """A pendulum in the wind: frequency by its length; its end goes `reach` widths in a gust of unit variance."""
    natural = float(np.clip(0.62 * (0.35 / length) ** 0.5, 0.4, 1.6))
    damping = stage.rng.uniform(0.14, 0.22)
    angle = reach / length * stage.wind.sway(stage.rng, pivot[0], natural, damping)
    bend = curl * reach * stage.wind.sway(stage.rng, pivot[0], 2.6 * natural, damping)
    return pendulum(pivot, length, angle, bend)


def vine(
    stage: Stage, pivot: np.ndarray, length: float, shape: Leaf, green: Color, level: float, blur: float = 0.0
) -> None:
    """A leafy strand."""
    stage.kinds.add("vine")
    rng = stage.rng
    s = np.linspace(0, 1, 24)
    spine = pivot + np.stack([0.015 * np.sin(s * rng.uniform(3, 7) + rng.uniform(0, 6)) * s, s * length], -1)
    canvas = stage.canvas(spine, shape.length * 1.3)
    canvas.stroke(spine, 0.006, stage.light.on(vary(rng, green), 0.3))
    steps = max(6, round(length / shape.length * 3.2))
    t = np.repeat(np.linspace(0.02, 1, steps), 2)
    bases = np.stack([np.interp(t, s, spine[:, 0]), pivot[1] + t * length], -1)
    for dark in (0.6, 1.0):
        angles = np.pi - np.tile([-1, 1], steps) * rng.uniform(0.25, 1.1, 2 * steps)
        sizes = rng.uniform(0.7, 1.1, 2 * steps) * (1.1 - 0.4 * t)
        levels = (level + rng.uniform(-0.15, 0.2, 2 * steps)) * dark
        leaves(canvas, rng, stage.light, bases, angles, shape, sizes, green, levels)
    reach = 0.0085 * (length / 0.35) ** 1.1
    stage.add(canvas, _swinging(stage, pivot, length, reach, 0.35), nodes=(3, 5), blur=blur)


def lantern(
    stage: Stage, pivot: np.ndarray, cord: float, radius: float, kind: str, color: Color, blur: float = 0.0
) -> None:
    """A paper lantern on its cord, with a tassel; `kind` is "round", "long" or "box". Lit from inside at night."""
    stage.kinds.add("lantern")
    light, lit = stage.light, stage.light is HOURS["night"]
    tall = radius * {"round": 0.86, "long": 1.5, "box": 1.15}[kind]
    center = pivot + np.array([0.0, cord + tall])
    canvas = stage.canvas(np.stack([pivot, center]), tall * 2.1)
    canvas.stroke(np.linspace(pivot, center, 3), 0.005, light.on((0.35, 0.28, 0.22), 0.5))
    dark, gold = light.on(tuple(0.45 * c for c in color), 0.6), light.on((0.85, 0.66, 0.25), 0.85)
    for shrink in np.linspace(1, 0.12, 12):
        inner = 1 - shrink
        if lit:
            warm = np.array([1.0, 0.93, 0.70]) * min(1.0, 1.25 * inner) + np.asarray(color) * max(0.0, 1 - 1.25 * inner)
            glow = tuple(np.minimum(warm * (0.8 + 0.4 * inner), 1.0))
        else:
            glow = light.on(tuple(c + (1 - c) * 0.55 * inner**1.5 for c in color), 0.62 + 0.6 * inner)
        at = center + radius * inner * np.array([0.0, 0.1] if lit else [-0.22, -0.16])
        if kind == "box":
            canvas.polygon(
                at + shrink * np.array([[-0.8, -1], [0.8, -1], [1, 1], [-1, 1]]) * (radius * 0.8, tall), glow
            )
        else:
            canvas.disc(at, (radius * shrink, tall * shrink), glow)
    for rib in np.linspace(-0.85, 0.85, 7 if kind != "box" else 3):
        half = radius * (np.sqrt(1 - rib**2) if kind != "box" else 0.72 + 0.08 * rib)
        sag = np.linspace(-1, 1, 9)
        line = np.stack([center[0] + half * sag, center[1] + tall * rib + 0.05 * tall * (1 - sag**2)], -1)
        canvas.stroke(line, 0.0035, dark)
    for end in (-1, 1):
        box = np.array([[-0.42, -0.07], [0.42, -0.07], [0.42, 0.07], [-0.42, 0.07]]) * radius
        canvas.polygon(box + center + np.array([0, end * tall * 0.97]), gold)
    knot = center + np.array([0, tall * 1.05])
    for x in np.linspace(-0.12, 0.12, 5):
        thread = np.array([[0, 0], [x * radius, 0.3 * tall], [1.4 * x * radius, 0.75 * tall]])
        canvas.stroke(knot + thread, 0.006, gold)
    length = cord + 2 * tall
    reach = 0.0075 * (length / 0.35) ** 0.8 * (0.08 / radius) ** 0.3
    stage.add(canvas, _swinging(stage, pivot, length, reach, 0.12), nodes=(4, 4), blur=blur)


def cloth(
    stage: Stage, left: np.ndarray, breadth: float, length: float, color: Color, pattern: str, blur: float = 0.0
) -> None:
    """A sheet pinned along its upper edge, free below; waves run across it with the wind."""
    stage.kinds.add("cloth")
    rng, light = stage.rng, stage.light
    canvas = Canvas((left[0] - 0.03, left[1] - 0.02, left[0] + breadth + 0.03, left[1] + length + 0.04), stage.width)
    folds, phase, columns = rng.uniform(1.5, 3.5), rng.uniform(0, 6), 40
    for i in range(columns):
        u = np.array([i, i + 1.35]) / columns
        drop = length + 0.015 * np.sin(2 * np.pi * folds * u[:1] + phase) * np.ones(2)
        if pattern == "pennant":
            drop = length * (1 - 0.9 * np.abs(2 * u - 1))
        fold = 0.65 + 0.28 * np.sin(2 * np.pi * folds * u[0] + phase)
        for first, last, tint in _bands(pattern, color, vary(rng, tuple(1 - 0.7 * c for c in color), 0.2)):
            x, y = left[0] + u * breadth, left[1] + np.outer((first, last), drop)
            quad = np.array([[x[0], y[0, 0]], [x[1], y[0, 1]], [x[1], y[1, 1]], [x[0], y[1, 0]]])
            canvas.polygon(quad, light.on(tint, fold + 0.1 * (1 - first)))
    stage.add(canvas, _billowing(stage, left, breadth, length), nodes=(6, 5), blur=blur)


def _bands(pattern: str, color: Color, second: Color) -> list[tuple[float, float, Color]]:
    """Level bands of a cloth: from and to, as shares of its length, and colour; later ones lie upon earlier ones."""
    if pattern == "stripes":
        return [(i / 9, (i + 1) / 9, second if i % 2 else color) for i in range(9)]
    if pattern == "border":
        return [(0.0, 1.0, color), (0.06, 0.12, second), (0.84, 0.94, second)]
    return [(0.0, 1.0, color)]


def _billowing(stage: Stage, left: np.ndarray, breadth: float, length: float) -> Motion:
    natural = float(np.clip(0.6 * (0.35 / length) ** 0.5, 0.4, 1.4))
    damping = stage.rng.uniform(0.15, 0.25)
    reach = 0.011 * (length / 0.35) ** 1.1
    seeds = stage.rng.integers(2**32, size=2)

    def motion(points: np.ndarray) -> np.ndarray:
        s = (points[:, 1] - left[1]) / length
        sway, flap = (
            stage.wind.sway(np.random.default_rng(seed), slow * points[:, 0] + lag * s, natural * ratio, damping).T
            for seed, slow, lag, ratio in ((seeds[0], 1.0, 0.1, 1.0), (seeds[1], 2.0, 0.3, 2.0))
        )
        across = reach * s * (0.4 + 0.6 * s) * sway
        lift = 0.45 * reach * s * flap
        return np.stack([across, lift - across**2 / (2 * length)], -1)

    return motion
