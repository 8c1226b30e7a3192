"""Good clips spoilt on purpose: one fault each, and the reason for which the build is to reject it."""

from collections.abc import Callable

import numpy as np
from PIL import Image

MARGIN = 1.25  # pictures come larger by this factor, so that a camera has where to go
Pictures = np.ndarray
"""uint8 [t, h, w, 3]"""


def film(
    pictures: Pictures,
    shift: np.ndarray | None = None,
    turn: np.ndarray | None = None,
    zoom: np.ndarray | None = None,
) -> Pictures:
    """What a camera sees of the middle: moved by `shift` [t, 2] (share of the width), `turn` [t] (rad), `zoom` [t]."""
    count, height, width = pictures.shape[:3]
    size = round(width / MARGIN), round(height / MARGIN)
    shift = np.zeros((count, 2)) if shift is None else shift
    turn = np.zeros(count) if turn is None else turn
    zoom = np.ones(count) if zoom is None else zoom
    seen = []
    for picture, move, angle, scale in zip(pictures, shift, turn, zoom, strict=True):
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        x, y = width / 2 + move[0] * size[0], height / 2 + move[1] * size[0]
        left = x - cosine * size[0] / 2 + sine * size[1] / 2
        top = y - sine * size[0] / 2 - cosine * size[1] / 2
        affine = (cosine, -sine, left, sine, cosine, top)
        image = Image.fromarray(picture)
        seen.append(image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))
    return np.stack([np.asarray(image) for image in seen])


def pan(pictures: Pictures) -> Pictures:
    """14 px at 256 wide in the course of the clip."""
    return film(pictures, shift=_ramp(pictures)[:, None] * np.array([14 / 256, 0]))


def zoom(pictures: Pictures) -> Pictures:
    return film(pictures, zoom=1 + 0.07 * _ramp(pictures))


def shake(pictures: Pictures) -> Pictures:
    """A hand: 1 px at 256 wide and a fifth of a degree, root mean square, up to some 2 Hz."""
    moves = np.stack([wander(len(pictures), seed) for seed in range(3)], axis=1)
    return film(pictures, shift=moves[:, :2] / 256, turn=moves[:, 2] * np.radians(0.2))


def flicker(pictures: Pictures) -> Pictures:
    """A lamp: 8 % at 3 Hz."""
    return _light(film(pictures), 1 + 0.08 * np.sin(2 * np.pi * 3 * np.arange(len(pictures)) / 30)[:, None, None])


def tea_light(pictures: Pictures) -> Pictures:
    """A glow on whatever is there, that a flame outside of the picture throws."""
    seen = film(pictures)
    height, width = seen.shape[1:3]
    y, x = np.mgrid[:height, :width] / width
    glow = np.exp(-np.hypot(x - 0.35, y - 0.3) / 0.2)
    return _light(seen, 0.7 + 0.12 * wander(len(seen), 0)[:, None, None] * glow)


def exposure_step(pictures: Pictures) -> Pictures:
    """A camera that opens its iris by a quarter within a third of a second, once."""
    share = np.clip((np.arange(len(pictures)) - 0.4 * len(pictures)) / 10, 0, 1)
    return _light(film(pictures), 0.8 * (1 + 0.25 * share)[:, None, None])


def clouds(pictures: Pictures) -> Pictures:
    """A cloud that passes before the sun: all of the picture darkens by a quarter and brightens, over seconds."""
    return _light(film(pictures), 1 - 0.12 * (1 + np.sin(np.arange(len(pictures)) / 30 * 2.0))[:, None, None])


def lamp(pictures: Pictures) -> Pictures:
    """Mains light under a rolling shutter: bands of 10 % that run through the picture."""
    seen = film(pictures)
    rows = np.arange(seen.shape[1])[:, None] / seen.shape[1]
    phase = 2 * np.pi * (1.3 * rows + 0.35 * np.arange(len(seen))[:, None, None])
    return _light(seen, 1 + 0.1 * np.sin(phase))


def tilt(pictures: Pictures) -> Pictures:
    """10 px at 256 wide, downwards."""
    return film(pictures, shift=_ramp(pictures)[:, None] * np.array([0, 10 / 256]))


def drift(pictures: Pictures) -> Pictures:
    """A camera on its way: 5 px at 256 wide, and the steps of who carries it."""
    steps = np.stack([wander(len(pictures), seed, 1.5) for seed in (5, 6)], axis=1)
    return film(pictures, shift=(_ramp(pictures)[:, None] * np.array([4, 3]) + 0.7 * steps) / 256)


def time_lapse(pictures: Pictures) -> Pictures:
    """A bud that opens: the middle of a still picture swells and never shrinks."""
    still = film(pictures[:1])[0]
    height, width = still.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    swell = 0.35 * np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / (0.2 * width) ** 2)
    opened = []
    for share in _ramp(pictures):
        shrink = 1 / (1 + share * swell)
        opened.append(_sample(still, width / 2 + (x - width / 2) * shrink, height / 2 + (y - height / 2) * shrink))
    return np.stack(opened)


def still(pictures: Pictures) -> Pictures:
    """Nothing but a sensor's noise, 2 of 255."""
    seen = np.repeat(film(pictures[:1]), len(pictures), axis=0)
    return _bytes(seen + np.random.default_rng(0).normal(0, 2, seen.shape))


def duplicates(pictures: Pictures) -> Pictures:
    """Each frame three times, as a slow camera's in a quick container."""
    return film(pictures)[np.arange(len(pictures)) // 3 * 3]


def cut(pictures: Pictures) -> Pictures:
    """Two shots of one scene: then another part of it, nearer."""
    first, second = film(pictures), film(pictures[:, :, ::-1], zoom=np.full(len(pictures), 1.4))
    middle = len(pictures) // 2
    return np.concatenate([first[:middle], second[middle:]])


def fade(pictures: Pictures) -> Pictures:
    """To black within a second, from the middle on."""
    return _light(film(pictures), np.clip((len(pictures) / 2 - np.arange(len(pictures))) / 30 + 1, 0, 1)[:, None, None])


def dissolve(pictures: Pictures) -> Pictures:
    """Into another view of the scene, within a second."""
    share = np.clip((np.arange(len(pictures)) - len(pictures) / 2) / 30, 0, 1)[:, None, None, None]
    return _bytes((1 - share) * film(pictures) + share * film(pictures[:, :, ::-1]))


def letterbox(pictures: Pictures, share: float = 0.15) -> Pictures:
    """Black bars above and below, each this share of the height."""
    seen = film(pictures)
    bar = np.zeros((len(seen), round(share * seen.shape[1]), *seen.shape[2:]), np.uint8)
    return np.concatenate([bar, seen, bar], axis=1)


def pillarbox(pictures: Pictures) -> Pictures:
    return np.swapaxes(letterbox(np.swapaxes(pictures, 1, 2)), 1, 2)


FAULTS: dict[str, tuple[Callable[[Pictures], Pictures], str | None]] = {
    "good": (film, None),
    "letterbox": (letterbox, None),
    "pillarbox": (pillarbox, None),
    "pan": (pan, "camera motion"),
    "tilt": (tilt, "camera motion"),
    "drift": (drift, "camera motion"),
    "zoom": (zoom, "camera motion"),
    "shake": (shake, "camera motion"),
    "cut": (cut, "cut"),
    "fade": (fade, "fade"),
    "dissolve": (dissolve, "fade"),
    "flicker": (flicker, "flicker"),
    "tea light": (tea_light, "flicker"),
    "exposure step": (exposure_step, "flicker"),
    "clouds": (clouds, "flicker"),
    "lamp": (lamp, "flicker"),
    "time-lapse": (time_lapse, "time-lapse"),
    "still": (still, "static"),
    "duplicates": (duplicates, "duplicated frames"),
}
"""Name -> (what it does to a clip, how the reason against it begins; None: accepted)"""


def _ramp(pictures: Pictures) -> np.ndarray:
    return np.arange(len(pictures)) / (len(pictures) - 1)


def wander(count: int, seed: int, hertz: float = 2.0) -> np.ndarray:
    """Smooth noise [count] at 30 fps, up to some `hertz`, that starts at 0, of unit variance."""
    noise = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    smooth = np.fft.irfft(noise * np.exp(-((np.fft.rfftfreq(count, 1 / 30) / hertz) ** 2)), count)
    return (smooth - smooth[0]) / smooth.std()


def _light(pictures: Pictures, gain: np.ndarray) -> Pictures:
    """`gain` [t, h or 1, w or 1]"""
    return _bytes(pictures * gain[..., None])


def _bytes(values: np.ndarray) -> Pictures:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, picture.shape[1] - 1), np.minimum(top + 1, picture.shape[0] - 1)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - fx) + picture[top, right] * fx
    lower = picture[bottom, left] * (1 - fx) + picture[bottom, right] * fx
    return _bytes(upper * (1 - fy) + lower * fy)
