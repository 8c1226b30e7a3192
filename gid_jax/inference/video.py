"""Frames to mp4, webm, gif or a sequence of PNGs, by the name's extension."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from jaxtyping import UInt8
from PIL import Image

from gid_jax.errors import UserError

CODECS = {
    ".mp4": ("libx264", {"crf": "16", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
}
SUFFIXES = (*CODECS, ".gif", ".png")


def check_video(path: str | Path) -> Path:
    """`check_output` for what `write_video` takes."""
    path = check_output(path, SUFFIXES)
    if path.suffix.lower() == ".png" and not re.fullmatch(r"[^%]*%0?\d*d[^%]*", path.name):
        raise UserError(f"{path}: PNGs are numbered; write a pattern such as frames/%04d.png")
    return path


def check_output(path: str | Path, suffixes: Iterable[str]) -> Path:
    """`path`, once sure that a file of one of these `suffixes` can be written there; its folder is made.

    Called before the expensive work. Raises UserError naming the path and what to change.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial(path).touch()
        partial(path).unlink()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
    return path


def partial(path: Path) -> Path:
    """Where a file is written before it is renamed to `path`."""
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> None:
    """Writes `frames` at `fps` frames a second; `path` appears once complete.

    mp4 is H.264, webm VP9, both 4:2:0 in BT.709 colours; an odd side repeats its last row or column. gif has one
    palette, that of the first frame, and delays in whole hundredths of a second. png is one file a frame, `path` a
    pattern such as frames/%04d.png. Raises UserError for another extension, a path that cannot be written, or no
    frames.
    """
    path = check_video(path)
    if path.suffix.lower() == ".png":
        _write_pngs(path, iter(frames))
        return
    temporary = partial(path)
    try:
        if path.suffix.lower() == ".gif":
            _write_gif(temporary, iter(frames), fps)
        else:
            _write_encoded(temporary, iter(frames), fps, *CODECS[path.suffix.lower()])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _first(path: Path, frames: Iterator[np.ndarray]) -> np.ndarray:
    first = next(frames, None)
    if first is None:
        raise UserError(f"{path.name}: a video needs at least one frame")
    return first


def _write_encoded(path: Path, frames: Iterator[np.ndarray], fps: float, codec: str, options: dict[str, str]) -> None:
    first = _first(path, frames)
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


def _write_pngs(pattern: Path, frames: Iterator[np.ndarray]) -> None:
    for number, frame in enumerate(itertools.chain([_first(pattern, frames)], frames)):
        path = pattern.with_name(pattern.name % number)
        Image.fromarray(frame).save(partial(path))
        partial(path).replace(path)


def _write_gif(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    first = Image.fromarray(_first(path, frames)).quantize(256, method=Image.Quantize.MEDIANCUT)
    rest = [Image.fromarray(frame).quantize(palette=first) for frame in frames]
    starts = np.rint(100 / fps * np.arange(len(rest) + 2))
    durations = (10 * np.maximum(np.diff(starts), 2)).astype(int).tolist()  # browsers slow down what is below 20 ms
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
