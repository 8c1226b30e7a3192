"""Video files -> pictures at a fixed rate and size.

Time is presentation time, counted from the first frame: a video ends at its last frame's time plus that frame's
duration. Pictures are resized to cover the target and centre-cropped, with anti-aliasing, as they leave the decoder,
so that only pictures of the target size are ever kept.
"""

import collections
import dataclasses
import errno
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from data_pipeline.quality_luma import LumaPass
from gid_jax.errors import UserError

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv")
MAX_GAP = 60.0  # s from one frame to the next; more is a damaged time stamp, and would repeat a frame for years
Bars = tuple[float, float, float, float]
"""What black bars take of a picture: left, top, right, bottom, as shares of its width and height."""
NO_BARS: Bars = (0.0, 0.0, 0.0, 0.0)
_TOLERANCE = 0.05  # of a frame: time stamps in whole milliseconds are that coarse


def on_frame() -> None:
    """Called for every decoded frame; `isolation` puts its own here, to tell a slow decoder from one that hangs."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When the source frames of a video are shown, in s from the first, and what their luma (of 255) tells.

    Of each frame: `differences`, the mean absolute difference to the frame before, for frame 0 to the last, which is
    the seam of a loop; `spans`, the least difference between thumbnails before and after it (half a second or more,
    up to two), that is, how far the picture changes for good; `kinks`, how far thumbnails around it stray from blends
    that turn the one half a second before into the one half a second after, as a share of what these differ by. `bars`:
    shares of the picture that are black bars, left, top, right and bottom. `appearance` and `changes`: fingerprint
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
    for time, length, frame, _ in _decode(path):
        width = min(frame.width, 512)
        height = max(1, round(frame.height * width / frame.width))
        luma = reformatter.reformat(frame, width, height, "gray").to_ndarray()
        upright = np.ascontiguousarray(np.rot90(luma, _quarter_turns(frame)), np.float32)
        luma_pass.add(time, upright)
        times.append(time)
        end, size = time + length, _upright_size(frame)
    return Timeline(tuple(times), duration=end, width=size[0], height=size[1], **luma_pass.finish(bar_luma))


def read_frames(
    path: Path, *, fps: float, width: int, height: int, loop: bool = False, bars: Bars = NO_BARS
) -> Iterator[np.ndarray]:
    """The video at `fps`, each time the frame nearest to it: uint8 [height, width, 3]; over and over if a `loop`.

    `bars` (`Timeline.bars`) are cut off. Raises `UserError` like `read_timeline`.
    """
    for _ in itertools.count() if loop else range(1):
        count, shown, size, reformatter = 0, None, (width, height), VideoReformatter()
        for shot in _decode(path):
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

    def read(self, path: Path, start: int, *, loop: bool, bars: Bars = NO_BARS) -> np.ndarray:
        """Frames start ... start + length - 1, uint8 [t, h, w, 3]. Raises `UserError` if the video ends before."""
        length = self._window.maxlen or 0
        if self._playing != (path, loop, bars) or self._position > start + length:
            self._playing, self._position = (path, loop, bars), 0
            self._window.clear()
            self._frames = self._read(path, loop=loop, bars=bars)
        for frame in itertools.islice(self._frames, start + length - self._position):
            self._window.append(frame)
            self._position += 1
        if self._position != start + length:
            self._playing = None
            raise UserError(f"{path}: ends after {self._position} frames, before frame {start + length}; leave it out")
        return np.stack(self._window)


def source_crop(path: Path, width: int, height: int, bars: Bars = NO_BARS) -> Crop:
    """The crop that `read_frames` applies to the first frame."""
    return _crop(next(_decode(path)), (width, height), bars)


class _Shot(NamedTuple):
    time: float  # s after the first frame
    length: float  # s
    frame: av.VideoFrame
    pixel_aspect: float  # width of a pixel over its height, as stored


def _repeat(
    shot: _Shot, times: int, size: tuple[int, int], bars: Bars, reformatter: VideoReformatter
) -> Iterator[np.ndarray]:
    if times > 0:
        picture = reformatter.reformat(shot.frame, format="rgb24").to_ndarray()
        upright = np.rot90(picture, _quarter_turns(shot.frame))
        image = _crop(shot, size, bars).apply(Image.fromarray(np.ascontiguousarray(upright)))
        yield from itertools.repeat(np.asarray(image), times)


def _crop(shot: _Shot, size: tuple[int, int], bars: Bars) -> Crop:
    aspect = 1 / shot.pixel_aspect if _quarter_turns(shot.frame) % 2 else shot.pixel_aspect
    return Crop.cover(_upright_size(shot.frame), size, aspect, bars)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise turns by 90 degrees that put the picture upright."""
    return round(frame.rotation / 90) % 4


def _upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    return (frame.height, frame.width) if _quarter_turns(frame) % 2 else (frame.width, frame.height)


def _decode(path: Path) -> Iterator[_Shot]:
    """In order of presentation. A frame whose time does not advance is left out.

    One thread decodes, because what more of them make of a damaged stream depends on their number. The file is opened
    by descriptor, which keeps playlists from drawing in other files.
    """
    check_file(path)
    origin, last, length, declared = None, -math.inf, 0.0, None
    try:
        with path.open("rb") as file, _open(file) as container:
            if not container.streams.video:
                raise UserError(f"{path}: has no picture, only sound or data; leave it out")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            if stream.duration and stream.time_base:
                declared = float(stream.duration * stream.time_base)
            aspect = float(stream.sample_aspect_ratio or 1)
            usual = float(1 / stream.average_rate) if stream.average_rate else 1 / 30
            for frame in container.decode(stream):
                on_frame()
                time = last + usual if frame.time is None else frame.time
                if frame.is_corrupt:
                    raise ValueError("a frame is incomplete")
                origin = (0.0 if frame.time is None else time) if origin is None else origin
                if not time > last:
                    continue
                length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
                if max(length, time - max(last, origin)) > MAX_GAP:
                    raise ValueError(f"time stamps jump by over {MAX_GAP:g} s")
                last = time
                yield _Shot(time - origin, length, frame, aspect)
    except (av.error.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError from error
        after = "" if last == -math.inf else f" after {last - (origin or 0.0):.1f} s"
        found = f"damaged ({_reason(error)}{after})" if after else f"not a video, or damaged ({_reason(error)})"
        raise UserError(f"{path}: {found}; export it again or leave it out") from error
    if origin is None:
        raise UserError(f"{path}: holds no frame that can be decoded; export it again or leave it out")
    if declared is not None and last - origin + length < 0.9 * declared - 0.1:
        found = f"{last - origin + length:.1f} of {declared:.1f} s"
        raise UserError(f"{path}: truncated, only {found} are there; copy it again or leave it out")


def check_file(path: Path) -> None:
    """Raises `UserError` for what is no file, an empty one, or one that cannot be read."""
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a video; rename it or leave it out")
    if not path.is_file():
        kind = "not a file" if path.exists() else "leads nowhere" if path.is_symlink() else "no such file"
        raise UserError(f"{path}: {kind}; check --videos")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError(f"{path}: the file is empty; copy it again or leave it out")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions or leave it out") from error


def _open(file: BinaryIO) -> av.container.InputContainer:
    options = {"fd": str(file.fileno()), "protocol_whitelist": "fd"}
    return av.open("fd:", options=options, metadata_errors="ignore")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
