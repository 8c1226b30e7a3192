"""Which videos show the same recording as another: coded again, cropped, mirrored, faster or slower.

Compared are the fingerprints of `quality_luma`: the mean picture, and how the picture departs from it at even shares of
the video. Another take of a scene has the same mean picture, but other departures.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from data_pipeline.quality_luma import LOOK, unpack

_CROPS = {1.0: 1, 0.9: 3, 0.8: 5, 0.7: 5, 0.6: 5}  # what is left of width and height: places tried along each
_COARSE = 16, 10  # pixels at which fingerprints are compared
_BATCH = 64
_STRONG = 0.1  # of the pixels: those that change most
_TRIED = 4  # crops that look most alike
Box = tuple[float, float, float, float]
"""left, top, right, bottom as shares of the picture"""
BOXES: list[Box] = [
    (x * (1 - scale), y * (1 - scale), x * (1 - scale) + scale, y * (1 - scale) + scale)
    for scale, places in _CROPS.items()
    for x, y in itertools.product(np.linspace(0, 1, places), repeat=2)
]


def find_copies(fingerprints: Sequence[tuple[str, str]], filters: ConfigDict) -> dict[int, int]:
    """Videos that show the same recording as an earlier one of the list, by index -> index of that one.

    Fingerprints are (`Timeline.appearance`, `Timeline.changes`). Either of the two may be the part of the other.
    """
    looks = [unpack(appearance).reshape(LOOK[::-1]) for appearance, _ in fingerprints]
    changes = [moments for _, moments in fingerprints]
    copies: dict[int, int] = {}
    for i, j in _alike(looks, filters.copy_appearance):
        if i not in copies and (_shows(looks, changes, j, i, filters) or _shows(looks, changes, i, j, filters)):
            copies[i] = copies.get(j, j)
    return copies


def _alike(looks: list[np.ndarray], least: float) -> list[tuple[int, int]]:
    """Pairs (later, earlier) of which one looks like a part of the other, mirrored or not, in order."""
    views = [np.stack([_part(look[:, ::step], BOXES[0]) for look in looks]) for step in (1, -1) if looks]
    pairs = set()
    for start in range(0, len(looks), _BATCH):
        parts = np.stack([_part(look, box) for look in looks[start : start + _BATCH] for box in BOXES])
        for view in views:
            likeness = (parts @ view.T).reshape(-1, len(BOXES), len(looks)).max(axis=1)
            pairs |= {(max(start + i, j), min(start + i, j)) for i, j in np.argwhere(likeness >= least).tolist()}
    return sorted((i, j) for i, j in pairs if i != j)


def _shows(looks: list[np.ndarray], changes: list[str], whole: int, part: int, filters: ConfigDict) -> bool:
    """Whether one recording, or a part of its picture, is the other: looks like it and departs from that likewise."""
    of_whole, of_part = (unpack(changes[i]).reshape(-1, *LOOK[::-1]) for i in (whole, part))
    for step in (1, -1):
        look = _part(looks[part][:, ::step], BOXES[0])
        moments = _coarse(of_part[:, :, ::step], BOXES[0])
        likeness = np.array([_part(looks[whole], box) @ look for box in BOXES])
        for k in np.argsort(likeness)[: -1 - _TRIED : -1]:
            if likeness[k] < filters.copy_appearance:
                break
            if _agreement(_coarse(of_whole, BOXES[k]), moments) >= filters.copy_changes:
                return True
    return False


def _coarse(moments: np.ndarray, box: Box) -> np.ndarray:
    """Parts of [n, h, w]: [n, pixels]."""
    return np.stack([_resize(moment, _COARSE, box).ravel() for moment in moments])


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of changes [n, pixels] where the first are strongest: elsewhere may be but a coder's noise."""
    power = np.sum(first**2, axis=0)
    strong = power >= np.percentile(power, 100 * (1 - _STRONG))
    a, b = first[:, strong].ravel(), second[:, strong].ravel()
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6)


def _part(picture: np.ndarray, box: Box) -> np.ndarray:
    """A part of [h, w] as a small vector of mean 0 and unit length."""
    small = _resize(picture, _COARSE, box).ravel()
    small = small - small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def _resize(picture: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """A part of [h, w] at (width, height) px, averaged where that is less."""
    height, width = picture.shape
    inner = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, inner), np.float32)
