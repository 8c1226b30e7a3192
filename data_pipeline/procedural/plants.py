"""Plants that stand: flowers, shrubs and boughs with branching stems, grass. Roots are still, tips go furthest."""

import numpy as np

from data_pipeline.procedural.canvas import Canvas, Color
from data_pipeline.procedural.field import Motion, beam, carried, together
from data_pipeline.procedural.foliage import Leaf, blossom, leaves
from data_pipeline.procedural.stage import Stage, stiffness


def heading(angle: float) -> np.ndarray:
    """Unit vector at an angle from upwards, clockwise."""
    return np.array([np.sin(angle), -np.cos(angle)])


def arc(root: np.ndarray, tip: np.ndarray, bow: float, n: int = 12) -> np.ndarray:
    """Points [n, 2] from root to tip, bowed sideways by a share of the length."""
    s = np.linspace(0, 1, n)[:, None]
    along = tip - root
    return root + s * along + 4 * bow * s * (1 - s) * np.array([-along[1], along[0]])


def _along(spine: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Points [*b, 2] at shares [*b] of a spine."""
    at = np.linspace(0, 1, len(spine))
    return np.stack([np.interp(share, at, spine[:, 0]), np.interp(share, at, spine[:, 1])], -1)


def bending(stage: Stage, root: np.ndarray, tip: np.ndarray, thickness: float, load: float = 1.0) -> Motion:
    """The wind's work on a stem clamped at its root: two modes, the second six times as fast and much smaller."""
    natural, reach = stiffness(float(np.hypot(*(tip - root))), thickness, load)
    damping = stage.rng.uniform(0.16, 0.26)
    axis = (tip - root) / np.hypot(*(tip - root))
    exposure = 0.45 + 0.55 * abs(axis[1])  # the wind blows along the picture: level stems feel its eddies only
    side = -axis[1] if abs(axis[1]) > 0.3 else stage.rng.choice([-1.0, 1.0])  # sign of the force across the axis
    sway = [stage.wind.sway(stage.rng, (root + tip)[0] / 2, natural * ratio, damping) for ratio in (1.0, 3.5)]
    return beam(root, tip, np.sign(side) * exposure * reach * sway[0], 0.12 * exposure * reach * sway[1])


def flower(
    stage: Stage,
    root: np.ndarray,
    tip: np.ndarray,
    thickness: float,
    kind: str,
    size: float,
    color: Color,
    green: Color,
    blur: float = 0.0,
) -> None:
    """One stem with leaves and a head of radius `size`."""
    stage.kinds.add("plant")
    rng = stage.rng
    spine = arc(root, tip, rng.uniform(-0.06, 0.06))
    canvas = stage.canvas(spine, 0.1 + size)
    length = np.hypot(*(tip - root))
    lean = np.arctan2(*((tip - root) * (1, -1)))
    shape = Leaf(length * rng.uniform(0.22, 0.32), rng.uniform(0.16, 0.34))
    canvas.stroke(spine, np.linspace(1.15, 0.7, len(spine)) * thickness, stage.light.on(green, 0.5))
    canvas.stroke(spine - [thickness * 0.2, 0], thickness * 0.35, stage.light.on(green, 0.95))
    heights = np.linspace(0.2, 0.7, rng.integers(3, 6))
    sides = np.where(np.arange(len(heights)) % 2, 1, -1)
    bases, angles = _along(spine, heights), lean + sides * rng.uniform(0.5, 1.0, len(heights))
    leaves(canvas, rng, stage.light, bases, angles, shape, 1.1 - 0.5 * heights, green, np.full(len(heights), 0.7))
    blossom(canvas, rng, stage.light, spine, kind, size, color)
    stage.add(canvas, bending(stage, root, tip, thickness, 1 + 5 * size), blur=blur)


def shrub(
    stage: Stage,
    root: np.ndarray,
    tip: np.ndarray,
    thickness: float,
    shape: Leaf,
    green: Color,
    bark: Color,
    branches: int = 8,
    spread: float = 0.9,
    blur: float = 0.0,
) -> None:
    """A stem (or bough, where it comes in from the side) that carries leafy branches, which carry twigs."""
    stage.kinds.add("plant")
    rng = stage.rng
    spine = arc(root, tip, rng.uniform(-0.08, 0.08))
    length = np.hypot(*(tip - root))
    lean = np.arctan2(*((tip - root) * (1, -1)))
    stem = bending(stage, root, tip, thickness)
    parts: list[tuple[np.ndarray, np.ndarray, float]] = []
    for i, s in enumerate(np.linspace(0.25, 1.0, branches)):
        side = (1 if i % 2 else -1) * rng.choice([1, 1, 1, -1])
        angle = lean + side * spread * rng.uniform(0.6, 1.15) * (1.15 - 0.6 * s)
        joint = _along(spine, s)
        parts.append((joint, joint + heading(angle) * length * rng.uniform(0.38, 0.58) * (1.2 - 0.45 * s), s))
    order = rng.permutation(branches)
    for rank, i in enumerate(order[: branches // 2]):
        _branch(stage, parts[i], stem, thickness, shape, green, bark, 0.32 + 0.3 * rank / branches, blur)
    canvas = stage.canvas(spine, 0.02)
    taper = np.linspace(1.1, 0.4, len(spine)) * thickness
    canvas.stroke(spine, taper, stage.light.on(bark, 0.3))
    canvas.stroke(spine - taper[:, None] * [0.18, 0.1], taper * 0.5, stage.light.on(bark, 0.8))
    stage.add(canvas, stem, blur=blur)
    for rank, i in enumerate(order[branches // 2 :]):
        _branch(stage, parts[i], stem, thickness, shape, green, bark, 0.6 + 0.5 * rank / branches, blur)


def _branch(
    stage: Stage,
    part: tuple[np.ndarray, np.ndarray, float],
    stem: Motion,
    stem_thickness: float,
    shape: Leaf,
    green: Color,
    bark: Color,
    level: float,
    blur: float,
) -> None:
    """A side branch, from its joint to its tip; `part` also says how far up the stem it grows."""
    joint, tip, height = part
    rng = stage.rng
    length = np.hypot(*(tip - joint))
    lean = np.arctan2(*((tip - joint) * (1, -1)))
    thickness = stem_thickness * (0.5 - 0.2 * height)
    spine = arc(joint, tip, rng.uniform(-0.1, 0.1))
    canvas = stage.canvas(spine, length * 0.35 + shape.length)
    canvas.stroke(spine, np.linspace(1.0, 0.4, len(spine)) * thickness, stage.light.on(bark, 0.2 + 0.4 * level))
    sprigs = [(_along(spine, np.linspace(0.35, 1, 4)), lean)]
    for i, s in enumerate(np.linspace(0.3, 0.95, 5)):
        at, angle = _along(spine, s), lean + (1 if i % 2 else -1) * rng.uniform(0.5, 0.9)
        twig = arc(at, at + heading(angle) * length * 0.36 * (1.25 - 0.6 * s), rng.uniform(-0.1, 0.1), 5)
        canvas.stroke(twig, thickness * 0.4, stage.light.on(bark, 0.2 + 0.4 * level))
        sprigs.append((_along(twig, np.array([0.35, 0.7, 1.0])), angle))
    bases = np.concatenate([at for at, _ in sprigs])
    angles = np.concatenate([np.full(len(at), angle) for at, angle in sprigs])
    for dark in (0.65, 1.0):
        order = rng.permutation(2 * len(bases))
        turned = np.concatenate(
            [angles - rng.uniform(0.3, 1.1, len(bases)), angles + rng.uniform(0.3, 1.1, len(bases))]
        )
        levels = (level + rng.uniform(-0.15, 0.25, len(order))) * dark
        sizes = rng.uniform(0.75, 1.15, len(order))
        leaves(canvas, rng, stage.light, np.tile(bases, (2, 1))[order], turned[order], shape, sizes, green, levels)
    motion = together(carried(stem, joint), bending(stage, joint, tip, thickness, load=1.3))
    stage.add(canvas, motion, blur=blur)


def grass(
    stage: Stage,
    ground: float,
    height: float,
    green: Color,
    density: float = 1.0,
    ears: Color | None = None,
    slimness: float = 1.0,
    blur: float = 0.0,
) -> None:
    """A row of blades (or, with `ears`, of corn) across the picture, rooted at y = ground; gusts run along it."""
    stage.kinds.add("grass")
    rng = stage.rng
    low = ground + 0.02
    canvas = Canvas((-0.06, ground - 1.2 * height - 0.02, 1.06, low), stage.width)
    count = round(density * 70 / slimness)
    level = np.linspace(0, 1, count)  # from the back of the row to its front
    x = rng.permutation(np.linspace(-0.05, 1.05, count)) + rng.normal(0, 0.006, count)
    tall = height * rng.uniform(0.55, 1.15, count) * (0.75 + 0.25 * level)
    lean = rng.normal(0.06 * stage.wind.direction, 0.16, count)
    bow, broad = rng.normal(0, 0.06, count), 0.012 * slimness * rng.uniform(0.7, 1.2, count) * (height / 0.25) ** 0.4
    s = np.linspace(0, 1, 8)
    across = np.outer(tall * np.sin(lean), s) + np.outer(tall * (bow + 0.5 * lean), s**2)
    middle = np.stack([x[:, None] + across, low - np.outer(tall * np.cos(lean), s)], -1)
    half = np.outer(broad / 2, (1 - s) ** 0.7)[..., None] * (1.0, 0.0)
    tints = np.asarray(green) * rng.uniform(0.84, 1.16, (count, 1)) * rng.uniform(0.92, 1.08, (count, 3))
    bright = 0.12 + 0.75 * level * rng.uniform(0.7, 1.2, count)
    shades = np.stack([stage.light.over(tints, bright), stage.light.over(tints, 1.25 * bright)], 1)
    sides = [np.concatenate([middle + edge, (middle + half)[:, ::-1]], 1) for edge in (-half, 0.1 * half)]
    blades = np.stack(sides, 1)
    for i in range(count):
        canvas.fans(blades[i], shades[i])
        if ears:
            turn, tint = 2.2 * lean[i] + 2 * bow[i], stage.light.on(ears, 0.35 + 0.65 * level[i])
            _ear(canvas, rng, tint, middle[i, -1], turn, tall[i])
    stage.add(canvas, _waving(stage, low, height, 0.012 * slimness), nodes=(12, 4), blur=blur)


def _ear(canvas: Canvas, rng: np.random.Generator, color: Color, top: np.ndarray, lean: float, tall: float) -> None:
    """An ear of corn: grains in two rows, and beards."""
    length, turn = min(0.07, 0.22 * tall), np.linspace(0, 2 * np.pi, 8, endpoint=False)
    grain = (
        np.outer(0.08 * np.sin(turn), heading(lean + np.pi / 2)) + np.outer(0.15 * np.cos(turn), heading(lean))
    ) * length
    s = np.repeat(np.linspace(0, 1, 7), 2)[:, None]
    side = np.tile([-1.2, 1.2], 7)
    beside = np.stack([np.sin(lean + side), -np.cos(lean + side)], -1)
    centers = top + length * ((s - 0.4) * heading(lean) + 0.09 * beside)
    for turned in (-0.25, 0.1, 0.4):
        canvas.stroke(np.stack([top, top + heading(lean + turned) * length * 1.1]), length * 0.03, color)
    canvas.fans(centers[:, None] + grain, np.asarray(color) * rng.uniform(0.82, 1.12, (14, 1)))


def _waving(stage: Stage, ground: float, height: float, thickness: float) -> Motion:
    natural, reach = stiffness(height, thickness)
    damping = stage.rng.uniform(0.2, 0.3)
    seed = stage.rng.integers(2**32)

    def motion(points: np.ndarray) -> np.ndarray:
        sway = stage.wind.sway(np.random.default_rng(seed), 0.6 * points[:, 0], natural, damping).T
        s = (ground - points[:, 1]) / height
        across = 1.35 * reach * sway * (s**2 * (3 - s) / 2)
        return np.stack([across, across**2 / (2 * height)], -1)

    return motion
