"""Which videos and which clips are fit for training, and why the others are not (PAPER.md, Data).

A reason is one line for `build_report.json`. Motion is judged by m(p), the mean over t of |F_t(p)| in pixels at a
width of 256: the paper's "mean below one pixel" would reject most clips of small moving things, so a clip is static
only if even the part that moves most hardly moves.
"""

import numpy as np
from ml_collections import ConfigDict

from data_pipeline.video import Timeline


def find_starts(timeline: Timeline, config: ConfigDict, *, loop: bool) -> tuple[list[int], dict[int, str]]:
    """Start frames whose clip is worth a flow estimate, and reasons against the others by start frame.

    Every `start_stride`-th frame with num_frames - 1 frames after it (always, in a loop) is a candidate; with
    `max_starts` not 0, only that many of the good ones, spread over the video. {0: reason} stands for a video too short
    for a single clip.
    """
    total = timeline.num_frames(config.fps)
    last = total - 1 if loop else total - config.num_frames
    if total < 1 or last < 0:
        need = config.num_frames / config.fps
        return [], {0: f"too short: {timeline.duration:.2f} s, a clip needs {need:.2f} s"}
    candidates = range(0, last + 1, config.start_stride)
    reasons = {start: _repetition(timeline, start, config, total if loop else None) for start in candidates}
    good = [start for start in candidates if reasons[start] is None]
    if config.max_starts and len(good) > config.max_starts:
        good = [good[i * len(good) // config.max_starts] for i in range(config.max_starts)]
    return good, {start: reason for start, reason in reasons.items() if reason is not None}


def _repetition(timeline: Timeline, start: int, config: ConfigDict, period: int | None) -> str | None:
    """Judged on source frames, before resampling: a video at 60 fps that shows each picture twice is fine."""
    frames = np.asarray(timeline.times) * config.fps
    inside = (frames > start - 0.5) & (frames < start + config.num_frames - 0.5)
    if period is not None:
        inside = ((frames - start) % period) < config.num_frames - 0.5
    fresh = int(np.sum(inside & ~np.asarray(timeline.repeats)))
    need = int(config.filters.min_distinct_frames * config.num_frames)
    if period is not None:
        need = min(need, int(config.filters.min_distinct_frames * period))
    if fresh >= need:
        return None
    if fresh <= 1:
        return "static: all frames are the same"
    return f"duplicated frames: {fresh} different ones in {config.num_frames / config.fps:g} s, {need} needed"


def motion_percentiles(trajectories: np.ndarray) -> np.ndarray:
    """Percentiles 0 ... 100 of m over the picture, float32 [101], of trajectories [t, h, w, 2] in own pixels."""
    magnitude = np.linalg.norm(trajectories, axis=-1).mean(axis=0) * (256 / trajectories.shape[2])
    return np.percentile(magnitude, np.arange(101)).astype(np.float32)


def judge_motion(percentiles: np.ndarray, filters: ConfigDict) -> str | None:
    """A reason against a clip with these `motion_percentiles`, or None."""
    moving = float(np.interp(filters.moving_percentile, np.arange(101), percentiles))
    if moving < filters.min_motion:
        return (
            f"static: percentile {filters.moving_percentile:g} of the motion is {moving:.2f} px at 256 wide, "
            f"{filters.min_motion:g} needed"
        )
    still = float(np.interp(100 * (1 - filters.camera_fraction), np.arange(101), percentiles))
    if still > filters.camera_motion:
        return (
            f"camera motion: {filters.camera_fraction:.0%} of the picture moves more than {still:.2f} px at 256 wide, "
            f"{filters.camera_motion:g} allowed"
        )
    return None
