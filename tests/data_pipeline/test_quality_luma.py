"""What luma alone tells: bars, not dark rooms; cuts and seams of loops; fades, not motion; copies, not takes."""

import numpy as np
import pytest

from configs.data import get_config
from data_pipeline import copies, quality
from data_pipeline.quality_luma import LumaPass, find_bars
from data_pipeline.video import Timeline, read_frames, read_timeline, source_crop


def look(pictures: np.ndarray, fps: float = 30.0) -> Timeline:
    """The timeline of lumas [t, h, w]."""
    luma_pass = LumaPass()
    for i, luma in enumerate(pictures):
        luma_pass.add(i / fps, np.asarray(luma, np.float32))
    size = pictures.shape[2], pictures.shape[1]
    times = tuple(np.arange(len(pictures)) / fps)
    return Timeline(times, duration=len(pictures) / fps, width=size[0], height=size[1], **luma_pass.finish(24.0))


def reasons(timeline: Timeline, loop: bool = False) -> dict[int, str]:
    return quality.find_starts(timeline, get_config("paper"), loop=loop)[1]


@pytest.fixture
def swaying(make_pictures):
    def make(count: int = 180, **options) -> np.ndarray:
        return make_pictures(count, **options).astype(np.float32).mean(axis=-1)

    return make


def test_bars_are_measured_on_each_side():
    pictures = np.full((3, 100, 160), 120.0)
    pictures[:, :10] = pictures[:, -14:] = pictures[:, :, :8] = 3
    left, top, right, bottom = find_bars(pictures, 24)
    assert (left, top, right, bottom) == pytest.approx((9 / 160, 11 / 100, 0, 15 / 100))  # with the row that mixes
    assert find_bars(pictures[:1] * 0, 24) == (0, 0, 0, 0)


def test_a_dark_room_has_no_bars():
    y, x = np.mgrid[:100, :160]
    flame = 220 * np.exp(-np.hypot(x - 80, y - 60) / 12)
    assert find_bars(flame[None], 24) == (0, 0, 0, 0)
    lit_once = np.stack([np.full((100, 160), 120.0)] * 2)
    lit_once[0, :20] = 0
    assert find_bars(lit_once, 24) == (0, 0, 0, 0)


def test_bars_are_cut_off_before_the_crop(write_video, make_pictures):
    pictures = np.zeros((4, 100, 128, 3), np.uint8)
    pictures[:, 10:90] = make_pictures(4, 80, 128) // 2 + 100
    path = write_video("a.mkv", pictures)
    bars = read_timeline(path, 24).bars
    assert bars == pytest.approx((0, 0.11, 0, 0.11))
    frame = next(read_frames(path, fps=30, width=64, height=50, bars=bars))
    assert frame.min() > 60
    assert next(read_frames(path, fps=30, width=64, height=50)).min() < 5
    crop = source_crop(path, 64, 50, bars)
    assert crop.top == pytest.approx(11) and crop.height == pytest.approx(78)
    assert crop.left + crop.width / 2 == pytest.approx(64)


def test_a_cut_divides_a_video_and_no_clip_shows_it(swaying):
    pictures = np.concatenate([swaying(170, seed=1), swaying(170, seed=2)])
    starts, found = quality.find_starts(look(pictures), get_config("paper"), loop=False)
    assert starts == [0, 10, 20, 170, 180, 190] and found == {}
    found = reasons(look(pictures[40:300]))
    assert sorted(found) == [0, 130] and all(reason.startswith("cut: at 4.33 s") for reason in found.values())


def test_a_flash_is_a_cut_and_quick_motion_is_none(swaying):
    pictures = swaying(150)
    pictures[70] = 255 - pictures[70]
    assert reasons(look(pictures))[0].startswith("cut: at 2.33 s")
    assert reasons(look(swaying(150, amplitude=30.0))) == {}


def panning(speed: float) -> np.ndarray:
    """Lumas [150, 160, 160] that shift by `speed` px a frame."""
    generator = np.random.default_rng(0)
    wide = np.repeat(np.repeat(generator.uniform(0, 255, (40, 200)), 4, axis=0), 4, axis=1)
    columns = np.arange(150)[:, None] * speed + np.arange(160)
    low = np.floor(columns).astype(int)
    return np.moveaxis(wide[:, low] * (1 - columns % 1) + wide[:, low + 1] * (columns % 1), 0, 1)


def test_the_seam_of_a_loop(swaying):
    assert reasons(look(swaying(160)), loop=True) == {}  # four swings of 40 frames
    unlooped = look(panning(0.2))
    assert reasons(unlooped) == {}
    found = reasons(unlooped, loop=True)
    assert sorted(found) == list(range(10, 150, 10))  # from 0 on, a clip ends with the video
    assert all(reason.startswith("cut: at 0.00 s") for reason in found.values())


@pytest.mark.parametrize("seconds", [0.4, 1.0, 4.0])
def test_fades_of_any_length(swaying, seconds):
    pictures = swaying(150)
    gain = np.clip((75 - np.arange(150)) / (30 * seconds) + 0.5, 0, 1)
    assert reasons(look(pictures * gain[:, None, None]))[0].startswith("fade: at ")


@pytest.mark.parametrize("speed", [0.2, 1.0, 4.0])
def test_a_pan_is_no_fade(speed):
    assert reasons(look(panning(speed))) == {}


def find(*timelines: Timeline) -> dict[int, int]:
    prints = [(timeline.appearance, timeline.changes) for timeline in timelines]
    return copies.find_copies(prints, get_config().filters)


def test_copies_are_known_after_resizing_and_coding_but_takes_are_not_copies(write_video, make_pictures):
    pictures = make_pictures(300, 80, 128)
    first = read_timeline(write_video("first.mkv", pictures[:150]), 24)
    small = np.ascontiguousarray(pictures[:150, ::2, ::2])
    copy = read_timeline(write_video("copy.mp4", small, codec="libx264", pix_fmt="yuv420p"), 24)
    boxed = np.zeros((150, 110, 128, 3), np.uint8)
    boxed[:, 15:95] = pictures[:150]
    boxed = read_timeline(write_video("boxed.mkv", boxed), 24)
    paced = pictures[np.arange(150) * 3 // 2 + 10]
    take = read_timeline(write_video("take.mkv", paced), 24)
    other = read_timeline(write_video("other.mkv", make_pictures(150, 80, 128, seed=5)), 24)
    assert find(first, take, copy, other, boxed) == {2: 0, 4: 0}
    assert find() == {}


def test_crops_mirrored_and_retimed_versions_are_copies_too(write_video, make_pictures):
    pictures = make_pictures(200, 40, 64).repeat(2, axis=1).repeat(2, axis=2)
    versions = {
        "first": pictures,
        "mirrored": pictures[:, :, ::-1],
        "cropped": pictures[:, 8:72, 20:122],
        "faster": pictures[::2],
        "both": pictures[::-1][::-1, 4:76, 115:0:-1],
    }
    lines = [read_timeline(write_video(f"{name}.mkv", shown), 24) for name, shown in versions.items()]
    assert find(*lines) == {1: 0, 2: 0, 3: 0, 4: 0}
    backwards = read_timeline(write_video("take.mkv", pictures[::-1]), 24)  # moves otherwise
    assert find(lines[0], backwards) == {}


@pytest.mark.parametrize("frames", [1, 2, 4, 10, 40])
def test_a_step_of_light_is_neither_cut_nor_fade(swaying, frames):
    pictures = swaying(150, amplitude=1.0) * 0.7
    step = 1 + 0.3 * np.clip((np.arange(150) - 60) / frames, 0, 1)
    assert reasons(look(pictures * step[:, None, None])) == {}
    assert reasons(look(pictures / step[:, None, None])) == {}


def test_a_flash_is_no_step_of_light(swaying):
    pictures = swaying(150) * 0.6
    flash = np.where(np.isin(np.arange(150), (70, 71)), 1.5, 1.0)
    assert reasons(look(pictures * flash[:, None, None]))[0].startswith("cut: at 2.33 s")
