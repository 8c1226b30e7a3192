"""Which parts of a clip's first picture are empty: nothing in them could tell motion, and nothing does.

The search for motion fills a black sky beside a flame with the flame's motion, for want of anything that speaks against
it. What is behind things stays, as far as one can see: a part of the picture is empty, and at rest, if it

- has no texture, and its colours never change;
- reaches the border of the picture: what is plain but surrounded, as a petal is, goes with what surrounds it;

and so is what adjoins it without an edge and keeps coming back to its own colours, when whatever moves before it has
passed. Last comes the rim of what moves: pixels that hold a little of it, or from which it moves away, and that show
the empty colour at times.
"""

import numpy as np
from scipy import ndimage

# Pixels are those of a picture 128 wide, luminance and colours of 255.
_WIDTH = 128
_PLAIN = 4.0  # a pixel: steeper is texture, ...
_SLOPE = 8.0  # ... and steeper is an edge, across which nothing is adjoined
_SAME = 3.0  # changes less in all but 2 % of the frames
_OFTEN = 30  # comes back as near as that in so many % of the frames
_BORDER = 16  # reaches the border along so many pixels
_REACH = 12  # adjoined so far away
_RIM, _BEYOND = 3, 2.5  # a rim is no wider; what it is the rim of is seen so far beyond
_LITTLE = 3.0  # so many times nearer in colour to the empty part than that is
_SHOWN, _TIMES = 12.0, 5  # shows the empty colour so nearly in so many % of the frames


def find_empty(pictures: np.ndarray) -> np.ndarray:
    """bool [h, w]: empty in pictures[0], of [t, h, w, 3], colours of 255."""
    pixel = pictures.shape[2] / _WIDTH
    first = pictures[0].astype(np.float32)
    change = np.stack([np.abs(picture - first).max(axis=-1) for picture in pictures])
    smooth = ndimage.gaussian_filter(change, (0, 0.5 * pixel, 0.5 * pixel))
    slope = _slope(first, 0.7 * pixel) * pixel
    still = (slope < _PLAIN) & (np.percentile(smooth, 98, axis=0) < _SAME)
    parts, count = ndimage.label(still)
    outline = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    touching = np.bincount(outline[outline > 0], minlength=count + 1)
    empty = (touching >= _BORDER * pixel)[parts] & still
    if not empty.any():
        return empty
    around = (slope < _SLOPE) & (np.percentile(smooth, _OFTEN, axis=0) < _SAME)
    empty = ndimage.binary_dilation(empty, iterations=max(1, round(_REACH * pixel)), mask=around | empty)
    return empty | _rim(pictures, empty, pixel)


def _rim(pictures: np.ndarray, empty: np.ndarray, pixel: float) -> np.ndarray:
    """bool [h, w]: rests like the empty part that it adjoins, but for what moves before it."""
    distance, nearest = ndimage.distance_transform_edt(~empty, return_indices=True)
    rim = ~empty & (distance <= _RIM * pixel)
    place, start = np.argwhere(rim).T, nearest[:, rim]
    beyond = np.rint(place + (place - start) / distance[rim] * _BEYOND * pixel).astype(int)
    beyond = np.clip(beyond, 0, np.array(empty.shape)[:, None] - 1)
    background, thing = (pictures[0, y, x].astype(np.float32) for y, x in (start, beyond))
    apart = np.abs(pictures[:, rim] - background).max(axis=-1)
    shown = np.percentile(apart, _TIMES, axis=0) < _SHOWN
    rim[rim] = shown & (_LITTLE * apart[0] < np.abs(thing - background).max(axis=-1))
    return rim


def _slope(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Of 255 per pixel, of the steepest channel of [h, w, 3]."""
    smoothing = (sigma, sigma, 0)
    across, down = (ndimage.gaussian_filter(picture, smoothing, order=order) for order in ((0, 1, 0), (1, 0, 0)))
    return np.hypot(across, down).max(axis=-1)
