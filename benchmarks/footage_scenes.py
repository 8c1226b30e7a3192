"""Scenes whose verdict is known, for `footage.py`: strong motion seen by a steady camera.

A scene is a function of nothing that gives its pictures, uint8 [FRAMES, ROWS, COLUMNS, 3] at 30 fps, drawn from the
seed in its name. Lengths are pixels at a width of 256.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from made_clips import Pictures, wander
from scipy import ndimage

from data_pipeline.procedural import render_clip, scenes
from data_pipeline.video import read_frames
from gid_jax import flow
from gid_jax.motion.spectrum import at_times, to_spectrum
from gid_jax.render.splatting import splat
from gid_jax.render.tangents import from_planes, spline_slopes, to_planes

FRAMES, HEIGHT, WIDTH = 200, 160, 256
ROWS, COLUMNS = 100, 160
FPS, PERIOD, FREQUENCIES = 30, 150, 16
Scene = Callable[[], Pictures]
_SCALE = WIDTH / COLUMNS
_Y, _X = np.mgrid[:ROWS, :COLUMNS] * _SCALE
_TIME = np.arange(FRAMES) / FPS


def all_scenes(page: Path, footage: list[Path]) -> dict[str, Scene]:
    """By name. The page's clips and `footage` are filmed by others."""
    found: dict[str, Scene] = {f"footage_{path.stem}": functools.partial(read, path) for path in footage}
    for path in sorted(page.glob("*_loop.mp4")):
        found[f"page_{path.stem}"] = functools.partial(read, path)
        found[f"strong_{path.stem}"] = functools.partial(magnified, path)
    made = {"flag": flag, "field": field, "flower": flower, "shadow": shadow, "flame": flame, "swing": swing}
    for name, build in made.items():
        for seed in range(6):
            found[f"{name}_{seed}"] = functools.partial(build, seed)
    for seed, kind in enumerate((*scenes.TRAIN, *scenes.TEST_ONLY)):
        found[f"windy_{kind}"] = functools.partial(windy, kind, seed)
    return found


def read(path: Path) -> Pictures:
    """The first frames of a file; a loop goes on past its end, what is too short ends early."""
    frames = read_frames(path, fps=FPS, width=COLUMNS, height=ROWS, loop="loop" in path.name)
    return np.stack(list(itertools.islice(frames, FRAMES)))


def magnified(path: Path) -> Pictures:
    """A page clip's own spectrum, 4 to 10 times as strong: 12 px or so at 256 wide where it moves most."""
    frames = read(path)[:PERIOD].astype(np.float32) / 255
    motion = np.concatenate([np.zeros((1, ROWS, COLUMNS, 2)), flow.estimate(frames[0], frames[1:], preset="fast")])
    most = float(np.percentile(np.linalg.norm(motion, axis=-1).mean(axis=0), 98)) * _SCALE
    spectrum = to_spectrum(motion, FREQUENCIES) * float(np.clip(12 / most, 4, 10))
    shown = np.asarray(at_times(spectrum, np.arange(FRAMES), PERIOD))
    weight = np.linalg.norm(shown, axis=-1).mean(axis=0)
    return _bytes(255 * np.asarray(_carried(frames[0], shown - shown[:1], weight)))


@jax.jit
def _carried(image: jax.Array, motions: jax.Array, weight: jax.Array) -> jax.Array:
    def frame(motion: jax.Array) -> jax.Array:
        planes, holes = splat(to_planes(image, spline_slopes(image), motion), motion, weight)
        return jax.numpy.where(holes > 0, image, from_planes(planes))

    return jax.lax.map(frame, motions)


def windy(kind: str, seed: int) -> Pictures:
    return render_clip(seed, width=COLUMNS, height=ROWS, num_frames=FRAMES, kinds=(kind,), wind=2.5).frames


def flag(seed: int) -> Pictures:
    """Striped or plain cloth, held on the left, with waves that run and shading that turns with them.

    Odd seeds: a still sky around it.
    """
    rng = np.random.default_rng([1, seed])
    whole = seed % 2 == 0
    cloth = _stripes(rng) if rng.random() < 0.7 else np.broadcast_to(rng.uniform(60, 220, 3), (ROWS, COLUMNS, 3))
    cloth = cloth * _fractal(rng, 1.5, 0.06)[..., None]
    held = np.ones_like(_X) if whole else np.clip(_X / WIDTH, 0, 1)
    pictures = []
    waves = [(rng.uniform(60, 140), rng.uniform(-0.4, 0.4), rng.uniform(0.8, 2.2), rng.uniform(0, 6)) for _ in range(3)]
    light = rng.uniform(0.15, 0.35)
    for now in _TIME:
        phases = [6.283 * (_X / length + tilt * _Y / length - speed * now) + p for length, tilt, speed, p in waves]
        height = held * sum(np.sin(phase) for phase in phases) / 3
        slope = held * sum(np.cos(phase) for phase in phases) / 3
        shift = 9 * height
        seen = _fetch(cloth, _X - 3 * slope, _Y - shift) * (1 + light * slope)[..., None]
        if not whole:
            edge = np.clip(np.minimum(_Y - shift - 30, 130 - (_Y - shift)), 0, 1)[..., None]
            edge = edge * np.clip(215 - _X + 4 * slope, 0, 1)[..., None]
            seen = edge * seen + (1 - edge) * (np.array([140, 170, 215]) + 0.15 * (_Y[..., None] - 80))
        pictures.append(seen)
    return _bytes(np.stack(pictures))


def field(seed: int) -> Pictures:
    """Foliage, grass or corn that fills the picture and sways everywhere: nothing stands still.

    Gusts run through it; every place has its own phase, and even seeds are in two depths.
    """
    rng = np.random.default_rng([2, seed])
    layers = []
    for near in range(1 + seed % 2):
        grain = (1.2, rng.uniform(1.2, 5.0))
        texture = np.stack([_fractal(rng, grain, 0.5) for _ in range(3)], -1) * rng.uniform(60, 130, 3)
        there = np.clip(4 * (_fractal(rng, (3.0, 8.0), 0.4) - 0.95), 0, 1) if near else np.ones_like(_X)
        layers.append((texture, there, _gusts(rng, rng.uniform(3, 7) * (1 + near))))
    pictures = []
    for t in range(FRAMES):
        seen = np.zeros((ROWS, COLUMNS, 3))
        for texture, there, motion in layers:
            u, v = motion(t)
            alpha = _fetch(there[..., None], _X - u, _Y - v)
            seen = (1 - alpha) * seen + alpha * _fetch(texture, _X - u, _Y - v)
        pictures.append(seen)
    return _bytes(np.stack(pictures))


def flower(seed: int) -> Pictures:
    """Sharp heads on stems before a garden that is out of focus; the garden stands still."""
    rng = np.random.default_rng([3, seed])
    garden = np.stack([_fractal(rng, rng.uniform(8, 20), 0.35) for _ in range(3)], -1) * rng.uniform(50, 150, 3)
    pictures = np.repeat(garden[None], FRAMES, axis=0)
    for _ in range(1 + seed % 3):
        x, y, radius = rng.uniform(70, 190), rng.uniform(45, 90), rng.uniform(16, 45)
        angle = np.arctan2(_Y - y, _X - x)
        distance = np.hypot(_X - x, _Y - y)
        petals = radius * (0.75 + 0.25 * np.cos(rng.integers(5, 13) * angle))
        color = rng.uniform(120, 255, 3) * (_fractal(rng, 1.5, 0.2) * (0.6 + 0.4 * distance / radius))[..., None]
        stem = (np.abs(_X - x) < 3) & (y < _Y)
        alpha = np.where(stem, 1.0, np.clip(petals - distance, 0, 1))
        color = np.where(
            (stem & (distance > petals))[..., None], [60, 110, 40] * _fractal(rng, 1.5, 0.2)[..., None], color
        )
        sway = rng.uniform(5, 12) * _sway(rng)
        bend = np.clip((HEIGHT - _Y) / (HEIGHT - y), 0, 1.3) ** 1.7
        for t in range(FRAMES):
            there = _fetch(alpha[..., None], _X - sway[t] * bend, _Y)
            pictures[t] = (1 - there) * pictures[t] + there * _fetch(color, _X - sway[t] * bend, _Y)
    return _bytes(pictures)


def shadow(seed: int) -> Pictures:
    """Soft shadows of leaves that sway, on a wall with hardly any texture."""
    rng = np.random.default_rng([4, seed])
    wall = rng.uniform(130, 220, 3) * _fractal(rng, 40.0, 0.08)[..., None] * _fractal(rng, 1.0, 0.006)[..., None]
    covered = np.zeros((FRAMES, ROWS, COLUMNS))
    for _ in range(rng.integers(12, 30)):
        x, y, long, wide = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(14, 40), rng.uniform(4, 12)
        turn, sway = rng.uniform(0, 3.14), rng.uniform(4, 12) * _sway(rng)
        for t in range(FRAMES):
            angle = turn + 0.02 * sway[t]
            dx, dy = _X - x - sway[t], _Y - y - 0.3 * sway[t]
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            inside = 1 - (along / long) ** 2 - (across / wide) ** 2
            covered[t] = np.maximum(covered[t], np.clip(0.5 + inside, 0, 1))
    depth = rng.uniform(0.25, 0.6)
    return _bytes(wall * (1 - depth * ndimage.gaussian_filter(covered, (0, 1, 1)))[..., None])


def flame(seed: int) -> Pictures:
    """A flame, a fire or a lantern alone in the dark."""
    rng = np.random.default_rng([5, seed])
    x, foot, tall, wide = rng.uniform(90, 160), rng.uniform(100, 150), rng.uniform(40, 85), rng.uniform(8, 16)
    sway, stretch, inner = 8 * _sway(rng), 0.12 * _sway(rng), 0.05 * _sway(rng)
    body = _fractal(rng, (3.0, 6.0), 0.3)
    pictures = []
    for t in range(FRAMES):
        rise = (foot - _Y) / (tall * (1 + stretch[t]))
        if seed % 3 == 2:  # a lantern on a cord
            across = (_X - x - sway[t] * np.clip(_Y / foot, 0, 1)) / (1.6 * wide)
            glow = np.clip(6 * (1 - across**2 - ((_Y - foot + 45) / (1.5 * wide)) ** 2), 0, 1) * (0.6 + 0.4 * body)
        else:
            middle = x + sway[t] * np.clip(rise, 0, 1.2) ** 2 + 0.3 * sway[t - 8] * np.sin(5 * rise)
            width = 1.9 * wide * np.sqrt(np.clip(rise, 0, 1) + 0.02) * np.clip(1 - rise, 0, 1) ** 0.8
            glow = np.clip(1.3 * (width - np.abs(_X - middle)) / wide, 0, 1) * (1 + inner[t]) * np.clip(rise * 9, 0, 1)
        halo = 9 * np.exp(-np.hypot(_X - x, _Y - foot + tall / 2) / 30) * (1 + 0.5 * inner[t])
        pictures.append(255 * glow[..., None] * [1.0, 0.8, 0.45] + halo[..., None] * [1.0, 0.6, 0.3] + 2)
    return _bytes(np.stack(pictures))


def swing(seed: int) -> Pictures:
    """Something woolly that fills much of the picture, hung or stood up, and swings about a point as a whole."""
    rng = np.random.default_rng([6, seed])
    behind = np.stack([_fractal(rng, rng.uniform(4, 30), 0.12) for _ in range(3)], -1) * rng.uniform(90, 200, 3)
    skin = np.stack([_fractal(rng, (2.0, 1.2), 0.4) for _ in range(3)], -1) * rng.uniform(40, 200, 3)
    pivot = WIDTH / 2 + rng.normal(0, 20), (-40 if seed % 2 else HEIGHT + 40)
    body = 1 - ((_X - WIDTH / 2) / rng.uniform(50, 80)) ** 2 - ((_Y - HEIGHT / 2) / rng.uniform(45, 65)) ** 2
    alpha = np.clip(20 * body, 0, 1)
    angle = rng.uniform(0.05, 0.11) * _sway(rng)
    pictures = []
    for turn in angle:
        x, y = _X - pivot[0], _Y - pivot[1]
        u, v = pivot[0] + x * np.cos(turn) + y * np.sin(turn), pivot[1] + y * np.cos(turn) - x * np.sin(turn)
        there = _fetch(alpha[..., None], u, v)
        shade = 1 + 1.5 * turn * (u - WIDTH / 2)[..., None] / 80
        pictures.append((1 - there) * behind + there * _fetch(skin, u, v) * shade)
    return _bytes(np.stack(pictures))


def _sway(rng: np.random.Generator) -> np.ndarray:
    """[FRAMES] of unit amplitude: a damped swing in gusts."""
    natural, phase = rng.uniform(0.5, 1.6), rng.uniform(0, 6.283)
    slow = wander(FRAMES, int(rng.integers(1 << 30)), 0.5)
    return 0.6 * np.sin(6.283 * natural * _TIME + phase) * (1 + 0.4 * slow) + 0.4 * slow


def _gusts(rng: np.random.Generator, reach: float) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Displacement (u, v) px [h, w] at frame t: waves of several lengths that run through the picture."""
    waves = [
        (rng.normal(0, 1), rng.normal(0, 1), rng.uniform(40, 220), rng.uniform(0.25, 1.8), rng.uniform(0, 6.283))
        for _ in range(7)
    ]
    own = ndimage.gaussian_filter(rng.normal(0, 1, (ROWS, COLUMNS)), 20)
    own *= 1.2 / own.std()

    def motion(t: int) -> tuple[np.ndarray, np.ndarray]:
        phases = [6.283 * ((a * _X + b * _Y) / length - rate * _TIME[t]) + p + own for a, b, length, rate, p in waves]
        across = sum(np.sin(phase) for phase in phases[:5]) / np.sqrt(5)
        return reach * across, 0.35 * reach * sum(np.cos(phase) for phase in phases[4:]) / np.sqrt(3)

    return motion


def _fractal(rng: np.random.Generator, size: float | tuple[float, float], depth: float) -> np.ndarray:
    """[h, w] about 1: grains of `size` (across, along) px and four times as large ones."""
    across, along = size if isinstance(size, tuple) else (size, size)
    total = np.zeros((ROWS, COLUMNS))
    for factor in (1 / _SCALE, 4 / _SCALE):
        noise = rng.normal(0, 1, (ROWS, COLUMNS))
        grains = ndimage.gaussian_filter(noise, (factor * along, factor * across), mode="wrap")
        total += grains / grains.std() / np.sqrt(2)
    return np.clip(1 + depth * total, 0, 2.2)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    count, upright = rng.integers(3, 8), rng.random() < 0.4
    colors = rng.uniform(30, 235, (count, 3))
    place = (_X / WIDTH if upright else _Y / HEIGHT) * count
    cloth = colors[np.clip(place.astype(int), 0, count - 1)]
    emblem = np.hypot(_X - WIDTH / 2, _Y - HEIGHT / 2) < rng.uniform(15, 40)
    return np.where(emblem[..., None], rng.uniform(30, 235, 3), cloth)


def _fetch(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear; beyond the border the picture is mirrored."""
    place = y / _SCALE, x / _SCALE
    planes = [ndimage.map_coordinates(picture[..., c], place, order=1, mode="mirror") for c in range(picture.shape[2])]
    return np.stack(planes, -1)


def _bytes(values: np.ndarray) -> Pictures:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
