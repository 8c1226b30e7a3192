"""Which videos and which clips are fit for training, and why the others are not (PAPER.md, Data).

A reason is one line for `build_report.json`. What luma tells (`quality_luma`) is judged before any flow is spent, what
motion tells (`quality_measures`) afterwards; both are stored, so that other thresholds cost neither.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_pipeline.video import Timeline

Shots = Sequence[tuple[float, float]]
"""From and to, s."""
_NEAR = (-4, -3, -2, -1, 1, 2, 3, 4)  # frames that a frame is compared with


def find_shots(timeline: Timeline, config: ConfigDict, given: Shots = ()) -> list[tuple[int, int]]:
    """First frame of each part of a video that is filmed in one go, and the one after its last, at the set's rate.

    A cut begins another; what fades lies between two. Those `given`, from and to in s, are used instead.
    """
    total = timeline.num_frames(config.fps)
    if given:
        return [(round(begin * config.fps), min(round(end * config.fps), total)) for begin, end in given]
    times, fades = np.asarray(timeline.times), _fades(timeline, config.filters)
    shown = [0, *np.ceil((times[1:] + times[:-1]) / 2 * config.fps - 1e-6).astype(int).tolist(), total]
    cuts = _cuts(timeline, config.filters, loop=False)
    parts: list[tuple[int, int]] = []
    for i in range(len(times)):
        if i in fades:
            continue
        if parts and i not in cuts and parts[-1][1] == shown[i]:
            parts[-1] = parts[-1][0], shown[i + 1]
        else:
            parts.append((shown[i], shown[i + 1]))
    return [(first, end) for first, end in parts if end > first]


def find_starts(
    timeline: Timeline, config: ConfigDict, *, loop: bool, keep: bool = False, shots: Shots = ()
) -> tuple[list[int], dict[int, str]]:
    """Start frames whose clip is worth a flow estimate, and reasons against the others by start frame.

    Every `start_stride`-th frame of a shot with num_frames - 1 frames of it after (always, in a loop) is a candidate;
    with `max_starts` not 0, only that many of a shot's good ones, spread over it. What lacks no more than `fill` frames
    at the end of a video is filled by its last one (`video.WindowReader`). {0: reason} stands for a video too short for
    a single clip, {first frame: reason} for a shot. `shots` are those given by hand. With `keep` the only reason that
    counts is being too short: the others are given with the starts.
    """
    total = timeline.num_frames(config.fps)
    if total < (1 if loop else config.num_frames - config.fill):
        need = config.num_frames / config.fps
        return [], {0: f"too short: {timeline.duration:.2f} s, a clip needs {need:.2f} s"}
    period = total if loop else None
    fades, cuts = ({}, {}) if shots else (_fades(timeline, config.filters), _cuts(timeline, config.filters, loop))
    fresh = _fresh(timeline, config.filters)
    whole = loop or (keep and not shots)
    good: list[int] = []
    reasons: dict[int, str] = {}
    for first, end in [(0, total)] if whole else find_shots(timeline, config, shots):
        candidates = _candidates(first, end, total, loop, config)
        found = {
            start: _event(timeline, start, config, period, fades)  # to black: the same frames from then on
            or _repetition(fresh & _inside(timeline, start, config, period), config, period)
            or _event(timeline, start, config, period, cuts)
            for start in candidates
        }
        if not candidates:
            found[first] = _too_short(timeline, first, end, config, fades | cuts)
        chosen = [start for start in candidates if keep or found[start] is None]
        if config.max_starts and len(chosen) > config.max_starts:
            chosen = [chosen[i * len(chosen) // config.max_starts] for i in range(config.max_starts)]
        good += chosen
        reasons |= {start: reason for start, reason in found.items() if reason is not None}
    return good, reasons


def _candidates(first: int, end: int, total: int, loop: bool, config: ConfigDict) -> range:
    """Start frames of a shot."""
    last = end - 1 if loop else end - config.num_frames
    if not loop and end == total and -config.fill <= last - first < 0:
        last = first
    return range(first, last + 1, config.start_stride)


def _too_short(timeline: Timeline, first: int, end: int, config: ConfigDict, events: Mapping[int, str]) -> str:
    """The reason against a shot: the cut or fade beside it, if one is why it is short."""
    lasts, need = ((count / config.fps) for count in (end - first, config.num_frames))
    inner = [edge for edge in (end, first) if 0 < edge < timeline.num_frames(config.fps)]
    near = [(abs(timeline.times[i] * config.fps - edge), i) for edge in inner[:1] for i in events if i > 0]
    kind = events[min(near)[1]] if near else "too short"
    return f"{kind}{';' if near else ':'} the shot lasts {lasts:.2f} s, a clip needs {need:.2f} s"


def _inside(timeline: Timeline, start: int, config: ConfigDict, period: int | None) -> np.ndarray:
    """Which source frames a clip shows, bool [frames]."""
    frames = np.asarray(timeline.times) * config.fps
    if period is not None:
        return np.mod(frames - start + 0.5, period) < config.num_frames
    return (frames > start - 0.5) & (frames < start + config.num_frames - 0.5)


def _fresh(timeline: Timeline, filters: ConfigDict) -> np.ndarray:
    """Which source frames show something else than the one before, bool [frames]."""
    differences = np.asarray(timeline.differences)
    fresh = differences >= np.maximum(filters.duplicate_difference, filters.duplicate_ratio * around(differences))
    fresh[0] = True
    return fresh


def _repetition(different: np.ndarray, config: ConfigDict, period: int | None) -> str | None:
    """Judged on source frames, before resampling: a video at 60 fps that shows each picture twice is fine.

    `different` are those of a clip that are fresh, bool [frames].
    """
    filters, count = config.filters, int(np.sum(different))
    need = int(filters.min_distinct_frames * config.num_frames)
    if period is not None:
        need = min(need, int(filters.min_distinct_frames * period))
    if count >= need:
        return None
    if count <= 1:
        return "static: all frames are the same"
    return f"duplicated frames: {count} different ones in {config.num_frames / config.fps:g} s, {need} needed"


def around(differences: np.ndarray) -> np.ndarray:
    """The second largest of the differences around each: the two of a flash do not hide each other."""
    return np.sort([np.roll(differences, shift) for shift in _NEAR], axis=0)[-2]


def _cuts(timeline: Timeline, filters: ConfigDict, loop: bool) -> dict[int, str]:
    """Source frames that have nothing to do with the one before, and how each is told.

    Such a frame differs much more from the one before than its neighbours do, and not in its light alone; or does so at
    8 x 5 pixels, half as much being enough there, where a storm does not. The seam of a loop is one more pair of
    neighbours.
    """
    differences = np.asarray(timeline.differences)
    found = np.zeros(len(differences), bool)
    for series, least in (
        (differences, filters.cut_difference),
        (np.asarray(timeline.leaps), filters.cut_difference / 2),
    ):
        if len(series):
            usual = around(series if loop else np.r_[np.inf, series[1:]])  # before the first: not known
            found |= (series >= least) & (series >= filters.cut_ratio * usual)
    found[0] &= loop
    if timeline.relit:
        found &= ~np.asarray(timeline.relit)
    usual = around(differences)
    return {
        int(i): f"cut: at {timeline.times[i]:.2f} s the picture changes by {differences[i]:.0f} of 255, "
        f"around it by {usual[i]:.1f}"
        for i in np.flatnonzero(found)
    }


def _fades(timeline: Timeline, filters: ConfigDict) -> dict[int, str]:
    """Source frames around which the picture turns into another one by blending: no motion does that."""
    spans, kinks = np.asarray(timeline.spans), np.asarray(timeline.kinks)
    found = (spans >= filters.fade_change) & (kinks <= filters.fade_kink)
    return {
        int(i): f"fade: at {timeline.times[i]:.2f} s the picture blends into one that differs by {spans[i]:.0f} of 255"
        for i in np.flatnonzero(found)
    }


def _event(
    timeline: Timeline, start: int, config: ConfigDict, period: int | None, events: Mapping[int, str]
) -> str | None:
    """The first cut or fade within a clip; what leads to its first frame is outside."""
    inside = _inside(timeline, start, config, period)
    order = np.argsort(np.mod(np.asarray(timeline.times) * config.fps - start + 0.5, period or np.inf), kind="stable")
    shown = [int(i) for i in order if inside[i]]
    plays_on = period is not None and start + config.num_frames > period
    return next((events[i] for i in shown[1:] if i in events and (i > 0 or plays_on)), None)


def judge_motion(measures: Mapping[str, Any], filters: ConfigDict) -> str | None:
    """A reason against a clip with these `quality_measures.measure`, or None. Lengths are px at a width of 256."""
    common, bands, local = (measures[name] for name in ("common_light", "band_light", "local_light"))
    if common > filters.max_flicker or bands > filters.max_bands:
        light, allowed = max(
            (common, filters.max_flicker), (bands, filters.max_bands), key=lambda pair: pair[0] / pair[1]
        )
        return f"flicker: light changes by {light:.1%} all over the picture, {allowed:.1%} allowed"
    lit = None
    if local > filters.max_local_flicker:
        lit = f"flicker: light changes by {local:.1f} of 255 where nothing moves, {filters.max_local_flicker:g} allowed"
    moving = float(np.interp(filters.moving_percentile, np.arange(101), measures["motion_percentiles"]))
    if moving < filters.min_motion:
        return lit or (
            f"static: percentile {filters.moving_percentile:g} of the motion is {moving:.2f} px at 256 wide, "
            f"{filters.min_motion:g} needed"
        )
    together = max(measures["camera_share"], measures["camera_drifting"])
    grows = measures["trend"] > filters.max_trend
    if not (grows and together < filters.camera_drifting) and (reason := _judge_camera(measures, filters)) is not None:
        return reason
    if grows:
        return (
            f"time-lapse: {measures['trend']:.0%} of the motion drifts one way and never returns, "
            f"{filters.max_trend:.0%} allowed"
        )
    return lit  # last: what a camera or growth uncovers looks like light too


def _judge_camera(measures: Mapping[str, Any], filters: ConfigDict) -> str | None:
    """Nearly all that can tell motion moves, and a good part of it as one; or it drifts away and does not come back."""
    if measures["camera_told"] < filters.camera_told or measures["camera_sides"] < filters.camera_sides:
        return None
    least, share = measures["camera_least"], measures["camera_share"]
    told = f"of the {measures['camera_told']:.0%} of the picture that can tell,"
    for motion, together in ((filters.camera_motion, filters.camera_share), (filters.camera_much, filters.camera_some)):
        if least > motion and share > together:
            return (
                f"camera motion: {told} 95% move more than {least:.2f} px at 256 wide, {motion:g} allowed, "
                f"and {share:.0%} shift, turn or zoom as one"
            )
    drift = measures["camera_drift"]
    goes_on = (
        measures["camera_steady"] > filters.camera_steady and measures["camera_drifting"] > filters.camera_drifting
    )
    if least > filters.camera_motion and drift > filters.camera_drift and goes_on:
        return (
            f"camera motion: {told} {measures['camera_drifting']:.0%} drift as one and do not return, "
            f"by {drift:.1f} px at 256 wide, {filters.camera_drift:g} allowed"
        )
    return None
