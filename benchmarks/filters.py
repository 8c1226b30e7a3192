"""Verdicts of the build's filters on real clips, and on procedural clips with one fault each.

    python benchmarks/filters.py [--clips=../shared/clips] [--preset=demo] [--scenes=3] [--cache=DIR]

Judges one start frame of each clip; files with `loop` in their name are played as loops. Columns: how many times as
much as around it a frame differs from the one before (of those that differ by half of what makes a cut), and the
smallest kink of a change half of what makes a fade (data_pipeline.quality); where flow was needed, percentile 98 of the
motion and 5 of its textured part (px at 256 wide), the share of that which moves as one, trend, light that changes
everywhere and where nothing moves (of 255), as data_pipeline.quality_measures defines them.
The last line is JSON: name -> verdict, and how many of the made clips got the right one. --cache keeps flow and videos
for the next run.
"""

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import made_clips
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from PIL import Image

from configs.data import get_config
from data_pipeline import copies, quality
from data_pipeline.examples import ExampleStore, open_clip
from data_pipeline.procedural import render_clip
from gid_jax import cli, flow
from gid_jax.errors import UserError
from gid_jax.progress import progress

FLAGS = flags.FlagValues()
flags.DEFINE_string("clips", "../shared/clips", "folder of real clips; empty: none", flag_values=FLAGS)
flags.DEFINE_string("preset", "demo", "of configs/data.py: size and flow", flag_values=FLAGS)
flags.DEFINE_integer("scenes", 3, "procedural scenes that are spoilt", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("cache", "", "folder that keeps videos and flow", flag_values=FLAGS)

SIZE = 160, 100  # of the scenes; 128 x 80 of them are filmed


def make_videos(folder: Path, scenes: int) -> dict[Path, str | None]:
    """Videos of every fault and scene that are not there yet -> how the reason against each is to begin."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted: dict[Path, str | None] = {}
    for seed in progress(range(scenes), name="spoiling scenes", total=scenes, unit="scene"):
        frames: np.ndarray | None = None
        for name, (spoil, expected) in made_clips.FAULTS.items():
            path = folder / f"{seed}_{name.replace(' ', '_')}.mp4"
            wanted[path] = expected
            if not path.is_file():
                if frames is None:
                    frames = render_clip(seed, width=SIZE[0], height=SIZE[1], num_frames=150).frames
                write_video(path, spoil(frames), quality=18)
                if name == "good":
                    write_video(path.with_name(f"{seed}_copy.mp4"), shrink(spoil(frames)), quality=30)
        wanted[folder / f"{seed}_copy.mp4"] = "copy"
    return wanted


def shrink(pictures: np.ndarray) -> np.ndarray:
    """To three quarters of the size."""
    size = pictures.shape[2] * 3 // 4, pictures.shape[1] * 3 // 4
    return np.stack([np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures])


def write_video(path: Path, pictures: np.ndarray, quality: int, rate: int = 30) -> None:
    """H.264 at `rate` frames a second, of pictures uint8 [t, h, w, 3]; `quality` is its constant rate factor."""
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(quality)})
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    partial.rename(path)


def judge(paths: list[Path], store: ExampleStore, filters: ConfigDict) -> dict[str, dict[str, Any]]:
    """Name -> `verdict` (a reason, or accepted), `bars` and, where flow was needed, the measures."""
    found = {}
    for path in progress(paths, name="judging", total=len(paths), unit="clip"):
        clip = open_clip(path, loop="loop" in path.name, exact=False)
        timeline = store.timeline(clip)
        differences, kinks = np.asarray(timeline.differences), np.asarray(timeline.kinks)
        leaps = differences / np.maximum(quality.around(differences), filters.duplicate_difference)
        row: dict[str, Any] = {
            "bars": [round(bar, 3) for bar in timeline.bars],
            "leap": float(leaps[1:][differences[1:] >= filters.cut_difference / 2].max(initial=0)),
            "kink": float(kinks[np.asarray(timeline.spans) >= filters.fade_change / 2].min(initial=1)),
        }
        starts, reasons = store.starts(clip)
        if starts:
            row |= store.summary(clip, starts[0])
        row["verdict"] = quality.judge_motion(row, filters) or "accepted" if starts else next(iter(reasons.values()))
        found[path.name] = row
    return found


def find_copies(paths: list[Path], store: ExampleStore, filters: ConfigDict) -> dict[str, str]:
    """Name -> reason of the videos that repeat an earlier one of the list."""
    timelines = [store.timeline(open_clip(path, loop=False, exact=False)) for path in paths]
    found = copies.find_copies([(timeline.appearance, timeline.changes) for timeline in timelines], filters)
    return {paths[i].name: f"copy: shows the same as {paths[j].name}" for i, j in found.items()}


def print_row(name: str, row: dict[str, Any]) -> None:
    figures = f"{row['leap']:7.1f}{row['kink']:7.2f}" + " " * 42
    if "trend" in row:
        values = (row["motion_percentiles"][98], row["camera_least"], row["camera_share"])
        values += tuple(row[key] for key in ("trend", "common_light", "local_light"))
        figures = figures.rstrip() + "".join(f"{value:7.2f}" for value in values)
    trimmed = f"  (bars {row['bars']} cut off)" if any(row["bars"]) else ""
    print(f"{name:24s}{figures}  {row['verdict']}{trimmed}")


def main(arguments: list[str]) -> None:
    real = [p for p in sorted(Path(FLAGS.clips).glob("*")) if p.suffix in (".mp4", ".avi")] if FLAGS.clips else []
    if FLAGS.clips and not real:
        raise UserError(f"--clips: no video in {FLAGS.clips}; give a folder of clips, or --clips= for none")
    config = get_config(FLAGS.preset)
    with config.unlocked():
        config.max_starts = 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(FLAGS.cache or temporary)
        wanted = make_videos(folder / "made", FLAGS.scenes)
        store = ExampleStore(folder, config, flow.follow)
        found = judge([*real, *sorted(wanted)], store, config.filters)
        originals = [
            path for path in sorted(wanted, reverse=True) if path.stem.endswith(("good", "copy"))
        ]  # good first
        for name, reason in find_copies([*real, *originals], store, config.filters).items():
            found[name]["verdict"] = reason
    print(f"{config.width} x {config.height}, flow {config.flow_preset}")
    print(f"{'':24s}   leap   kink    m98     m5  share  trend  light  local  verdict")
    for name, row in found.items():
        print_row(name, row)
    right = {
        path.name: found[path.name]["verdict"].startswith(expected or "accepted") for path, expected in wanted.items()
    }
    print("wrong:", ", ".join(name for name, good in right.items() if not good) or "none")
    verdicts = {name: row["verdict"] for name, row in found.items()}
    print(json.dumps({"verdicts": verdicts, "right": sum(right.values()), "made": len(right)}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
