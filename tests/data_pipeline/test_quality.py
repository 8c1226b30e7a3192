"""Which clips are rejected, and for which reason."""

import numpy as np
import pytest

from configs.data import get_config
from data_pipeline import quality, quality_measures
from data_pipeline.video import Timeline, read_timeline


def timeline(count: int, fps: float = 30.0, repeats: tuple[bool, ...] | None = None) -> Timeline:
    times = tuple(i / fps for i in range(count))
    differences = tuple(0.0 if repeat else 1.0 for repeat in repeats or (False,) * count)
    return Timeline(times, differences, (0.0,) * count, (0.0,) * count, count / fps, 64, 40)


def config(**changes):
    result = get_config("paper")
    with result.unlocked():
        result.update(changes)
    return result


def test_every_tenth_frame_with_149_after_it():
    starts, reasons = quality.find_starts(timeline(185), config(), loop=False)
    assert starts == [0, 10, 20, 30] and reasons == {}
    assert quality.find_starts(timeline(150), config(), loop=False)[0] == [0]


def test_a_loop_is_played_on_so_every_tenth_frame_starts_a_clip():
    assert quality.find_starts(timeline(145, 29), config(), loop=True)[0] == list(range(0, 150, 10))


def test_a_few_starts_are_spread_over_the_video():
    assert quality.find_starts(timeline(150), config(max_starts=3), loop=True)[0] == [0, 50, 100]


def test_too_short():
    starts, reasons = quality.find_starts(timeline(149), config(), loop=False)
    assert starts == [] and reasons[0].startswith("too short: 4.97 s")


def test_frames_shown_twice_at_60_fps_are_fine_but_at_30_fps_are_not():
    twice = quality.find_starts(timeline(300, 60, (False, True) * 150), config(), loop=False)
    assert twice == ([0], {})
    starts, reasons = quality.find_starts(timeline(150, 30, (False, True) * 75), config(), loop=False)
    assert starts == [] and reasons[0].startswith("duplicated frames: 75 different ones in 5 s")
    assert quality.find_starts(timeline(120, 24), config(), loop=False)[0] == [0]


def test_a_still_is_static_not_duplicated():
    _, reasons = quality.find_starts(timeline(150, 30, (False,) + (True,) * 149), config(), loop=False)
    assert reasons[0].startswith("static")


def test_the_captured_tree_shows_two_frames_a_second(shared):
    timeline_ = read_timeline(shared / "clips" / "captured_tree.avi", 24)
    assert len(timeline_.times) == 68 and timeline_.duration == pytest.approx(29.6, abs=0.05)
    starts, reasons = quality.find_starts(timeline_, config(), loop=False)
    assert starts == [] and set(reason.split(":")[0] for reason in reasons.values()) == {"duplicated frames"}


def motion(moving: float, amplitude: float, width: int = 256) -> np.ndarray:
    """Trajectories in which the left `moving` part swings with a mean magnitude of `amplitude` px."""
    swing = np.sin(np.arange(150) / 7)
    swing *= amplitude / np.abs(swing).mean()
    field = np.zeros((150, 20, width, 2), np.float32)
    field[:, :, : int(moving * width), 0] = swing[:, None, None]
    return field


@pytest.mark.parametrize(
    ("moving", "amplitude", "reason"),
    [(0.05, 1.0, None), (0.6, 1.5, None), (0.9, 1.5, "camera motion"), (0.3, 0.2, "static"), (1.0, 0.4, None)],
)
@pytest.mark.parametrize("width", [256, 128])
def test_motion_filters_in_pixels_at_256_wide(moving, amplitude, reason, width):
    trajectories = motion(moving, amplitude * width / 256, width)
    pictures = np.full((*trajectories.shape[:3], 3), 128, np.uint8)
    verdict = quality.judge_motion(quality_measures.measure(pictures, trajectories), get_config().filters)
    assert verdict is None if reason is None else verdict.startswith(reason)
