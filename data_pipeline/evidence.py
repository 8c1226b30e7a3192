"""Where in a clip's first picture a reason against it was seen, for the eye of who may overrule it."""

import io

import numpy as np
from PIL import Image

from data_pipeline import quality_measures
from data_pipeline.contact_sheet import encode_jpeg

KINDS = "flicker", "camera motion", "time-lapse"
_WIDTH = 160
_LIGHT = 8.0  # of 255: light that changes so much is drawn in full red, ...
_DRIFT = 4.0  # ... and a drift of so many px at a width of 256
_MOVES = 0.5  # px at 256 wide


def draw(pictures: np.ndarray, trajectories: np.ndarray) -> bytes:
    """A JPEG with a panel for each of `KINDS`, of uint8 [t, h, w, 3] and trajectories [t, h, w, 2].

    Red over the greyed picture: where light changes, where textured parts move (green: where they stay), what drifts.
    """
    maps = quality_measures.maps(pictures, trajectories)
    size = _WIDTH, round(_WIDTH * pictures.shape[1] / pictures.shape[2])
    grey = np.asarray(Image.fromarray(pictures[0]).convert("L").resize(size), np.float32)[..., None] * 0.6
    red, green = np.array([255.0, 40, 30]), np.array([30.0, 210, 60])

    def panel(share: np.ndarray, color: np.ndarray, under: np.ndarray) -> np.ndarray:
        image = Image.fromarray(np.asarray(share, np.float32)).resize(size, Image.Resampling.BILINEAR)
        alpha = 0.8 * np.clip(np.asarray(image), 0, 1)[..., None]
        return (1 - alpha) * under + alpha * color

    moves = maps["motion"] > _MOVES
    panels = [
        panel(maps["light"] / _LIGHT, red, grey),
        panel(maps["told"] & moves, red, panel(maps["told"] & ~moves, green, grey)),
        panel(maps["drift"] / _DRIFT, red, grey),
    ]
    whole = np.concatenate([np.broadcast_to(part, (*part.shape[:2], 3)) for part in panels], axis=1)
    return encode_jpeg(np.round(whole).astype(np.uint8))


def panel(jpeg: bytes, kind: str) -> bytes | None:
    """The panel of a kind of reason; None for one that has none."""
    if kind not in KINDS:
        return None
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    return encode_jpeg(np.split(picture, len(KINDS), axis=1)[KINDS.index(kind)])
