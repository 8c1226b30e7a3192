"""Parts of videos given by hand: a table of columns `file`, `from` and `to`, separated by tabs, times in s."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from gid_jax.errors import UserError

COLUMNS = ["file", "from", "to"]


def read_shots(table: Path, videos: Iterable[Path]) -> dict[Path, list[tuple[float, float]]]:
    """(from, to) of each of the `videos` that the table names, by name or path.

    Raises `UserError` where it cannot be read, has other columns, names another file, or holds what is no span of time.
    """
    try:
        rows = list(csv.reader(table.read_text().splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"--shots={table}: cannot be read ({reason}); name a table of file, from and to") from error
    if not rows or rows[0] != COLUMNS:
        raise UserError(f"--shots={table}: the first line must be file, from, to, separated by tabs")
    by_name = {str(path): path for path in videos} | {path.name: path for path in videos}
    shots: dict[Path, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS) or row[0] not in by_name:
            raise UserError(f"--shots={table}: line {number} names none of the videos; give file, from and to")
        try:
            begin, end = float(row[1]), float(row[2])
        except ValueError:
            begin = end = math.nan
        if not 0 <= begin < end < math.inf:
            raise UserError(f"--shots={table}: line {number}: {row[1]} to {row[2]} is no span of time in s")
        shots.setdefault(by_name[row[0]], []).append((begin, end))
    return shots


def check_shots(video: str, shots: Iterable[tuple[float, float]], duration: float) -> None:
    """Raises `UserError` for a shot that ends after the video does."""
    for begin, end in shots:
        if end > duration + 0.1:
            raise UserError(f"--shots: {video}: {begin:g} to {end:g} s lies outside of it, it lasts {duration:.2f} s")
