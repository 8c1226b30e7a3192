"""Videos -> the finished data set: what goes in, which split, and the one rename that makes it visible."""

import collections
import contextlib
import dataclasses
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from ml_collections import ConfigDict

from data_pipeline import build_report, copies, failures, pipeline, quality
from data_pipeline.examples import Clip, ExampleStore, open_clip
from data_pipeline.gid_motion.gid_motion_dataset_builder import Builder, GidMotionConfig
from data_pipeline.shots import check_shots, read_shots
from data_pipeline.sources import find_videos, literal_first, matches
from data_pipeline.trajectories import Estimator
from gid_jax import flow
from gid_jax.data.statistics import FILE_NAME
from gid_jax.errors import UserError
from gid_jax.evaluation.examples import spread
from gid_jax.lock import locked
from gid_jax.progress import progress

INPUTS_NAME = "inputs.json"  # in the finished set: what it was made of


def build(
    videos: str | None,
    data_dir: str | None,
    config: ConfigDict,
    *,
    holdout: str | None = None,
    loops: str | None = None,
    keep: str | None = None,
    shots: str | None = None,
    exact: bool = False,
    options: PipelineOptions | None = None,
    estimator: Estimator = flow.follow,
) -> Path:
    """Builds the data set in `data_dir` from `videos` (a folder or a glob) and returns the folder of the finished set.

    `holdout`, `loops` and `keep` are globs of videos, `shots` is the path of a list (`read_shots`).
    Goes on where an earlier call with the same arguments was stopped; returns at once if that call finished. Raises
    `UserError` if nothing can be built, or if the place is taken by a set made of other videos or settings.
    """
    options = pipeline.parse_options([]) if options is None else options
    new = bool(data_dir) and not Path(str(data_dir)).exists()
    root = _make_folder(data_dir)
    try:
        sources = find_videos(videos)
    except UserError:
        if new:
            _remove_empty(root)
        raise
    try:
        with locked(root / ".cache", f"--data_dir={data_dir}"):
            return _build(root, videos, sources, config, holdout, (loops, keep, shots), exact, options, estimator)
    except Exception as error:
        reason = failures.explain(error)
        if reason is None:
            raise
        raise UserError(f"{reason} and run again: the build goes on") from error


def _build(
    root: Path,
    videos: str | None,
    sources: tuple[list[Path], dict[str, int]],
    config: ConfigDict,
    holdout: str | None,
    wishes: tuple[str | None, str | None, str | None],
    exact: bool,
    options: PipelineOptions,
    estimator: Estimator,
) -> Path:
    began = time.monotonic()
    found, left_out = sources
    loops, keep, shots = wishes
    holdout, loops, keep = (literal_first(pattern, found) for pattern in (holdout, loops, keep))
    clips, report = _open_clips(found, loops, keep, shots, exact)
    name = "procedural_exact" if exact else config.preset
    final = root / "gid_motion" / name / str(Builder.VERSION)
    inputs = _describe_inputs(clips, config, holdout)
    if final.exists():
        if _read_json(final / INPUTS_NAME) != inputs:
            raise UserError(f"{final}: made of other videos or settings; delete it or choose another --data_dir")
        print("The data set is complete already.")
        return final

    spec = pipeline.StoreSpec(str(root / ".cache"), config, estimator)
    store = spec.open()
    with _watch("videos", clips, store.has_timeline):
        counters = pipeline.read_timelines(clips, spec, options)
    starts = _find_starts(store, clips, config.filters, report)
    with _watch("start frames", starts, lambda element: store.has(*element)):
        counters |= pipeline.make_examples(starts, spec, options)
    accepted = _judge(store, starts, config.filters, report)
    splits = choose_split(list(accepted), config.test_fraction, holdout) if accepted else {}
    for clip in accepted:
        report[clip.path]["split"] = next(split for split, members in splits.items() if clip in members)
    paths = {
        split: [store.example_path(clip, start) for clip in members for start in accepted[clip]]
        for split, members in splits.items()
    }
    references = _choose_references(splits.get("test", []), accepted, config.reference_clips)
    if references:
        with _watch("reference clips", references, lambda element: store.has_clip(*element)):
            counters |= pipeline.keep_clips(references, spec, options)
    counters |= _count_rejections(report) | {f"files left out: {why}": count for why, count in left_out.items()}
    seconds = {"examples": round(time.monotonic() - began, 1)}
    build_report.write(root, config, name, report, paths, seconds, counters)
    build_report.write_sheet(root, config, store, clips, report)
    if not accepted:
        raise UserError(f"{videos}: no clip is fit for training; the reasons are in {root / build_report.REPORT_NAME}")

    staging = root / ".cache" / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    kept = [store.example_path(*reference) for reference in references]
    finished = _write_examples(staging, config, name, exact, paths, kept, options)
    pipeline.compute_statistics(paths["train"], config, finished / FILE_NAME, options)
    (finished / INPUTS_NAME).write_text(json.dumps(inputs, indent=2) + "\n")
    final.parent.mkdir(parents=True, exist_ok=True)
    finished.rename(final)
    shutil.rmtree(staging, ignore_errors=True)
    seconds["total"] = round(time.monotonic() - began, 1)
    counters["examples written"] = sum(map(len, paths.values()))
    build_report.write(root, config, name, report, paths, seconds, counters)
    print("; ".join(f"{name}: {count}" for name, count in sorted(counters.items())))
    return final


def choose_split(clips: Sequence[Clip], test_fraction: float, holdout: str | None) -> dict[str, list[Clip]]:
    """Whole videos to train and test, both never empty.

    Without `holdout` a video goes to test if its content hash, as a fraction of the largest, is below `test_fraction`;
    should that leave one side empty, the smallest hash goes to test, the largest to train. Raises `UserError` if there
    is nothing to choose from.
    """
    clips = sorted(clips, key=lambda clip: clip.digest)
    if holdout is not None:
        test = [clip for clip in clips if matches(clip.path, holdout)]
        if not test:
            raise UserError(f"--holdout={holdout}: no accepted video matches; see build_report.json or change it")
        if len(test) == len(clips):
            raise UserError(f"--holdout={holdout}: matches every accepted video; nothing is left to train on")
    else:
        if len(clips) < 2:
            raise UserError(
                f"{clips[0].path}: the only accepted video; training and test need one each: add another to --videos"
            )
        count = sum(int(clip.digest[:16], 16) < test_fraction * 16**16 for clip in clips)
        test = clips[: min(max(count, 1), len(clips) - 1)]
    return {"train": [clip for clip in clips if clip not in test], "test": test}


def _make_folder(data_dir: str | None) -> Path:
    if not data_dir:
        raise UserError("--data_dir: missing; name a folder for the data set")
    root = Path(data_dir).absolute()
    try:
        (root / ".cache").mkdir(parents=True, exist_ok=True)
        (root / ".cache" / ".writable").touch()
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); choose another folder"
        raise UserError(f"--data_dir={data_dir}: {reason}") from error
    return root


def _remove_empty(root: Path) -> None:
    """What `_make_folder` made, unless there is more by now."""
    with contextlib.suppress(OSError):
        (root / ".cache" / ".writable").unlink()
        (root / ".cache").rmdir()
        root.rmdir()


def _open_clips(
    paths: Sequence[Path], loops: str | None, keep: str | None, shots: str | None, exact: bool
) -> tuple[list[Clip], dict[str, dict[str, Any]]]:
    """Readable files, each content once, by hash; and the beginning of the report, by path.

    Raises `UserError` where `keep` or a line of `shots` means none of the files.
    """
    if keep is not None and not any(matches(str(path), keep) for path in paths):
        raise UserError(f"--keep={keep}: matches no video; give the name or the path of one, * for any part of it")
    given = read_shots(Path(shots), paths) if shots is not None else {}
    clips: dict[str, Clip] = {}
    report: dict[str, dict[str, Any]] = {}
    for path in paths:
        entry: dict[str, Any] = {"path": str(path), "split": None, "accepted": [], "rejected": []}
        report[str(path)] = entry
        try:
            wanted = keep is not None and matches(str(path), keep)
            clip = open_clip(path, loop=loops is not None and matches(str(path), loops), exact=exact)
            clip = dataclasses.replace(clip, keep=wanted, shots=tuple(given.get(path, ())))
        except UserError as error:
            entry["reason"] = str(error).removeprefix(f"{path}: ")
            continue
        if clip.digest in clips:
            entry["reason"] = f"same content (as {clips[clip.digest].path})"
        else:
            clips[clip.digest] = clip
            entry["video_id"], entry["loop"] = clip.video_id, clip.loop
    return sorted(clips.values(), key=lambda clip: clip.digest), report


def _find_starts(
    store: ExampleStore, clips: Sequence[Clip], filters: ConfigDict, report: dict[str, dict[str, Any]]
) -> list[tuple[Clip, int]]:
    """The start frames whose flow is to be estimated; the report gets the reasons against the others."""
    found: dict[Clip, list[int]] = {}
    prints: dict[Clip, tuple[int, tuple[str, str]]] = {}
    for clip in clips:
        entry = report[clip.path]
        try:
            starts, reasons = store.starts(clip)
        except UserError as error:
            entry["reason"] = clip.without_path(error)
            continue
        check_shots(clip.path, clip.shots, store.timeline(clip).duration)
        if clip.keep:
            entry["overruled"] = {start: reasons.pop(start) for start in starts if start in reasons}
        entry["rejected"] = [{"start": start, "reason": reason} for start, reason in reasons.items()]
        entry["shots"] = [{"from": begin, "to": end, "accepted": 0} for begin, end in store.shots(clip)]
        if not starts:
            entry["reason"] = next(iter(reasons.values()), "no start frame")
        else:
            found[clip] = starts
            timeline = store.timeline(clip)
            if any(timeline.bars):
                entry["bars"] = list(timeline.bars)
            prints[clip] = (timeline.width * timeline.height, (timeline.appearance, timeline.changes))
    originals = sorted(found, key=lambda clip: (-prints[clip][0], clip.digest))  # of copies the largest stays
    for i, original in copies.find_copies([prints[clip][1] for clip in originals], filters).items():
        reason = f"copy: shows the same as {originals[original].path}"
        if originals[i].keep:
            report[originals[i].path]["overruled"] |= dict.fromkeys(found[originals[i]], reason)
        else:
            del found[originals[i]]
            report[originals[i].path]["reason"] = reason
    return [(clip, start) for clip in clips for start in found.get(clip, ())]


def _judge(
    store: ExampleStore, starts: Sequence[tuple[Clip, int]], filters: ConfigDict, report: dict[str, dict[str, Any]]
) -> dict[Clip, list[int]]:
    """Accepted start frames of each video that has any; the report gets every verdict."""
    accepted: dict[Clip, list[int]] = {}
    for clip, start in starts:
        entry = report[clip.path]
        try:
            summary = store.summary(clip, start)
            reason = quality.judge_motion(summary, filters)
            if reason is not None and clip.keep:
                entry["overruled"][start] = reason
                reason = None
        except UserError as error:
            reason = clip.without_path(error)
        if reason is not None:
            entry["rejected"].append({"start": start, "reason": reason})
            continue
        accepted.setdefault(clip, []).append(start)
        entry["accepted"].append({"start": start, "flow_error": summary["flow_error"], "seconds": summary["seconds"]})
        begin = start / store.fps
        next(shot for shot in reversed(entry["shots"]) if shot["from"] <= begin + 1e-6)["accepted"] += 1
    for clip, _ in starts:
        if clip not in accepted:
            report[clip.path]["reason"] = report[clip.path]["rejected"][-1]["reason"]
    return accepted


def _choose_references(test: Sequence[Clip], accepted: dict[Clip, list[int]], count: int) -> list[tuple[Clip, int]]:
    """At most `count` examples of the test split, spread over its videos."""
    available = [(clip, start) for clip in test for start in accepted[clip]]
    return [available[i] for i in spread(len(available), count)] if available and count else []


def _count_rejections(report: dict[str, dict[str, Any]]) -> pipeline.Counters:
    """How many videos gave no example, and how many start frames were turned down, by reason."""
    videos = [entry["reason"] for entry in report.values() if "reason" in entry]
    clips = [rejected["reason"] for entry in report.values() for rejected in entry["rejected"]]
    named = [("videos rejected", reason) for reason in videos] + [("clips rejected", reason) for reason in clips]
    return dict(collections.Counter(f"{what}: {pipeline.reason_kind(reason)}" for what, reason in named))


@contextlib.contextmanager
def _watch(name: str, elements: Sequence[Any], is_done: Callable[[Any], bool]) -> Iterator[None]:
    """A bar that counts what lies in the store, whichever process or machine puts it there."""
    pending = [element for element in elements if not is_done(element)]
    stop = threading.Event()

    def watch(bar: Any) -> None:
        waiting = pending
        while waiting:
            finished = stop.wait(bar.mininterval)
            still = [element for element in waiting if not is_done(element)]
            bar.update(len(waiting) - len(still))
            waiting = still
            if finished:
                return

    with progress(name=name, total=len(elements), initial=len(elements) - len(pending), unit="clip") as bar:
        thread = threading.Thread(target=watch, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _write_examples(
    staging: Path,
    config: ConfigDict,
    name: str,
    exact: bool,
    paths: dict[str, list[str]],
    with_clips: Sequence[str],
    options: PipelineOptions,
) -> Path:
    """The TFDS set in `staging`, without its statistics."""
    runner = pipeline.find_runner(options)
    builder = Builder(
        splits=paths,
        with_clips=frozenset(with_clips),
        distributed=runner is not None,
        data_dir=staging,
        file_format="array_record",
        config=GidMotionConfig(
            name=name,
            description=f"{config.width} x {config.height}" + (", with exact motion" if exact else ""),
            width=config.width,
            height=config.height,
            num_frequencies=config.num_frequencies,
            pairs=config.pairs,
            exact=exact,
        ),
    )
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(None):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                beam_runner=runner, beam_options=options, try_download_gcs=False
            )
        )
    return Path(builder.data_dir)


def _describe_inputs(clips: Sequence[Clip], config: ConfigDict, holdout: str | None) -> dict[str, Any]:
    def describe(clip: Clip) -> dict[str, Any]:
        held_out = holdout is not None and matches(clip.path, holdout)
        by_hand = {"keep": True} if clip.keep else {}
        return {
            "loop": clip.loop,
            "held_out": held_out,
            **by_hand,
            **({"shots": [list(shot) for shot in clip.shots]} if clip.shots else {}),
        }

    videos = {clip.digest: describe(clip) for clip in clips}
    return {"config": json.loads(config.to_json()), "holdout": holdout is not None, "videos": videos}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
