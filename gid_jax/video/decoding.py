"""Video files -> their frames in the order and at the times they are shown, of one brightness and colour.

One thread decodes, because what more of them make of a damaged stream depends on their number. The file is opened by
descriptor, which keeps playlists from drawing in other files.
"""

import collections
import errno
import functools
import heapq
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.buffer
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorTrc

from gid_jax.errors import UserError
from gid_jax.video.mending import Mender

MAX_GAP = 60.0  # s from one frame to the next; more is a damaged time stamp, and would repeat a frame for years
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_DOLBY_VISION = ("dvh1", "dvhe", "dva1", "dvav", "dav1")  # sample entries of tracks without an ordinary base picture
# Titles that are not UTF-8 are no damage: from 19 on PyAV says so itself and has no argument for it.
_ANY_TITLE: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}
_LOOKAHEAD = 60  # packets: a stream whose frames are reordered at all does so within two seconds


def on_frame() -> None:
    """Called for every decoded frame; `isolation` puts its own here, to tell a slow decoder from one that hangs."""


class Orientation(NamedTuple):
    """What puts a stored picture upright: swap x and y, then mirror left to right, then turn top to bottom."""

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """`picture` is [h, w] or [h, w, c]. Returns a view."""
        picture = picture.swapaxes(0, 1) if self.swap else picture
        return picture[:: -1 if self.flip else 1, :: -1 if self.mirror else 1]


class Shot(NamedTuple):
    """A frame as stored, and how and when it is shown."""

    time: float  # s after the first frame
    length: float  # s
    frame: av.VideoFrame
    orientation: Orientation
    stored_aspect: float  # width of a pixel over its height, as stored

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        size = self.frame.width, self.frame.height
        return size[::-1] if self.orientation.swap else size

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height, upright."""
        return 1 / self.stored_aspect if self.orientation.swap else self.stored_aspect


def decode(path: Path) -> Iterator[Shot]:
    """In order of presentation. A frame whose time does not advance is left out.

    Raises `UserError` where the file is missing, empty, truncated, no video, or in colours that cannot be converted.
    """
    check_file(path)
    clock, mender, declared = _Clock(), Mender(), None
    known, orientation = None, Orientation()
    waiting: collections.deque[Shot] = collections.deque()

    def mended(frames: Iterator[av.VideoFrame]) -> Iterator[Shot]:
        return (waiting.popleft()._replace(frame=frame) for frame in frames)

    try:
        with path.open("rb") as file, _open(file) as container:
            stream = _choose_track(path, container)
            stream.codec_context.thread_count = 1
            if stream.duration and stream.time_base:
                declared = float(stream.duration * stream.time_base)
            dolby_vision = stream.codec_context.codec_tag in _DOLBY_VISION
            aspect = float(stream.sample_aspect_ratio or 1)
            clock.usual = float(1 / stream.average_rate) if stream.average_rate else 1 / 30
            for frame in _frames(container, stream):
                on_frame()
                if frame.is_corrupt:
                    raise ValueError("a frame is incomplete")
                if dolby_vision and frame.color_trc == ColorTrc.UNSPECIFIED:
                    raise UserError("HDR (Dolby Vision) that only its own decoders show; export as SDR or leave it out")
                # PyAV's side data and their frame hold each other until the garbage collector comes: not for every one
                if (sign := (frame.width, frame.height, frame.rotation)) != known:
                    known, orientation = sign, _orientation(frame)
                time = clock.advance(frame)
                if time is not None:
                    waiting.append(Shot(time, clock.length, frame, orientation, aspect))
                    yield from mended(mender.push(frame))
            yield from mended(mender.flush())
    except UserError as error:
        raise error if str(error).startswith(f"{path}: ") else UserError(f"{path}: {error}") from None
    except (av.error.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError from error
        where = f" after {clock.elapsed:.1f} s" if clock.began else ""
        found = f"damaged ({_reason(error)}{where})" if where else f"not a video, or damaged ({_reason(error)})"
        raise UserError(f"{path}: {found}; export it again or leave it out") from error
    if not clock.began:
        raise UserError(f"{path}: holds no frame that can be decoded; export it again or leave it out")
    if declared is not None and clock.elapsed + clock.length < 0.9 * declared - 0.1:
        found = f"{clock.elapsed + clock.length:.1f} of {declared:.1f} s"
        raise UserError(f"{path}: truncated, only {found} are there; copy it again or leave it out")


def check_file(path: Path) -> None:
    """Raises `UserError` for what is no file, an empty one, one that cannot be read, or what macOS keeps beside it."""
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a video; rename it or leave it out")
    if not path.is_file():
        kind = "not a file" if path.exists() else "leads nowhere" if path.is_symlink() else "no such file"
        raise UserError(f"{path}: {kind}; check --videos")
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions or leave it out") from error
    if not head:
        raise UserError(f"{path}: the file is empty; copy it again or leave it out")
    if path.name.startswith("._") and head == b"\0\5\26\7":
        raise UserError(f"{path}: not a video, but what macOS notes about {path.name[2:]}; leave it out")


class _Clock:
    """Times of frames, in s: their own, or where they have none, one after the other by their length."""

    def __init__(self) -> None:
        self.usual = 1 / 30
        self.length = 0.0  # of the newest frame
        self._origin = self._last = -math.inf

    @property
    def began(self) -> bool:
        return self._last > -math.inf

    @property
    def elapsed(self) -> float:
        """From the first frame to the newest."""
        return self._last - self._origin

    def advance(self, frame: av.VideoFrame) -> float | None:
        """s from the first frame to this one; None for one that is not later than the one before."""
        time = frame.time
        if time is None:
            time = self._last + self.length if self.began else 0.0
        if not time > self._last:
            return None
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else self.usual
        if max(length, time - self._last if self.began else 0.0) > MAX_GAP:
            raise ValueError(f"time stamps jump by over {MAX_GAP:g} s")
        self._origin = self._origin if self.began else time
        self._last, self.length = time, length
        return self.elapsed


def _frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """As they are shown; without `pts` where the format holds no times (raw streams): what is guessed there is wrong.

    Some containers (AVI) number frames as they are stored. Such a stream is one that reorders frames, though its times
    only ever rise; there each frame takes the smallest time left.
    """
    packets = container.demux(stream)
    times_exist = not container.format.flags & _NO_TIMESTAMPS
    as_stored = False
    if times_exist and stream.codec_context.has_b_frames:
        first = list(itertools.islice(packets, _LOOKAHEAD))
        times = [packet.pts for packet in first if packet.pts is not None]
        as_stored = all(a < b for a, b in itertools.pairwise(times))
        packets = itertools.chain(first, packets)
    waiting: list[int] = []
    for packet in packets:
        if as_stored and packet.pts is not None and not packet.is_discard:
            heapq.heappush(waiting, packet.pts)
        for frame in packet.decode():
            if as_stored:
                frame.pts = heapq.heappop(waiting) if waiting else None
            elif not times_exist:
                frame.pts = None
            yield frame


def _choose_track(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    """Of several the default one, then the largest; no cover, no preview, no still picture unless there is no other."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    tracks = [track for track in container.streams.video if not track.disposition & covers]
    if not tracks:
        found = "a cover, but no video" if container.streams.video else "no picture, only sound or data"
        raise UserError(f"{path}: has {found}; leave it out")
    tracks = [track for track in tracks if track.codec_context is not None]
    if not tracks:
        raise UserError(f"{path}: its codec is not known here; export it as H.264 or leave it out")
    return max(
        tracks,
        key=lambda track: (_moves(track), bool(track.disposition & Disposition.default), track.width * track.height),
    )


def _moves(track: av.VideoStream) -> bool:
    """Whether it is more than a picture, as far as the file says. Matroska says it in a tag."""
    length = float(track.duration * track.time_base) if track.duration and track.time_base else None
    if length is None and (tag := re.fullmatch(r"(\d+):(\d+):([\d.]+)", track.metadata.get("DURATION", ""))):
        length = 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
    return track.frames != 1 and (length is None or length > 0.5)


def _orientation(frame: av.VideoFrame) -> Orientation:
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know some other side data of the frame
        return _turned(frame.rotation)
    return _oriented(bytes(matrix)) if isinstance(matrix, av.buffer.Buffer) else Orientation()


@functools.lru_cache
def _oriented(matrix: bytes) -> Orientation:
    """Of a display matrix (ISO 14496-12): (x, y) is shown at (a x + c y, b x + d y). The nearest of the eight."""
    a, b, _, c, d = np.frombuffer(matrix, "=i4", 5).astype(float)
    swap = abs(b) + abs(c) > abs(a) + abs(d)
    return Orientation(bool(swap), bool((c if swap else a) < 0), bool((b if swap else d) < 0))


def _turned(degrees: float) -> Orientation:
    """Counter-clockwise."""
    turns = (Orientation(), Orientation(True, False, True), Orientation(False, True, True), Orientation(True, True))
    return turns[round(degrees / 90) % 4]


def _open(file: BinaryIO) -> av.container.InputContainer:
    options = {"fd": str(file.fileno()), "protocol_whitelist": "fd"}
    return av.open("fd:", options=options, **_ANY_TITLE)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
