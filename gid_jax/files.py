"""Files that people name for results: refused before the work, written as a whole, never over what they are made of."""

import contextlib
import errno
import functools
import os
import shutil
import tempfile
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gid_jax.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFIT = (  # paths and disks, whatever is asked of them
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *FULL,
)
REFUSALS = (*UNFIT, errno.ENOENT, errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.EIO)  # of what is to be written


def check_file(path: str | Path, suffixes: Iterable[str] = (), flag: str = "--out") -> Path:
    """`path`, once sure that a file with one of these `suffixes` (any, if none is given) can be written there.

    Called before the expensive work; the folder is made. Raises UserError naming `flag`, the path and what to change.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{flag}={path}: the name must end in {' or '.join(suffixes)}")
    with refusing(path, flag):
        if os.path.isdir(path):
            raise UserError(f"{flag}={path}: is a folder; give the name of a file")
        if _exists(path) and not os.path.isfile(path):
            raise UserError(f"{flag}={path}: is a device or a pipe; give the name of a file")
    check_folder(_target(path).parent, flag, path)
    return path


def check_folder(folder: str | Path, flag: str = "--out", named: str | Path | None = None) -> Path:
    """`folder`, made where it is not there, once sure that files can be written in it.

    Raises UserError naming `flag` and the path, or what was `named` there.
    """
    folder = Path(folder)
    with refusing(folder if named is None else named, flag):
        folder.mkdir(parents=True, exist_ok=True)
        trial = _beside(folder / "trial")
        trial.touch()
        trial.unlink()
    return folder


def check_apart(inputs: Mapping[str, Iterable[Path]], outputs: Mapping[str, Iterable[Path]]) -> None:
    """Raises UserError where an output is an input or another output: by whatever spelling, link or letter case.

    Both are named as people know them: `PHOTO`, `--out`. The outputs' folders exist.
    """
    taken: dict[tuple, str] = {_identity(path): name for name, paths in inputs.items() for path in paths}
    for flag, paths in outputs.items():
        for path in paths:
            other = taken.setdefault(_identity(path), flag)
            if other != flag:
                raise UserError(f"{flag}={path}: is the same file as {other}; choose another name")


@contextlib.contextmanager
def written(path: str | Path, flag: str = "--out") -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end; after an error or a signal nothing is left.

    Its folder exists. Where `path` is a link, the link stays and what it points to is written. Raises UserError where
    the disk refuses.
    """
    target = _target(Path(path))
    partial = _beside(target)
    try:
        with refusing(path, flag):
            yield partial
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def written_folder(path: str | Path, flag: str = "--out") -> Iterator[Path]:
    """The same for a folder with all that is in it: one that is there is replaced."""
    target = _target(Path(path))
    partial, old = _beside(target), _beside(target)
    try:
        with refusing(path, flag):
            partial.mkdir(parents=True)
            yield partial
            if target.exists():
                target.rename(old)
            partial.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: str | Path, text: str, flag: str = "--out") -> None:
    """A text in UTF-8; what of a file's name is none becomes a question mark."""
    with written(path, flag) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def refusing(path: str | Path, flag: str = "--out") -> Iterator[None]:
    """What the system refuses inside becomes a UserError that names `flag` and `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        remedy = "make room" if error.errno in FULL else f"choose another {flag}"
        raise UserError(f"{flag}={path}: cannot be written ({error.strerror}); {remedy}") from error


def _exists(path: Path) -> bool:
    """Raises OSError where that cannot be told: a loop of links, a name too long, a folder that may not be entered."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _beside(path: Path) -> Path:
    """A name that no other process and no other file has, short enough wherever the file's own is."""
    return path.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.partial{path.suffix}")


def _identity(path: Path) -> tuple:
    """Equal for equal files, whether they are there or are to be written."""
    target = _target(path)
    try:
        there = os.stat(target)
    except OSError:
        folder = target.parent
        name = unicodedata.normalize("NFC", target.name).casefold() if _folds(folder) else target.name
        return (*_identity(folder), name) if folder != target else (name,)
    return there.st_dev, there.st_ino


@functools.lru_cache
def _folds(folder: Path) -> bool:
    """Whether the file system takes a and A for the same name, as those of macOS do."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".case") as file:
            return os.path.exists(os.path.join(folder, os.path.basename(file.name).upper()))
    except OSError:
        return False
