"""Video files -> pictures at a fixed rate and size.

Time is presentation time, counted from the first frame: a video ends at its last frame's time plus that frame's
duration. Pictures are resized to cover the target and centre-cropped, with anti-aliasing, as they leave the decoder,
so that only pictures of the target size are ever kept.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from data_pipeline.quality_luma import LumaPass
from gid_jax.errors import UserError
from gid_jax.video.decoding import Shot, decode

Bars = tuple[float, float, float, float]
"""What black bars take of a picture: left, top, right, bottom, as shares of its width and height."""
NO_BARS: Bars = (0.0, 0.0, 0.0, 0.0)
_TOLERANCE = 0.05  # of a frame: time stamps in whole milliseconds are that coarse


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When the source frames of a video are shown, in s from the first, and what their luma (of 255) tells.

    Of each frame: `differences`, the mean absolute difference to the frame before, for frame 0 to the last, which is
    the seam of a loop; `spans`, the least difference between thumbnails before and after it (half a second or more,
    up to two), that is, how far the picture changes for good; `kinks`, how far thumbnails around it stray from blends
    that turn the one half a second before into the one half a second after, as a share of what these differ by;
    `relit`, whether it is the frame before in other light, for good; `leaps`, the `differences` of the pictures at
    8 x 5 pixels, in which wind hardly shows (where these two are not known they are empty). `bars`: shares of the
    picture that are black bars, left, top, right and bottom. `appearance` and `changes`: fingerprint
    (`quality_luma.unpack`). `strip`: the first frame beside its middle row over time, a JPEG in base64.
    """

    times: tuple[float, ...]
    differences: tuple[float, ...]
    spans: tuple[float, ...]
    kinks: tuple[float, ...]
    duration: float
    width: int
    height: int
    bars: Bars = NO_BARS
    appearance: str = ""
    changes: str = ""
    strip: str = ""
    relit: tuple[bool, ...] = ()
    leaps: tuple[float, ...] = ()

    def num_frames(self, fps: float) -> int:
        """Frames after resampling."""
        return math.floor(self.duration * fps + _TOLERANCE)


@dataclasses.dataclass(frozen=True)
class Crop:
    """The part of a source picture that covers the target, centred, in source pixels; and the target's size."""

    left: float
    top: float
    width: float
    height: float
    target_width: int
    target_height: int

    @classmethod
    def cover(
        cls,
        source: tuple[int, int],
        target: tuple[int, int],
        pixel_aspect: float = 1.0,
        bars: Bars = NO_BARS,
    ) -> "Crop":
        """`source` and `target` are (width, height). `pixel_aspect` is the width of a source pixel over its height.

        `bars` (`Timeline.bars`) are no part of the picture.
        """
        left, top = bars[0] * source[0], bars[1] * source[1]
        inner = source[0] * (1 - bars[0] - bars[2]), source[1] * (1 - bars[1] - bars[3])
        scale = max(target[0] / (inner[0] * pixel_aspect), target[1] / inner[1])
        width = min(target[0] / (scale * pixel_aspect), inner[0])
        height = min(target[1] / scale, inner[1])
        return cls(left + (inner[0] - width) / 2, top + (inner[1] - height) / 2, width, height, *target)

    @property
    def scale(self) -> float:
        """Target pixels per source pixel, along y."""
        return self.target_height / self.height

    def apply(self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        return image.resize((self.target_width, self.target_height), resample, box, reducing_gap=3.0)


def read_timeline(path: Path, bar_luma: float) -> Timeline:
    """Decodes the whole video once. Luma is judged at up to 512 pixels of width; `bar_luma` 0: looks for no bars.

    Raises `UserError` where the file is missing, empty, truncated or no video.
    """
    times: list[float] = []
    luma_pass = LumaPass()
    end, size = 0.0, (0, 0)
    reformatter = VideoReformatter()  # one for all frames: setting it up costs more than using it
    for shot in decode(path):
        frame = shot.frame
        width = min(frame.width, 512)
        height = max(1, round(frame.height * width / frame.width))
        luma = reformatter.reformat(frame, width, height, "gray").to_ndarray()
        luma_pass.add(shot.time, np.ascontiguousarray(shot.orientation.apply(luma), np.float32))
        times.append(shot.time)
        end, size = shot.time + shot.length, shot.size
    return Timeline(tuple(times), duration=end, width=size[0], height=size[1], **luma_pass.finish(bar_luma))


def read_frames(
    path: Path, *, fps: float, width: int, height: int, loop: bool = False, bars: Bars = NO_BARS
) -> Iterator[np.ndarray]:
    """The video at `fps`, each time the frame nearest to it: uint8 [height, width, 3]; over and over if a `loop`.

    `bars` (`Timeline.bars`) are cut off. Raises `UserError` like `read_timeline`.
    """
    for _ in itertools.count() if loop else range(1):
        count, shown, size, reformatter = 0, None, (width, height), VideoReformatter()
        for shot in decode(path):
            if shown is not None:
                until = math.ceil((shown.time + shot.time) / 2 * fps - 1e-6)
                yield from _repeat(shown, until - count, size, bars, reformatter)
                count = max(count, until)
            shown = shot
        assert shown is not None
        total = math.floor((shown.time + shown.length) * fps + _TOLERANCE)
        yield from _repeat(shown, total - count, size, bars, reformatter)


class WindowReader:
    """Reads windows of `length` frames. Windows of one video that are asked for in order cost one pass over it."""

    def __init__(
        self,
        length: int,
        *,
        fps: float,
        width: int,
        height: int,
        read: Callable[..., Iterator[np.ndarray]] = read_frames,
    ):
        self._read = functools.partial(read, fps=fps, width=width, height=height)
        self._window: collections.deque[np.ndarray] = collections.deque(maxlen=length)
        self._playing: tuple[Path, bool, Bars] | None = None
        self._frames: Iterator[np.ndarray] = iter(())
        self._position = 0

    def read(self, path: Path, start: int, *, loop: bool, bars: Bars = NO_BARS, fill: int = 0) -> np.ndarray:
        """Frames start ... start + length - 1, uint8 [t, h, w, 3].

        Up to `fill` frames that the video lacks at its end are its last one. Raises `UserError` if it lacks more.
        """
        length = self._window.maxlen or 0
        if self._playing != (path, loop, bars) or self._position > start + length:
            self._playing, self._position = (path, loop, bars), 0
            self._window.clear()
            self._frames = self._read(path, loop=loop, bars=bars)
        for frame in itertools.islice(self._frames, start + length - self._position):
            self._window.append(frame)
            self._position += 1
        missing = start + length - self._position
        if 0 < missing <= fill and self._position > start:
            self._playing = None
            seen = list(self._window)[missing - length :]
            return np.stack(seen + seen[-1:] * missing)
        if missing:
            self._playing = None
            raise UserError(f"{path}: ends after {self._position} frames, before frame {start + length}; leave it out")
        return np.stack(self._window)


def source_crop(path: Path, width: int, height: int, bars: Bars = NO_BARS) -> Crop:
    """The crop that `read_frames` applies to the first frame."""
    return _crop(next(decode(path)), (width, height), bars)


def _repeat(
    shot: Shot, times: int, size: tuple[int, int], bars: Bars, reformatter: VideoReformatter
) -> Iterator[np.ndarray]:
    if times > 0:
        picture = reformatter.reformat(shot.frame, format="rgb24").to_ndarray()
        upright = np.ascontiguousarray(shot.orientation.apply(picture))
        yield from itertools.repeat(np.asarray(_crop(shot, size, bars).apply(Image.fromarray(upright))), times)


def _crop(shot: Shot, size: tuple[int, int], bars: Bars) -> Crop:
    return Crop.cover(shot.size, size, shot.pixel_aspect, bars)
