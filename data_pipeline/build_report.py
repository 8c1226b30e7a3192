"""What a build leaves for people and programs to read: every verdict, and why."""

import collections
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from data_pipeline import contact_sheet, pipeline
from data_pipeline.examples import Clip, ExampleStore
from data_pipeline.gid_motion.gid_motion_dataset_builder import Builder

REPORT_NAME = "build_report.json"
SHEET_NAME = "contact_sheet.html"


def write(
    root: Path,
    config: ConfigDict,
    name: str,
    report: dict[str, Any],
    paths: dict[str, list[str]],
    seconds: dict[str, float],
    counters: pipeline.Counters,
) -> None:
    """build_report.json: what became of every video."""
    content = {
        "data_set": f"gid_motion/{name}/{Builder.VERSION}",
        "settings": json.loads(config.to_json()),
        "examples": {split: len(members) for split, members in paths.items()},
        "bytes_per_example": [round(Path(path).stat().st_size) for members in paths.values() for path in members],
        "seconds": seconds,
        "counters": dict(sorted(counters.items())),
        "videos": list(report.values()),
    }
    temporary = root / (REPORT_NAME + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(root / REPORT_NAME)


def write_sheet(
    root: Path, config: ConfigDict, store: ExampleStore, clips: Sequence[Clip], report: dict[str, dict[str, Any]]
) -> None:
    """contact_sheet.html: the same with pictures."""
    by_path = {clip.path: clip for clip in clips}
    rows = [row for path, entry in report.items() for row in _sheet_rows(store, by_path.get(path), entry)]
    frequencies = [k * config.fps / config.num_frames for k in range(config.num_frequencies)]
    contact_sheet.write(root / SHEET_NAME, f"Clips of {root.name}", rows, frequencies)


def _sheet_rows(store: ExampleStore, clip: Clip | None, entry: dict[str, Any]) -> Iterator[contact_sheet.Row]:
    """A row for each example; one for all starts of a video that were rejected without flow for one kind of reason."""
    name = Path(entry["path"]).name
    if clip is None or not entry["accepted"] + entry["rejected"]:
        strip = functools.partial(store.strip, clip, 0) if clip else None
        yield contact_sheet.Row(name, None, pipeline.reason_kind(entry["reason"]), entry["reason"], strip=strip)
        return
    unseen = collections.defaultdict(list)
    for verdict in entry["accepted"] + entry["rejected"]:
        start, reason = verdict["start"], verdict.get("reason", "")
        kind = pipeline.reason_kind(reason) if reason else contact_sheet.ACCEPTED
        overruled = entry.get("overruled", {}).get(start, "")
        note = f"kept in spite of {overruled}" if overruled and not reason else reason
        if store.is_made(clip, start):
            strip = functools.partial(store.strip, clip, start)
            where = functools.partial(store.where, clip, start, pipeline.reason_kind(reason or overruled))
            power = store.summary(clip, start)["power"]
            yield contact_sheet.Row(name, start, kind, note, power, strip, where=where if note else None)
        else:
            unseen[kind].append(verdict)
    for kind, verdicts in unseen.items():
        start, reason = verdicts[0]["start"], verdicts[0]["reason"]
        strip = functools.partial(store.strip, clip, start)
        at = re.search(r" at (\d+\.\d+) s ", reason)
        when = float(at[1]) / store.timeline(clip).duration if at else None
        yield contact_sheet.Row(name, start, kind, reason, strip=strip, clips=len(verdicts), when=when)
