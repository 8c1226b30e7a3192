"""Scenes: which elements stand, hang or burn where, before which background, at which hour."""

from collections.abc import Callable

import numpy as np

from data_pipeline.procedural import backgrounds, candles, hanging, plants
from data_pipeline.procedural.canvas import Canvas, Color
from data_pipeline.procedural.foliage import Leaf
from data_pipeline.procedural.stage import HOURS, Stage, hsv

DAY = ("morning", "noon", "golden", "overcast", "dusk")
EVENING = ("dusk", "night", "golden")


def _outdoors(stage: Stage) -> None:
    choice = stage.rng.choice(["sky", "sky", "foliage", "foliage", "field", "plaster"])
    if choice == "sky":
        backgrounds.sky(stage)
    elif choice == "foliage":
        backgrounds.foliage(stage, stage.rng.uniform(0.18, 0.48))
    elif choice == "field":
        backgrounds.field(stage, stage.rng.uniform(0.16, 0.32))
    else:
        _wall(stage)


def _wall(stage: Stage) -> None:
    rng = stage.rng
    choice = rng.choice(["plaster", "bricks", "planks"])
    if choice == "plaster":
        backgrounds.plaster(stage, hsv(rng.uniform(0, 1), rng.uniform(0.05, 0.35), rng.uniform(0.55, 0.92)))
    elif choice == "bricks":
        backgrounds.bricks(stage, hsv(rng.uniform(0.0, 0.07), rng.uniform(0.3, 0.6), rng.uniform(0.45, 0.75)))
    else:
        painted = rng.random() < 0.4
        hue, saturation = (rng.uniform(0, 1), 0.3) if painted else (rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.55))
        backgrounds.planks(stage, hsv(hue, saturation, rng.uniform(0.4, 0.8)))


def _green(stage: Stage, autumn: float = 0.0) -> Color:
    rng = stage.rng
    if rng.random() < autumn:
        return hsv(rng.uniform(0.0, 0.13), rng.uniform(0.65, 0.9), rng.uniform(0.65, 0.9))
    return hsv(rng.uniform(0.19, 0.4), rng.uniform(0.4, 0.72), rng.uniform(0.45, 0.72))


def _petals(stage: Stage) -> Color:
    rng = stage.rng
    hue = rng.choice([rng.uniform(-0.05, 0.17), rng.uniform(0.72, 0.98), rng.uniform(0.55, 0.72)], p=[0.5, 0.35, 0.15])
    return hsv(hue, rng.choice([0.12, 0.5, 0.8, 0.92]), rng.uniform(0.85, 1.0))


def _leaves(stage: Stage, length: float) -> Leaf:
    return Leaf(length * stage.rng.uniform(0.8, 1.25), stage.rng.choice([0.22, 0.4, 0.62]))


def meadow(stage: Stage) -> None:
    """Flowers in grass."""
    rng, foot = stage.rng, stage.aspect
    _outdoors(stage)
    green, color, second = _green(stage), _petals(stage), _petals(stage)
    kind = rng.choice(["daisy", "poppy", "tulip", "spike", "puff"])
    height = rng.uniform(0.30, 0.42)
    slimness = rng.uniform(0.7, 1.3)
    plants.grass(stage, foot - 0.06, height * 0.9, green, 1.3, slimness=slimness, blur=0.003)
    count = rng.integers(6, 14)
    size = rng.uniform(0.045, 0.062) * (8 / count) ** 0.4
    places = rng.permutation((np.arange(count) + rng.uniform(0.2, 0.8, count)) / count)
    for i, x in enumerate(places):
        near = i / (len(places) - 1)
        tall = rng.uniform(0.34, 0.54) * (0.8 + 0.25 * near)
        root = np.array([x, foot + 0.03])
        tip = root - [rng.normal(-0.02 * stage.wind.direction, 0.04), tall]
        head = size * (0.75 + 0.4 * near)
        plants.flower(
            stage,
            root,
            tip,
            rng.uniform(0.008, 0.014),
            kind,
            head,
            color if rng.random() < 0.75 else second,
            green,
            blur=0.002 * (1 - near),
        )
        if i == count // 2:
            plants.grass(stage, foot, height * 0.8, green, 0.9, slimness=slimness)
    plants.grass(stage, foot + 0.03, height * rng.uniform(0.6, 0.8), green, 0.8, slimness=1.2 * slimness)


def corn(stage: Stage) -> None:
    """Tall reeds or ripe corn in rows."""
    rng, foot = stage.rng, stage.aspect
    _outdoors(stage)
    green = _green(stage, autumn=0.0) if rng.random() < 0.5 else hsv(rng.uniform(0.1, 0.15), 0.5, 0.75)
    ears = hsv(rng.uniform(0.06, 0.14), rng.uniform(0.4, 0.7), rng.uniform(0.55, 0.9))
    height = rng.uniform(0.3, 0.44)
    rows = int(rng.integers(3, 5))
    for row in range(rows):
        near = row / max(1, rows - 1)
        ground = foot - 0.06 + 0.09 * near
        plants.grass(
            stage,
            ground,
            height * (0.85 + 0.25 * near),
            green,
            0.55 + 0.2 * (1 - near),
            ears,
            slimness=0.75 + 0.5 * near,
            blur=0.003 * (1 - near),
        )


def bushes(stage: Stage) -> None:
    """One to three shrubs before a wall or in the open."""
    rng, foot = stage.rng, stage.aspect
    (_wall if rng.random() < 0.5 else _outdoors)(stage)
    green, bark = _green(stage, autumn=0.25), hsv(rng.uniform(0.04, 0.09), 0.4, rng.uniform(0.35, 0.6))
    leaves = _leaves(stage, 0.05)
    count = rng.integers(2, 4)
    for x in rng.permutation((np.arange(count) + rng.uniform(0.3, 0.7, count)) / count):
        tall = rng.uniform(0.34, 0.48)
        root = np.array([x, foot + 0.03])
        tip = root - [rng.normal(0, 0.05), tall]
        plants.shrub(stage, root, tip, rng.uniform(0.018, 0.032), leaves, green, bark, branches=8)
    if rng.random() < 0.7:
        plants.grass(stage, foot + 0.02, rng.uniform(0.12, 0.22), _green(stage), 1.2)


def boughs(stage: Stage) -> None:
    """Boughs that reach into the picture from a side, in leaf or in blossom."""
    rng = stage.rng
    _outdoors(stage)
    blossom = rng.random() < 0.35
    if blossom:
        green = hsv(rng.uniform(0.88, 0.98), rng.uniform(0.1, 0.45), 0.97)
        leaves = Leaf(rng.uniform(0.03, 0.045), 1.0, "petals")
    else:
        green, leaves = _green(stage, autumn=0.35), _leaves(stage, 0.058)
    bark = hsv(rng.uniform(0.03, 0.09), 0.35, rng.uniform(0.3, 0.5))
    side = rng.choice([-1, 1])
    count = rng.integers(2, 4)
    for i, y in enumerate(rng.permutation(np.linspace(0.08, 0.8, count))):
        here = side if i != 1 else -side
        root = np.array([0.5 - 0.56 * here, y * stage.aspect + rng.normal(0, 0.02)])
        tip = root + np.array([here * rng.uniform(0.55, 0.8), rng.uniform(-0.12, 0.1)])
        thickness, blur = rng.uniform(0.018, 0.028), 0.004 if i == 0 else 0.0
        plants.shrub(stage, root, tip, thickness, leaves, green, bark, branches=7, blur=blur)


def vines(stage: Stage) -> None:
    """A curtain of hanging strands, with a gap here and there."""
    rng = stage.rng
    (_wall if rng.random() < 0.6 else _outdoors)(stage)
    green = _green(stage, autumn=0.1)
    leaves = _leaves(stage, rng.uniform(0.05, 0.068))
    count = rng.integers(10, 18)
    for i, x in enumerate(rng.permutation(np.linspace(0.03, 0.97, count))):
        near = i / (count - 1)
        length = rng.uniform(0.26, 0.58)
        pivot = np.array([x + rng.normal(0, 0.015), -0.02])
        hanging.vine(stage, pivot, length, leaves.scaled(0.8 + 0.4 * near), green, 0.35 + 0.4 * near)


def lanterns(stage: Stage) -> None:
    """Lanterns on cords; sometimes grass below."""
    rng = stage.rng
    kind = rng.choice(["round", "long", "box"])
    count = rng.integers(3, 8)
    base = rng.uniform(0.085, 0.115) * (5 / count) ** 0.5 * {"round": 1.1, "long": 0.8, "box": 0.9}[kind]
    places = []
    for x in rng.permutation((np.arange(count) + rng.uniform(0.35, 0.65, count)) / count):
        radius = base * rng.uniform(0.85, 1.2)
        cord = rng.uniform(0.06, 0.34) * (stage.aspect / 0.625)
        places.append((np.array([x, -0.02]), cord, radius))
    if stage.light is HOURS["night"]:
        glows = [(pivot + np.array([0, cord + radius]), float(1.8 * radius)) for pivot, cord, radius in places]
        backgrounds.darkness(stage, rng.uniform(0.55, 0.75), glows)
    else:
        (_wall if rng.random() < 0.6 else _outdoors)(stage)
    hues = rng.choice([0.0, 0.02, 0.07, 0.12, 0.3, 0.55, 0.9], 3)
    for pivot, cord, radius in sorted(places, key=lambda place: place[2]):
        color = hsv(rng.choice(hues), rng.uniform(0.65, 0.9), rng.uniform(0.8, 0.95))
        hanging.lantern(stage, pivot, cord, radius, kind, color)
    if rng.random() < 0.6:
        plants.grass(stage, stage.aspect + 0.02, rng.uniform(0.14, 0.26), _green(stage), 1.1)


def flames(stage: Stage) -> None:
    """Candles in the dark, seen from near."""
    rng = stage.rng
    count = rng.integers(2, 6)
    tall = rng.uniform(0.26, 0.34) * (3 / count) ** 0.3
    places = []
    for x in (np.arange(count) + rng.uniform(0.35, 0.65, count)) / count:
        height = tall * rng.uniform(0.85, 1.15)
        places.append((np.array([x, stage.aspect * rng.uniform(0.66, 0.88)]), height))
    backgrounds.darkness(stage, rng.uniform(0, 1), [(top - [0, 0.5 * height], 0.7 * height) for top, height in places])
    wax = hsv(rng.choice([0.1, 0.12, 0.0, 0.6]), rng.uniform(0.08, 0.6), rng.uniform(0.5, 0.75))
    holder = rng.choice(["none", "glass"])
    for top, height in places:
        candles.candle(stage, top, height * rng.uniform(0.24, 0.36), wax, holder)
        candles.flame(stage, top - [0, 0.018], height, height * rng.uniform(0.38, 0.5))


def laundry(stage: Stage) -> None:
    """Cloth pinned to a rope: sheets, flags and pennants. For the test split only."""
    rng = stage.rng
    (_wall if rng.random() < 0.4 else _outdoors)(stage)
    pattern = rng.choice(["plain", "stripes", "border", "pennant"])
    count = rng.integers(2, 6)
    line = stage.aspect * rng.uniform(0.05, 0.14)
    rope = Canvas((-0.02, line - 0.02, 1.02, line + 0.02), stage.width)
    sag = np.array([[-0.02, line], [0.5, line + 0.006], [1.02, line]])
    rope.stroke(sag, 0.007, stage.light.on((0.4, 0.34, 0.28), 0.8))
    stage.add(rope, None, nodes=(2, 2))
    hues = rng.uniform(0, 1, 3)
    for i in range(count):
        breadth = 0.84 / count
        color = hsv(hues[i % 3], rng.uniform(0.25, 0.8), rng.uniform(0.75, 0.97))
        corner = np.array([0.05 + i * 0.93 / count + rng.normal(0, 0.008), line])
        hanging.cloth(stage, corner, breadth * rng.uniform(0.85, 1.0), rng.uniform(0.26, 0.42), color, pattern)
    if rng.random() < 0.5:
        plants.grass(stage, stage.aspect + 0.02, rng.uniform(0.12, 0.2), _green(stage), 1.1)


Scene = Callable[[Stage], None]

TRAIN: dict[str, tuple[Scene, float, tuple[str, ...]]] = {
    "meadow": (meadow, 0.22, DAY),
    "corn": (corn, 0.12, DAY),
    "bushes": (bushes, 0.18, DAY),
    "boughs": (boughs, 0.16, DAY),
    "vines": (vines, 0.12, DAY),
    "lanterns": (lanterns, 0.14, (*DAY, "night", "night")),
    "flames": (flames, 0.05, ("golden",)),
}
"""Scene name -> builder, how often it is drawn, hours of the day."""

TEST_ONLY: dict[str, tuple[Scene, float, tuple[str, ...]]] = {"laundry": (laundry, 1.0, DAY)}
