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


def test_too_short_by_more_than_a_fifth_of_a_second():
    assert quality.find_starts(timeline(144), config(), loop=False) == ([0], {})
    starts, reasons = quality.find_starts(timeline(143), config(), loop=False)
    assert starts == [] and reasons[0].startswith("too short: 4.77 s")


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
    field = np.zeros((150, width * 5 // 8, width, 2), np.float32)
    field[:, :, : int(moving * width), 0] = swing[:, None, None]
    return field


@pytest.mark.parametrize(
    ("moving", "amplitude", "reason"),
    [(0.05, 1.0, None), (0.6, 1.5, None), (0.97, 1.5, "camera motion"), (0.3, 0.2, "static"), (1.0, 0.4, None)],
)
@pytest.mark.parametrize("width", [256, 128])
def test_motion_filters_in_pixels_at_256_wide(moving, amplitude, reason, width):
    trajectories = motion(moving, amplitude * width / 256, width)
    texture = np.random.default_rng(0).integers(100, 156, (1, *trajectories.shape[1:3], 3))
    pictures = np.broadcast_to(texture, (*trajectories.shape[:3], 3)).astype(np.uint8)
    verdict = quality.judge_motion(quality_measures.measure(pictures, trajectories), get_config().filters)
    assert verdict is None if reason is None else verdict.startswith(reason)


def with_events(count: int, cuts: tuple[int, ...] = (), fades: tuple[int, ...] = ()) -> Timeline:
    at = np.arange(count)
    differences, spans, kinks = np.where(np.isin(at, cuts), 40.0, 1.0), np.zeros(count), np.ones(count)
    spans[list(fades)], kinks[list(fades)] = 30, 0
    return Timeline(tuple(at / 30), tuple(differences), tuple(spans), tuple(kinks), count / 30, 64, 40)


def test_a_long_video_is_cut_into_shots_each_with_starts_of_its_own():
    video = with_events(600, cuts=(170,), fades=(400, 401, 402))
    assert quality.find_shots(video, config()) == [(0, 170), (170, 400), (403, 600)]
    starts, reasons = quality.find_starts(video, config(max_starts=2), loop=False)
    assert starts == [0, 10, 170, 210, 403, 423] and reasons == {}


def test_a_shot_too_short_says_which_event_made_it_so():
    starts, reasons = quality.find_starts(with_events(400, cuts=(160, 250)), config(), loop=False)
    assert starts == [0, 10, 250] and list(reasons) == [160]
    assert reasons[160].startswith("cut: at 8.33 s") and reasons[160].endswith(
        "the shot lasts 3.00 s, a clip needs 5.00 s"
    )


def test_only_the_end_of_a_video_is_filled():
    assert quality.find_starts(with_events(295, cuts=(146,)), config(), loop=False)[0] == [146]  # 146 frames and 149


def test_shots_given_by_hand_replace_those_that_are_found():
    video = with_events(600, cuts=(170,))
    assert quality.find_starts(video, config(), loop=False, shots=((1.0, 6.5),))[0] == [30, 40]


def test_a_kept_clip_is_taken_with_the_reasons_against_it():
    video = with_events(200, cuts=(100,))
    starts, reasons = quality.find_starts(video, config(), loop=False, keep=True)
    assert starts == [0, 10, 20, 30, 40, 50] and set(reasons) == set(starts)
    assert quality.find_starts(with_events(100), config(), loop=False, keep=True)[0] == []
