"""Verdicts of the data filters on captured clips, and on rendered ones whose right verdict is known.

    python benchmarks/footage.py FOLDER LIST.tsv [--config=configs/data.py:demo] [--cache=DIR]
    python benchmarks/footage.py [--scenes=GLOB] [--cache=DIR]

The first form judges the videos of FOLDER as a build does and compares with the list, whose columns are `file`,
`verdict` and, if wanted, `motion`, a group to count by. A verdict is `accept`, `reject`, `any`, or the kind of reason
that `build_report.json` is to give, such as `camera motion`. Files with `loop` in their name are played as loops. A
clip counts as accepted if one of its start frames is.

The second form renders clips (footage_clips.py) into the cache and judges those, for two halves of the scenes apart:
the thresholds were chosen on the first.

Printed last, as JSON: right verdicts and clips by what was expected. --cache keeps videos and flow, so that another run
with other filters (--config.filters.NAME=VALUE) is quick.
"""

import collections
import csv
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import footage_clips
from absl import flags
from ml_collections import ConfigDict, config_flags
from stored_flow import StoredFlow

from data_pipeline import copies, pipeline, quality
from data_pipeline.examples import ExampleStore, open_clip
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.progress import progress

FLAGS = cli.ConfigFlags()
flags.DEFINE_string("cache", "", "folder that keeps videos and flow", flag_values=FLAGS)
flags.DEFINE_string("scenes", "*", "glob of the scenes to render", flag_values=FLAGS)
flags.DEFINE_string("shared", "../shared", "folder of the real clips that scenes are made of", flag_values=FLAGS)
config_flags.DEFINE_config_file("config", "configs/data.py:demo", "sizes, flow and filters", flag_values=FLAGS)

COLUMNS = "file", "verdict", "motion"
REASONS = ("camera motion", "copy", "cut", "duplicated frames", "fade", "flicker", "static", "time-lapse", "too short")
VERDICTS = ("accept", "any", "reject", *REASONS)


class Entry(NamedTuple):
    path: Path
    verdict: str
    motion: str = ""


def read_list(folder: Path, table: Path) -> list[Entry]:
    """Raises `UserError` for what is no such list, a file that is not there, a verdict that there is not."""
    try:
        rows = list(csv.reader(table.read_text().splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"{table}: cannot be read ({reason}); name a table of file and verdict") from error
    names = rows[0] if rows else []
    if unknown := [name for name in names if name not in COLUMNS]:
        raise UserError(f"{table}: unknown column {unknown[0]!r}; there are {', '.join(COLUMNS)}, separated by tabs")
    if not {"file", "verdict"} <= set(names) or len(rows) < 2:
        raise UserError(f"{table}: needs the columns file and verdict, separated by tabs, and a line for each clip")
    entries = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise UserError(f"{table}: line {number} has {len(row)} fields, not {len(names)}; separate them by tabs")
        values = dict(zip(names, row, strict=True))
        entry = Entry(folder / values["file"], values["verdict"], values.get("motion", ""))
        if not entry.path.is_file():
            raise UserError(f"{table}: line {number}: no file {entry.path}; correct its name or leave the line out")
        if entry.verdict not in VERDICTS:
            raise UserError(f"{table}: line {number}: no verdict {entry.verdict!r}; there are {', '.join(VERDICTS)}")
        entries.append(entry)
    return entries


def judge(paths: list[Path], store: ExampleStore, filters: ConfigDict) -> dict[Path, list[str]]:
    """What the build says of each start frame of each video: "" or a reason; of all at once where no flow is needed."""
    found: dict[Path, list[str]] = {}
    prints: dict[Path, tuple[str, str]] = {}
    for path in progress(paths, name="judging", total=len(paths), unit="clip"):
        try:
            clip = open_clip(path, loop="loop" in path.name, exact=False)
            starts, reasons = store.starts(clip)
            found[path] = [quality.judge_motion(store.summary(clip, start), filters) or "" for start in starts]
            found[path] = found[path] or list(reasons.values())[:1]
            if starts:
                timeline = store.timeline(clip)
                prints[path] = timeline.appearance, timeline.changes
        except UserError as error:
            found[path] = [str(error).removeprefix(f"{path}: ")]
    compared = list(prints)
    for i, j in copies.find_copies([prints[path] for path in compared], filters).items():
        found[compared[i]] = [f"copy: shows the same as {compared[j].name}"]
    return found


def is_right(expected: str, reasons: list[str]) -> bool:
    """Whether the verdict on a clip's start frames is as expected."""
    if expected == "any":
        return True
    rejected = all(reasons)
    if expected in ("accept", "reject"):
        return rejected == (expected == "reject")
    return rejected and expected in {pipeline.reason_kind(reason) for reason in reasons}


def compare(entries: list[Entry], found: dict[Path, list[str]]) -> dict[str, Any]:
    """Prints a line for each clip; right verdicts and clips by what was expected."""
    right: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    for entry in entries:
        reasons = found[entry.path]
        good = is_right(entry.verdict, reasons)
        group = f"{entry.verdict}, {entry.motion}" if entry.motion else entry.verdict
        right[group] += good
        total[group] += 1
        verdicts = "; ".join(dict.fromkeys(reason or "accepted" for reason in reasons))
        accepted = f"{sum(not reason for reason in reasons)}/{len(reasons)}"
        print(
            f"{'' if good else 'WRONG':6s}{entry.path.name:44s}{entry.verdict:18s}{accepted:5s}{verdicts}", flush=True
        )
    return {group: [right[group], total[group]] for group in sorted(total)}


def main(arguments: list[str]) -> None:
    if len(arguments) not in (0, 2):
        raise UserError("give a folder of videos and the list of their verdicts, or neither")
    config = FLAGS.config
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(FLAGS.cache or temporary)
        store = ExampleStore(cache / "examples", config, StoredFlow(str(cache / "flow")))
        if arguments:
            entries = read_list(*map(Path, arguments))
            figures = compare(entries, judge([entry.path for entry in entries], store, config.filters))
        else:
            folder = cache / "rendered"
            entries = read_list(folder, footage_clips.render(folder, Path(FLAGS.shared), FLAGS.scenes))
            with config.unlocked():
                config.filters.copy_appearance = 2.0  # the clips of a scene are copies of each other
            found = judge([entry.path for entry in entries], store, config.filters)
            figures = {
                name: compare([entry for entry in entries if footage_clips.first_half(entry.path.name) is half], found)
                for name, half in (("chosen on", True), ("judged on", False))
            }
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
