"""Frames to mp4, webm, webp, gif or a sequence of PNGs, by the name's extension."""

import itertools
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from jaxtyping import UInt8
from PIL import Image

from gid_jax import files
from gid_jax.errors import UserError

CODECS = {
    ".mp4": ("libx264", {"crf": "16", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
}
LOOKAHEAD = {"libx264": ("rc-lookahead", 40), "libvpx-vp9": ("lag-in-frames", 25)}  # frames, the codecs' defaults
PIXELS_AHEAD = 36_000_000  # in them: an encoder keeps all, at 12 megapixels 40 frames take 2 GB
LARGE = 4_000_000  # px of a frame: beyond, x264 refers to fewer others: 240 MB less at 12 megapixels
SUFFIXES = (*CODECS, ".webp", ".gif", ".png")
LONGEST_SIDE = {".mp4": 16384, ".webm": 65536, ".webp": 16383, ".gif": 65535}  # px: of x264, of VP9, of the formats
WEBP = {"quality": "85", "compression_level": "4"}
LARGEST_FRAME = 2**31 // 8  # px with 128 more on each axis: what FFmpeg takes
GIF_DELAY = 2  # hundredths of a second; browsers slow down what has less


def check_video(path: str | Path, count: int = 1) -> list[Path]:
    """The files of a video of `count` frames that `write_video` writes: `path` itself, or the PNGs of its pattern.

    Raises UserError where that cannot be, naming `--out` and what to change; called before the expensive work.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        return [files.check_file(path, SUFFIXES)]
    if not re.fullmatch(r"[^%]*%0?\d{0,2}d[^%]*", path.name):
        raise UserError(f"--out={path}: PNGs are numbered; write a pattern such as frames/%04d.png")
    frames = [_numbered(path, number) for number in range(count)]
    for frame in frames:
        if frame in (frames[0], frames[-1]) or os.path.lexists(frame):
            files.check_file(frame)
    return frames


def check_size(path: str | Path, width: int, height: int) -> None:
    """Raises UserError where no video of this name can be `width` x `height`."""
    suffix = Path(path).suffix.lower()
    longest = LONGEST_SIDE.get(suffix, max(width, height))
    if max(width, height) > longest or (suffix in CODECS and (width + 128) * (height + 128) >= LARGEST_FRAME):
        limit = min(longest, int(math.sqrt(LARGEST_FRAME)) - 130)
        raise UserError(
            f"--out={path}: {width} x {height} pixels are more than {suffix} holds; write PNGs (frames/%04d.png), or a "
            f"smaller video: --longest_side={limit}"
        )


def highest_rate(path: str | Path) -> float:
    """Frames a second that a video of this name can be played at."""
    return 100 / GIF_DELAY if Path(path).suffix.lower() == ".gif" else math.inf


def later_frames(path: str | Path, count: int) -> list[Path]:
    """The PNGs of an earlier, longer video of this pattern, from number `count` on. None where it is no pattern."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        return []
    before, after = re.split(r"%\d*d", path.name)
    numbers = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = [int(match[1]) for match in map(numbers.fullmatch, os.listdir(path.parent)) if match]
    return [frame for n in sorted(set(found)) if n >= count and (frame := _numbered(path, n)).exists()]


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> None:
    """Writes `frames` at `fps` frames a second; `path` appears once complete, or all PNGs do.

    mp4 is H.264, webm VP9, both 4:2:0 in BT.709 colours; an odd side repeats its last row or column. gif has one
    palette, that of the first frame, and delays in whole hundredths of a second, at least two: of more than 50 frames a
    second some are left out. gif and webp, which is lossy, repeat for ever. png is one file a frame, `path` a pattern
    such as frames/%04d.png. Raises UserError for another extension, a path that cannot be written, or no frames.
    """
    path = Path(path)
    check_video(path)
    if path.suffix.lower() == ".png":
        _write_pngs(path, iter(frames))
        return
    with files.written(path) as partial:
        if path.suffix.lower() == ".gif":
            _write_gif(partial, iter(frames), fps)
        elif path.suffix.lower() == ".webp":
            _write_webp(partial, iter(frames), fps)
        else:
            _write_encoded(partial, iter(frames), fps, *CODECS[path.suffix.lower()])


def _first(path: Path, frames: Iterator[np.ndarray]) -> np.ndarray:
    first = next(frames, None)
    if first is None:
        raise UserError(f"{path.name}: a video needs at least one frame")
    return first


def _write_encoded(path: Path, frames: Iterator[np.ndarray], fps: float, codec: str, options: dict[str, str]) -> None:
    first = _first(path, frames)
    name, most = LOOKAHEAD[codec]
    options = options | {name: str(min(most, max(2, PIXELS_AHEAD // first[..., 0].size)))}
    if codec == "libx264" and first[..., 0].size > LARGE:
        options |= {"bf": "0", "refs": "1", "threads": "2"}
    with av.open(str(path), "w", options={"movflags": "+faststart"} if codec == "libx264" else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = (side + side % 2 for side in first.shape[:2])
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for frame in itertools.chain([first], frames):
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _numbered(pattern: Path, number: int) -> Path:
    return pattern.with_name(pattern.name % number)


def _write_pngs(pattern: Path, frames: Iterator[np.ndarray]) -> None:
    first = _first(pattern, frames)
    with (
        files.refusing(pattern),
        tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=pattern.parent) as folder,
    ):
        count = 0
        for frame in itertools.chain([first], frames):
            Image.fromarray(frame).save(Path(folder, str(count)), "PNG")
            count += 1
        for number in range(count):
            Path(folder, str(number)).replace(os.path.realpath(_numbered(pattern, number)))


def _write_webp(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    first = _first(path, frames)
    with av.open(str(path), "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=Fraction(fps).limit_denominator(1001), options=WEBP)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "bgra"
        for frame in itertools.chain([first], frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="bgra")))
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    palette = Image.fromarray(_first(path, frames)).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures, starts, number = [palette], [0], 0  # starts in hundredths of a second
    unit = GIF_DELAY if fps > 100 / GIF_DELAY else 1
    for number, frame in enumerate(frames, 1):
        start = unit * math.floor(100 / fps * number / unit + 1e-6) if unit > 1 else round(100 / fps * number)
        if start - starts[-1] >= GIF_DELAY:
            pictures.append(Image.fromarray(frame).quantize(palette=palette))
            starts.append(start)
    end = max(round(100 / fps * (number + 1)), starts[-1] + GIF_DELAY)
    durations = (10 * np.diff([*starts, end])).tolist()  # ms
    palette.save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, disposal=1)
