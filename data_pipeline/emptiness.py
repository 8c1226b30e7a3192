"""Which parts of a clip's first picture are empty: nothing in them could tell motion, and nothing does.

The search for motion fills a black sky beside a flame with the flame's motion, for want of anything that speaks against
it. What is behind things stays, as far as one can see: a part of the picture is empty, and at rest, if it

- has no texture, and its colours never change;
- reaches the border of the picture: what is plain but surrounded, as a petal is, goes with what surrounds it;

and so is what adjoins it in nearly its colours and keeps coming back to them, when whatever moves before it has passed.
"""

import numpy as np
from scipy import ndimage

# Pixels are those of a picture 128 wide, luminance and colours of 255.
_WIDTH = 128
_PLAIN = 4.0  # a pixel: steeper is texture, ...
_SLOPE = 8.0  # ... and steeper is an edge, across which nothing is adjoined
_SAME = 3.0  # changes less in all but 2 % of the frames
_BACK, _OFTEN = 8.0, 30  # comes back so near to its colour in so many % of the frames
_BORDER = 16  # reaches the border along so many pixels
_REACH = 12  # adjoined so far away
_EDGE, _CLOSE = 25.0, 3  # adjoined across the blur of an edge: so much of another colour, so far away


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
    around = (slope < _SLOPE) & (np.percentile(smooth, _OFTEN, axis=0) < _BACK)
    empty = ndimage.binary_dilation(empty, iterations=max(1, round(_REACH * pixel)), mask=around | empty)
    distance, nearest = ndimage.distance_transform_edt(~empty, return_indices=True)
    alike = np.abs(first - first[tuple(nearest)]).max(axis=-1) < _EDGE
    back = np.percentile(change, _OFTEN, axis=0) < _BACK
    return empty | ((distance <= _CLOSE * pixel) & alike & back)


def _slope(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Of 255 per pixel, of the steepest channel of [h, w, 3]."""
    smoothing = (sigma, sigma, 0)
    across, down = (ndimage.gaussian_filter(picture, smoothing, order=order) for order in ((0, 1, 0), (1, 0, 0)))
    return np.hypot(across, down).max(axis=-1)
