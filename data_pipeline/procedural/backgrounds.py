"""Still backgrounds with texture: skies, walls, planks, blurred foliage, fields, the dark."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageFilter

from data_pipeline.procedural.canvas import TEXELS, Canvas, Color, fractal
from data_pipeline.procedural.foliage import vary
from data_pipeline.procedural.stage import Stage, hsv


def _size(stage: Stage) -> tuple[int, int]:
    return stage.height * TEXELS, stage.width * TEXELS


def _finish(stage: Stage, picture: np.ndarray) -> None:
    grain = 0.012 * fractal(stage.rng, _size(stage), (60.0, 96.0), 2)
    picture = np.clip(picture + grain[..., None], 0, 1)
    stage.background = picture.reshape(stage.height, TEXELS, stage.width, TEXELS, 3).mean((1, 3)).astype(np.float32)


def _mix(share: np.ndarray, first: Color, second: Color) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(first) * (1 - share) + np.asarray(second) * share


def _over(stage: Stage, picture: np.ndarray, canvas: Canvas, blur: float = 0.0) -> np.ndarray:
    """A drawing that covers the picture, over it."""
    texture = np.moveaxis(canvas.texture(blur), 0, -1)
    left, top = (-edge * TEXELS for edge in canvas.origin)
    rows, columns = _size(stage)
    texture = texture[top : top + rows, left : left + columns]
    return picture * (1 - texture[..., 3:]) + texture[..., :3]


def _sheet(stage: Stage) -> Canvas:
    return Canvas((-0.01, -0.01, 1.01, stage.aspect + 0.01), stage.width)


def sky(stage: Stage, hills: bool = True) -> None:
    """A sky that pales to the horizon, with clouds and, where wanted, ranges of hills."""
    rng, size = stage.rng, _size(stage)
    down = np.linspace(0, 1, size[0], dtype=np.float32)[:, None] * np.ones(size[1], np.float32)
    picture = _mix(down**0.8 * 1.1, *stage.light.sky)
    clouds = fractal(rng, size, (rng.uniform(2, 5), rng.uniform(1.5, 3)), 6) - rng.uniform(-0.2, 0.7)
    cover = np.clip(clouds * 0.6, 0, 1) * (1 - 0.5 * down)
    bright = tuple(min(1.0, 0.25 + 0.8 * c) for c in stage.light.sun)
    picture = picture * (1 - 0.8 * cover[..., None]) + 0.8 * cover[..., None] * np.asarray(bright)
    if hills:
        base = rng.uniform(0.5, 0.75) * stage.aspect
        color = hsv(rng.uniform(0.22, 0.6), rng.uniform(0.2, 0.45), rng.uniform(0.4, 0.6))
        for depth in range(rng.integers(2, 4)):
            picture = _ridge(stage, picture, base + 0.06 * depth, color, 0.35 + 0.3 * depth)
    _finish(stage, picture)


def _ridge(stage: Stage, picture: np.ndarray, base: float, color: Color, nearness: float) -> np.ndarray:
    rng = stage.rng
    x = np.linspace(-0.01, 1.01, 200)
    line = base - sum(
        rng.uniform(0, 0.035) / k**0.6 * np.sin(2 * np.pi * k * x + rng.uniform(0, 6)) for k in (1, 2, 3, 5, 9, 17)
    )
    canvas = _sheet(stage)
    haze = tuple(nearness * np.asarray(stage.light.on(color, 0.5)) + (1 - nearness) * np.asarray(stage.light.sky[1]))
    foot = stage.aspect + 0.01
    canvas.polygon(np.concatenate([np.stack([x, line], -1), [[1.01, foot], [-0.01, foot]]]), haze)
    return _over(stage, picture, canvas, 0.002)


def _lit(stage: Stage, size: tuple[int, int]) -> np.ndarray:
    """Uneven light on something flat: a slope and soft shadows, about 1."""
    rng = stage.rng
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    slope = 1 + rng.uniform(-0.16, 0.16) * x + rng.uniform(-0.16, 0.08) * y
    return (slope + 0.07 * fractal(rng, size, (2.0, 3.0), 3))[..., None]


def plaster(stage: Stage, color: Color) -> None:
    """A rendered or stone wall."""
    rng, size = stage.rng, _size(stage)
    rough = 0.05 * fractal(rng, size, (5.0, 8.0), 6) + 0.04 * fractal(rng, size, (40.0, 64.0), 3)
    _finish(stage, np.asarray(stage.light.on(color, 0.75)) * _lit(stage, size) * (1 + rough[..., None]))


def bricks(stage: Stage, color: Color) -> None:
    """A brick wall."""
    rng, canvas = stage.rng, _sheet(stage)
    rows = rng.integers(6, 11)
    tall = stage.aspect / rows
    wide, gap = tall * rng.uniform(1.9, 2.7), tall * 0.1
    mortar = stage.light.on((0.62, 0.59, 0.55), 0.55)
    for row in range(rows + 1):
        for x in np.arange(-1 - (row % 2) / 2, 1.1 / wide + 1) * wide:
            corner = np.array([x, row * tall])
            tint, level = vary(rng, color, 1.3), rng.uniform(0.55, 0.8)
            box = np.array([[0, 0], [wide - gap, 0], [wide - gap, tall - gap], [0, tall - gap]])
            canvas.polygon(corner + box, stage.light.on(tint, level * 0.75))
            canvas.polygon(corner + box * (0.98, 0.9), stage.light.on(tint, level))
    size = _size(stage)
    picture = _over(stage, np.ones((*size, 3)) * np.asarray(mortar), canvas)
    rough = 0.07 * fractal(rng, size, (30.0, 48.0), 4)
    _finish(stage, picture * _lit(stage, size) * (1 + rough[..., None]))


def planks(stage: Stage, color: Color) -> None:
    """Boards, upright or level, with grain along them."""
    rng, canvas = stage.rng, _sheet(stage)
    upright = rng.random() < 0.5
    span = 1.02 if upright else stage.aspect + 0.02
    count = rng.integers(5, 11)
    edges = np.linspace(-0.01, span, count + 1)
    for low, high in pairwise(edges):
        far = (stage.aspect if upright else 1) + 0.01
        board = np.array([[low, -0.01], [high - 0.006, -0.01], [high - 0.006, far], [low, far]])
        tint = stage.light.on(vary(rng, color, 1.4), rng.uniform(0.55, 0.85))
        canvas.polygon(board if upright else board[:, ::-1], tint)
    size = _size(stage)
    picture = _over(stage, np.ones((*size, 3)) * np.asarray(stage.light.on(color, 0.1)) * 0.5, canvas)
    cells = (4.0, 70.0) if upright else (60.0, 4.0)
    grain = 0.09 * fractal(rng, size, cells, 3)
    _finish(stage, picture * _lit(stage, size) * (1 + grain[..., None]))


def foliage(stage: Stage, hue: float, lights: bool = True) -> None:
    """Greenery out of focus, with discs of light between the leaves."""
    rng, size = stage.rng, _size(stage)
    dark, bright = hsv(hue + 0.03, 0.6, 0.26), hsv(hue - 0.04, 0.55, 0.66)
    tone = 0.5 + 0.3 * fractal(rng, size, (2.5, 4.0), 4)
    picture = _mix(tone, stage.light.on(dark, 0.5), stage.light.on(bright, 0.75))
    canvas = _sheet(stage)
    for _ in range(rng.integers(25, 60) if lights else 0):
        at, radius = rng.uniform((0, 0), (1, stage.aspect)), rng.uniform(0.015, 0.055)
        tint = hsv(hue + rng.normal(-0.02, 0.05), rng.uniform(0.2, 0.6), rng.uniform(0.5, 0.95))
        blend = np.asarray(stage.light.on(tint, 0.85))
        here = picture[min(int(at[1] / stage.aspect * size[0]), size[0] - 1), min(int(at[0] * size[1]), size[1] - 1)]
        canvas.disc(at, radius, tuple(0.55 * here + 0.45 * blend))
    picture = _over(stage, picture, canvas, 0.006)
    _finish(stage, picture)


def field(stage: Stage, hue: float) -> None:
    """Sky over a meadow that loses itself in the haze, with a dark line of trees."""
    sky(stage, hills=False)
    rng, size = stage.rng, _size(stage)
    assert stage.background is not None
    picture = np.repeat(np.repeat(stage.background, TEXELS, 0), TEXELS, 1)
    horizon = rng.uniform(0.36, 0.55)
    picture = _ridge(stage, picture, horizon * stage.aspect - 0.03, hsv(hue + 0.04, 0.5, 0.35), 0.75)
    down = np.linspace(0, 1, size[0])[:, None] * np.ones(size[1])
    near = np.clip((down - horizon) / (1 - horizon), 0, 1)
    ground = _mix(near, stage.light.on(hsv(hue - 0.04, 0.4, 0.68), 0.85), stage.light.on(hsv(hue, 0.6, 0.36), 0.6))
    ground *= 1 + 0.09 * fractal(rng, size, (30.0, 8.0), 4)[..., None]
    share = np.clip((down - horizon) * 40, 0, 1)[..., None]
    _finish(stage, picture * (1 - share) + ground * share)


def darkness(stage: Stage, hue: float, glows: Sequence[tuple[np.ndarray, float]]) -> None:
    """A dim room or night; glows are (centre, radius) of the light that candles or lanterns throw on it."""
    rng, size = stage.rng, _size(stage)
    picture = _mix(0.4 + 0.25 * fractal(rng, size, (3.0, 4.0), 5), hsv(hue, 0.55, 0.06), hsv(hue + 0.04, 0.5, 0.24))
    canvas = _sheet(stage)
    for _ in range(rng.integers(4, 16)):
        tint = hsv(rng.uniform(0.02, 0.14), rng.uniform(0.4, 0.8), rng.uniform(0.25, 0.5))
        canvas.disc(rng.uniform((0, 0), (1, 0.8 * stage.aspect)), rng.uniform(0.012, 0.05), tint)
    picture = _over(stage, picture, canvas, 0.008)
    y, x = np.mgrid[: size[0], : size[1]] / size[1]
    for center, radius in glows:
        fall = np.exp(-np.hypot(x - center[0], y - center[1]) / radius)[..., None]
        picture = picture + fall * np.array([0.55, 0.30, 0.12]) * (1 - picture)
    _finish(stage, picture)


def blurred(stage: Stage, radius: float) -> None:
    """Throws the background out of focus, by a radius in widths."""
    assert stage.background is not None
    image = Image.fromarray(np.clip(stage.background * 255 + 0.5, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(radius * stage.width))
    stage.background = np.asarray(image, np.float32) / 255
