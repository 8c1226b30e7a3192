"""Verdicts of the data filters on captured clips and on clips whose right verdict is known.

    python benchmarks/footage.py FOLDER LIST.tsv [--preset=demo] [--cache=DIR]
    python benchmarks/footage.py [--scenes=GLOB] [--cache=DIR]

The first form judges the videos of FOLDER as a build would (all of its start frames) and compares with LIST.tsv: columns
`file`, `verdict` (`accept`, `reject`, the kind of a reason as `build_report.json` gives it, such as `camera motion`, or
`any`), and if wanted `motion`, a group to count by. Files with `loop` in their name are played as loops. A clip counts as
accepted if one of its start frames is.

The second form renders its own clips (footage_scenes.py) into the cache and judges those: scenes with strong motion as
they are and mirrored, cropped, faster, slower, darkened, noisy, coded coarsely; and spoilt by one fault each
(made_clips.py). Verdicts are counted for two halves of the scenes: thresholds were chosen on the first.

Printed last, as JSON: right and wrong verdicts by group. --cache keeps videos and flow for the next run, which then is
quick whatever filters are set by --config.filters.NAME=VALUE.
"""

import collections
import csv
import fnmatch
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import footage_scenes
import made_clips
import numpy as np
from absl import flags
from filters import write_video
from ml_collections import config_flags
from PIL import Image
from stored_flow import StoredFlow

from data_pipeline import pipeline, quality
from data_pipeline.examples import ExampleStore, open_clip
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.progress import progress

FLAGS = cli.ConfigFlags()
flags.DEFINE_string("cache", "", "folder that keeps videos and flow", flag_values=FLAGS)
flags.DEFINE_string("scenes", "*", "which of its own scenes are rendered", flag_values=FLAGS)
flags.DEFINE_string("shared", "../shared", "folder of the real clips that scenes are made of", flag_values=FLAGS)
config_flags.DEFINE_config_file("config", "configs/data.py:demo", "sizes, flow and filters", flag_values=FLAGS)

COLUMNS = "file", "verdict", "motion"
KINDS = "copy too short fade duplicated frames cut flicker static camera motion time-lapse".replace(
    "too short", "too_short"
)


class Entry(NamedTuple):
    path: Path
    verdict: str
    motion: str = ""


def read_list(folder: Path, path: Path) -> list[Entry]:
    """UserError for what is no list, names a file that is not there, or asks for a verdict that there is not."""
    try:
        rows = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); name a list of clips and verdicts") from error
    if not rows:
        raise UserError(f"{path}: lists no clip; give each a line under the columns file and verdict")
    if unknown := [name for name in rows[0] if name not in COLUMNS]:
        raise UserError(f"{path}: unknown column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    if missing := [name for name in COLUMNS[:2] if name not in rows[0]]:
        raise UserError(f"{path}: no column {missing[0]!r}; the first line names file and verdict, separated by a tab")
    entries = []
    for number, row in enumerate(rows, start=2):
        entry = Entry(folder / (row["file"] or ""), row["verdict"] or "", row.get("motion") or "")
        if not entry.path.is_file():
            raise UserError(f"{path}:{number}: no file {entry.path}; correct its name or leave the line out")
        if entry.verdict not in VERDICTS:
            raise UserError(f"{path}:{number}: no verdict {entry.verdict!r}; there are {', '.join(VERDICTS)}")
        entries.append(entry)
    return entries


REASONS = ("camera motion", "copy", "cut", "duplicated frames", "fade", "flicker", "static", "time-lapse", "too short")
VERDICTS = ("accept", "any", "reject", *REASONS)
