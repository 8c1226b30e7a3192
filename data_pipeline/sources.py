"""Which files a build reads, and which it leaves out."""

import collections
import fnmatch
import glob
import os
from collections.abc import Iterable
from pathlib import Path

from gid_jax.errors import UserError

SUFFIXES = (
    (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".gif", ".wmv", ".asf")
    + (".flv", ".ogv", ".ogm", ".mxf", ".dv", ".y4m", ".nut", ".ivf", ".insv", ".360")
    + (".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".mod", ".tod", ".ts", ".mts", ".m2ts", ".m2t")
    + (".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".obu", ".mjpeg", ".mjpg")  # raw streams
)


def find_videos(videos: str | None) -> tuple[list[Path], dict[str, int]]:
    """What is named like a video in a folder, to any depth, also behind links; or the matches of a glob, whatever their
    names. And how much of the folder is left out, by reason.

    What exists is meant literally before it is taken as a glob. Raises `UserError` where there is no file.
    """
    if not videos:
        raise UserError("--videos: missing; name a folder of videos or a glob")
    left_out: collections.Counter[str] = collections.Counter()
    found = _search(Path(videos), left_out) if Path(videos).is_dir() else _expand(Path(videos))
    if not any(path.is_file() for path in found):
        named = "; ".join(f"{count} left out: {reason}" for reason, count in sorted(left_out.items()))
        hint = f" ({named})" if named else ""
        raise UserError(f"--videos={videos}: no video there{hint}; name a folder of videos or a glob")
    return sorted(found), dict(left_out)


def matches(path: str, pattern: str) -> bool:
    """Whether a glob means the file, by its name or its whole path."""
    return fnmatch.fnmatch(Path(path).name, pattern) or fnmatch.fnmatch(path, pattern)


def literal_first(pattern: str | None, paths: Iterable[Path]) -> str | None:
    """The glob that means what is called so, if one of the files is; else the pattern as it stands."""
    if pattern and glob.has_magic(pattern) and any(pattern in (path.name, str(path)) for path in paths):
        return glob.escape(pattern)
    return pattern


def _search(root: Path, left_out: collections.Counter[str]) -> list[Path]:
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        left_out[f"{error.filename}: the folder cannot be read ({error.strerror})"] += 1

    for parent, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            left_out["a link to a folder that is searched anyway"] += 1
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))  # links last
        for name in files + folders:
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES:
                found.append(path)
            elif name in files:
                left_out[f"{path.suffix.lower() or 'no suffix'}: not the name of a video"] += 1
    return found


def _expand(pattern: Path) -> list[Path]:
    """The longest part that exists is taken as it is, the rest as a glob."""
    literal = next(path for path in (pattern, *pattern.parents) if os.path.lexists(path))
    if literal == pattern:
        return [pattern]
    rest = str(pattern.relative_to(literal))
    return [Path(path) for path in glob.glob(os.path.join(glob.escape(str(literal)), rest), recursive=True)]
