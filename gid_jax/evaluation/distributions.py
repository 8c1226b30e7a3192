"""Distances between distributions of frames and videos: every row of the table against the real clips."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.evaluation import clip_features, compare, figures
from gid_jax.evaluation.clip_features import Measure
from gid_jax.evaluation.measured import load, starts
from gid_jax.metrics import distances, i3d, inception, networks

Files = list[list[Path]]  # of each example, one for each sample
SLIDING = "sliding "


def protocol_of(config: ConfigDict) -> clip_features.Protocol:
    """What the networks see of each clip, the windows' places aside."""
    return clip_features.Protocol(
        windows=tuple(sorted({config.windows.fvd, config.windows.fvd_long})),
        crop=(config.crop.width, config.crop.height),
        frame_step=config.windows.frame_step,
    )


def distributions(
    files: dict[str, Files], groups: Sequence[str], chosen: Sequence[Measure], num_frames: int, config: ConfigDict
) -> dict[str, dict]:
    """Every figure by its name, with all rows of `files`, whose examples belong to `groups`: videos or subjects.

    `rows.real` is the distance between two halves of the real clips, drawn by group. A figure that cannot be had has
    `value` None and says what is `missing`; else `value` is the model's.
    """
    available = {row.name: row for row in compare.rows_of(list(chosen))}
    result: dict[str, dict] = {}
    for name, (of, network) in _wanted(config).items():
        row = available.get(name.removeprefix(SLIDING))
        result[name] = {"of": of}
        if row is None:
            reason = f"missing weights: {networks.missing(network)}"
        elif len(files.get("real", [])) < 2:
            reason = "missing reference clips: build the data set again, with --config.reference_clips=200"
        elif not starts(config, num_frames, row.measure.window):
            reason = f"clips of {num_frames} frames are shorter than a window"
        elif name.startswith(SLIDING):
            result[name] |= _over_time(row, files, num_frames, config)
            continue
        else:
            rows = _rows(row, files, groups)
            result[name] |= {"value": rows["model"]["value"], "rows": rows}
            continue
        result[name] |= {"value": None, "missing": reason}
    return result


def describe(chosen: Sequence[Measure], config: ConfigDict, num_frames: int) -> dict:
    """What was done, in words and numbers."""
    done = compare.describe(protocol_of(config), list(chosen))
    return done | {
        "windows": f"of each clip of {num_frames} frames, {config.windows.stride} frames apart",
        "starts": {
            m.network if m.window is None else f"{m.network}, {m.window}": starts(config, num_frames, m.window)
            for m in chosen
        },
        "clips": "of examples that keep a reference clip; made ones start at the same frames, at the data set's size",
        "interval": "95 %, value +- 1.96 standard errors of a bootstrap that draws videos or subjects, for both sides",
        "halves": "distance between two halves of the real clips, drawn by video or subject, seed 0",
    }


def _wanted(config: ConfigDict) -> dict[str, tuple[str, str]]:
    """Every row of the paper's tables: of what it is, and the network that it needs.

    A distance between features of another network is another quantity, so nothing stands in for them.
    """
    windows = config.windows
    found = {"FID": ("single frames", inception.NAME), "KID": ("single frames, times 100", inception.NAME)}
    kinetics = {window: i3d.NAME for window in (windows.fvd, windows.fvd_long)}
    textures = {window: f"i3d-dtdb{window}" for window in kinetics if f"i3d-dtdb{window}" in networks.ENTRIES}
    for name, by_window in (("FVD", kinetics), ("DTFVD", textures)):
        for window, network in by_window.items():
            found[compare.window_name(name, window)] = (f"windows of {window} frames", network)
    found[f"{SLIDING}FID"] = (f"windows of {windows.sliding_fid} frames over time", inception.NAME)
    for name, by_window in (("FVD", kinetics), ("DTFVD", textures)):
        if windows.fvd in by_window:
            full = SLIDING + compare.window_name(name, windows.fvd)
            found[full] = (f"windows of {windows.fvd} frames over time", by_window[windows.fvd])
    return found


def _rows(row: compare.Row, files: dict[str, Files], groups: Sequence[str]) -> dict[str, dict]:
    real = _by_group(_clips(files["real"], row.measure), groups)
    found = {}
    if parts := distances.halves(real):
        found["real"] = figures.between(row.measure.network, *parts, kernel=row.kernel)
    for name in files:
        if name != "real":
            made = _by_group(_clips(files[name], row.measure), groups)
            found[name] = figures.between(row.measure.network, real, made, kernel=row.kernel, paired=True)
    return found


def _over_time(row: compare.Row, files: dict[str, Files], num_frames: int, config: ConfigDict) -> dict:
    """`frames` of a window, `starts` of the windows, `rows` of values by name."""
    places = starts(config, num_frames, row.measure.window)
    if row.measure.window is None:
        frames = config.windows.sliding_fid
        begins = list(range(0, num_frames - frames + 1, frames))
        picked = [[i for i, t in enumerate(places) if begin <= t < begin + frames] for begin in begins]
    else:
        frames, begins, picked = row.measure.window, places, [[i] for i in range(len(places))]

    def spans(clips: list[np.ndarray]) -> list[list[int]]:
        """Of clips that are several samples, one after the other."""
        samples = len(clips[0]) // len(places)
        return [[s * len(places) + i for s in range(samples) for i in window] for window in picked]

    real = _clips(files["real"], row.measure)
    rows: dict[str, list[float | None]] = {
        "real": [distances.of_halves([clip[window] for clip in real]) for window in picked]
    }
    for name in files.keys() - {"real"}:
        made = _clips(files[name], row.measure)
        rows[name] = list(figures.over_time(real, made, picked, spans(made)))
    return {"frames": frames, "starts": begins, "rows": {name: rows[name] for name in files}}


def _clips(files: Files, measure: Measure) -> list[np.ndarray]:
    return [load(samples, measure) for samples in files]


def _by_group(clips: list[np.ndarray], groups: Sequence[str]) -> list[np.ndarray]:
    return [
        np.concatenate([clip for clip, of in zip(clips, groups, strict=True) if of == group])
        for group in dict.fromkeys(groups)
    ]
