"""Folders of videos or of pictures, whoever made them, as frames."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8
from PIL import Image, ImageSequence

from gid_jax.errors import UserError
from gid_jax.video.decoding import decode

VIDEOS = (".mp4", ".webm", ".gif", ".mov", ".m4v", ".mkv", ".avi")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class ClipError(Exception):
    """Why a file cannot be used, in a few words."""


@dataclass(frozen=True)
class Clip:
    """A video file, or numbered pictures in the order of their numbers; `path` names it."""

    path: Path
    pictures: tuple[Path, ...] = ()

    def frames(self, crop: tuple[int, int] | None = None) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Its frames in RGB, all of one size; of `crop` (width, height) the centre.

        Raises ClipError for what cannot be decoded to its end, or is smaller than the crop.
        """
        first = None
        for frame in self._decoded():
            if first is not None and frame.shape != first:
                raise ClipError(f"its frames are of different sizes, {_size(first)} and {_size(frame.shape)}")
            first = frame.shape
            yield frame if crop is None else _centre(frame, *crop)

    def digest(self) -> str:
        """Of the content, whatever the files are called."""
        digest = hashlib.sha256()
        for path in self.pictures or (self.path,):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def _decoded(self) -> Iterator[np.ndarray]:
        if self.pictures:
            return _read_pictures(self.pictures)
        return _read_gif(self.path) if self.path.suffix.lower() == ".gif" else _read_video(self.path)


def find_clips(folder: Path) -> list[Clip]:
    """Videos in `folder` and its folders, and folders below it that hold numbered pictures; by name.

    Raises UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of videos or of pictures")
    paths = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".")]
    clips = [Clip(path) for path in paths if path.suffix.lower() in VIDEOS and path.is_file()]
    for path in paths:
        if path.is_dir() and (pictures := find_pictures(path)):
            clips.append(Clip(path, tuple(pictures)))
    return sorted(clips, key=lambda clip: clip.path)


def find_pictures(folder: Path) -> list[Path]:
    """Pictures that lie in `folder` itself, in the order of their numbers."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    return sorted(found, key=_numbers)


def _numbers(path: Path) -> list:
    """`a9` before `a10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _centre(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ClipError(f"it is {_size(frame.shape)}, smaller than --crop={width}x{height}")
    return frame[top : top + height, left : left + width]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _read_pictures(paths: tuple[Path, ...]) -> Iterator[np.ndarray]:
    for path in paths:
        try:
            with Image.open(path) as picture:
                yield np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ClipError(f"{path.name} in it cannot be read ({error})") from error


def _read_gif(path: Path) -> Iterator[np.ndarray]:
    """Writers of GIFs leave out a frame that is the one before and show that one longer: it is repeated here, by the
    median time that frames are shown."""
    try:
        with Image.open(path) as animation:
            times = [max(frame.info.get("duration", 0), 1) for frame in ImageSequence.Iterator(animation)]
            for frame, time in zip(ImageSequence.Iterator(animation), times, strict=True):
                picture = np.asarray(frame.convert("RGB"))
                for _ in range(max(1, round(time / float(np.median(times))))):
                    yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ClipError(f"it cannot be read ({error})") from error


def _read_video(path: Path) -> Iterator[np.ndarray]:
    reformatter = VideoReformatter()
    try:
        for shot in decode(path):
            picture = reformatter.reformat(shot.frame, format="rgb24").to_ndarray()
            yield np.ascontiguousarray(shot.orientation.apply(picture))
    except UserError as error:
        raise ClipError(str(error).removeprefix(f"{path}: ").split(";")[0]) from error
