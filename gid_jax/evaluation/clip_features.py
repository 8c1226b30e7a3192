"""Features of every clip of a folder, kept by content in the user's cache, so that a clip is measured once."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from gid_jax.errors import UserError
from gid_jax.evaluation import kept
from gid_jax.evaluation.clips import Clip, ClipError, find_clips, find_pictures
from gid_jax.metrics import i3d, inception, networks
from gid_jax.progress import progress

VERSION = 1  # of what is kept; another one makes it be computed again


@dataclass(frozen=True)
class Protocol:
    """What is measured: every `frame_step`-th frame by Inception, resized as `resize` says; by I3D, clips cut into
    `windows` of so many frames, end to end; of `crop` (width, height), if given, the centre. Every clip must have the
    longest window where `all_windows` are asked for, else the shortest."""

    windows: tuple[int, ...] = (16, 32)
    all_windows: bool = False
    crop: tuple[int, int] | None = None
    resize: Literal["clean", "legacy"] = "clean"
    frame_step: int = 5


@dataclass(frozen=True)
class Measure:
    """One network on one kind of input. `window` is None for single frames."""

    network: str
    window: int | None
    run: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]
    source: dict[str, str]
    videos: bool
    tag: str

    def inputs(self, frames: Iterator[np.ndarray], step: int) -> Iterator[np.ndarray]:
        return itertools.islice(frames, 0, None, step) if self.window is None else _windows(frames, self.window)


@dataclass
class Side:
    """The clips of one folder. `features[tag][i]` [n, d] are those of clip i; tags of windows that are longer than some
    clip are in `too_short` instead. `size` is (width, height), `left_out` says of files why they are."""

    folder: Path
    pictures: bool
    clips: list[Clip]
    size: tuple[int, int]
    left_out: dict[str, str]
    features: dict[str, list[np.ndarray]] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)
    too_short: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.clips)

    def describe(self) -> dict:
        return {"of": "pictures" if self.pictures else "videos", "size": list(self.size)}

    @property
    def said(self) -> str:
        return f"{'pictures' if self.pictures else 'videos'} of {self.size[0]} x {self.size[1]}"

    def leave_out(self, clip: Clip, error: ClipError) -> None:
        """Raises UserError where fewer than two clips would be left."""
        self.clips.remove(clip)
        self.left_out[str(clip.path)] = str(error)
        self.check_count()

    def check_count(self) -> None:
        if len(self.clips) < 2:
            reason = "".join(f"; {path}: {reason}" for path, reason in list(self.left_out.items())[:1])
            raise UserError(f"{self.folder}: {len(self.clips)} can be read where two or more are needed{reason}")


def open_folder(folder: Path, protocol: Protocol) -> Side:
    """The clips in `folder`, not measured yet; or, where it holds none, the pictures in it, each as a clip of its own.

    Files whose first frame cannot be read are left out. Raises UserError where fewer than two are left or where their
    sizes differ.
    """
    clips = find_clips(folder)
    pictures = not clips
    clips = clips or [Clip(path, (path,)) for path in find_pictures(folder)]
    if not clips:
        raise UserError(f"{folder}: holds no videos (mp4, webm, gif, ...), no folders of numbered PNGs and no pictures")
    side = Side(folder, pictures, clips, (0, 0), {})
    side.check_count()
    for clip in list(clips):
        try:
            height, width = next(clip.frames(protocol.crop)).shape[:2]
        except ClipError as error:
            side.leave_out(clip, error)
            continue
        if side.size not in ((0, 0), (width, height)):
            raise UserError(
                f"{clip.path}: {width} x {height}, others there are {side.size[0]} x {side.size[1]}; "
                "--crop=WIDTHxHEIGHT takes the same centre of all"
            )
        side.size = width, height
    return side


def measures(protocol: Protocol, videos: bool) -> list[Measure]:
    """Those whose weights are there."""
    crop = "x".join(map(str, protocol.crop)) if protocol.crop else "whole"
    found = []

    def add(name: str, window: int | None, run: inception.Features | i3d.Features, how: str) -> None:
        tag = f"{name}-{run.source.get('sha256', '')[:12]}-{crop}-{how}-v{VERSION}"
        found.append(Measure(name, window, run, run.source, videos, tag))

    if networks.present(inception.NAME):
        step = protocol.frame_step if videos else 1
        add(inception.NAME, None, inception.Features(protocol.resize), f"{protocol.resize}-every{step}")
    if videos and networks.present(i3d.NAME):
        run = i3d.Features()
        for window in protocol.windows:
            add(i3d.NAME, window, run, f"{window}")
    for window in protocol.windows if videos else ():
        name = f"i3d-dtdb{window}"
        if name in networks.ENTRIES and networks.present(name):
            add(name, window, i3d.Features(name), f"{window}")
    return found


def measure(side: Side, protocol: Protocol, chosen: list[Measure]) -> None:
    """Fills in the features of `side`. Files that cannot be decoded to their end are left out.

    Raises UserError where fewer than two are left, or where one is shorter than a window.
    """
    networks.writable_cache("features")
    name = side.folder.name or str(side.folder)
    for clip in progress(list(side.clips), name=name, unit="picture" if side.pictures else "video"):
        try:
            found, frames = _measure(clip, protocol, chosen)
        except ClipError as error:
            side.leave_out(clip, error)
            continue
        side.frames.append(frames)
        for measure, features in zip(chosen, found, strict=True):
            if features is None:
                side.too_short.setdefault(measure.tag, f"{clip.path} has {frames} frames")
            else:
                side.features.setdefault(measure.tag, []).append(features)
    side.features = {tag: features for tag, features in side.features.items() if tag not in side.too_short}


def _measure(clip: Clip, protocol: Protocol, chosen: list[Measure]) -> tuple[list[np.ndarray | None], int]:
    """The features by each measure, None where the clip is shorter than its window; and how many frames it has."""
    try:
        digest = clip.digest()
    except OSError as error:
        raise ClipError(f"it cannot be read ({error.strerror})") from error
    files = [networks.cache_folder() / "features" / f"{digest[:32]}-{measure.tag}.npz" for measure in chosen]
    stored = [kept.load(file) for file in files]
    known = next((entry for entry in stored if entry is not None), None)
    frames = sum(1 for _ in clip.frames(protocol.crop)) if known is None else int(known["frames"])
    windows = [measure.window for measure in chosen if measure.window] or [0]
    needed = max(windows) if protocol.all_windows else min(windows)
    if frames < needed:
        raise UserError(
            f"{clip.path}: {frames} frames are fewer than a window of {needed}; leave it out or choose other --windows"
        )
    found: list[np.ndarray | None] = []
    for measure, file, entry in zip(chosen, files, stored, strict=True):
        if frames < (measure.window or 0):
            found.append(None)
        elif entry is None:
            inputs = measure.inputs(clip.frames(protocol.crop), protocol.frame_step)
            features = np.stack(list(measure.run(inputs)))
            kept.keep(file, features=features, frames=np.array(frames))
            found.append(features)
        else:
            found.append(entry["features"])
    return found, frames


def _windows(frames: Iterator[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cut end to end; a last one that would not be full is left out."""
    while len(window := list(itertools.islice(frames, length))) == length:
        yield np.stack(window)
