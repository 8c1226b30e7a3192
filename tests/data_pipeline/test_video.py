"""Videos of every kind -> pictures at 30 fps: which source frame at which time, upright, centre-cropped."""

from pathlib import Path

import av
import numpy as np
import pytest

from data_pipeline import video
from gid_jax.errors import UserError


def shades(count: int, height: int = 40, width: int = 64) -> np.ndarray:
    """Frame i is grey of level 4 i: it says which source frame a resampled one is."""
    return np.broadcast_to(
        (4 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, height, width, 3)
    ).copy()


def shown(path: Path, fps: float = 30.0, **options) -> list[int]:
    frames = video.read_frames(path, fps=fps, width=64, height=40, **options)
    return [round(float(frame.mean()) / 4) for frame in frames]


def test_constant_rate_is_kept(write_video):
    path = write_video("a.mkv", shades(20))
    assert shown(path) == list(range(20))
    timeline = video.read_timeline(path, 24)
    assert timeline.num_frames(30) == 20 and (timeline.width, timeline.height) == (64, 40)


@pytest.mark.parametrize(("fps", "count", "expected"), [(60, 40, 20), (15, 10, 20), (29, 29, 30), (25, 25, 30)])
def test_resampling_takes_the_nearest_frame_and_ends_after_the_last(write_video, fps, count, expected):
    result = shown(write_video("a.mkv", shades(count), fps=fps))
    assert len(result) == expected
    nearest = np.abs(np.arange(expected)[:, None] / 30 - np.arange(count) / fps)
    assert all(nearest[n, i] <= nearest[n].min() + 1e-3 for n, i in enumerate(result))


def test_variable_frame_rate_goes_by_time_not_by_index(write_video):
    times = np.array([0, 1, 2, 10, 11, 20, 21, 22]) / 30
    result = shown(write_video("a.mkv", shades(8), times=times))
    assert result[:22] == [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6]


def test_times_count_from_the_first_frame(write_video):
    assert shown(write_video("a.mkv", shades(12), times=5 + np.arange(12) / 30)) == list(range(12))


def test_loop_plays_on_past_its_end(write_video):
    frames = video.read_frames(write_video("a.mkv", shades(7)), fps=30, width=64, height=40, loop=True)
    assert [round(float(next(frames).mean()) / 4) for _ in range(17)] == [n % 7 for n in range(17)]


def test_odd_size_and_centre_crop(write_video):
    pictures = np.zeros((3, 61, 101, 3), np.uint8)
    pictures[:, 30, 50] = 255  # the middle pixel
    frame = next(video.read_frames(write_video("a.mkv", pictures), fps=30, width=49, height=31)).astype(float)
    y, x = np.mgrid[:31, :49]
    mass = frame.sum(axis=2)
    assert abs((mass * x).sum() / mass.sum() - 24) < 0.05 and abs((mass * y).sum() / mass.sum() - 15) < 0.05


def test_crop_covers_the_target_and_states_its_scale():
    crop = video.Crop.cover((512, 288), (256, 160))
    assert (crop.width, crop.height) == pytest.approx((460.8, 288)) and crop.scale == pytest.approx(160 / 288)
    assert crop.left == pytest.approx((512 - 460.8) / 2) and crop.top == 0
    anamorphic = video.Crop.cover((720, 576), (256, 160), 64 / 45)
    assert anamorphic.width * (64 / 45) / anamorphic.height == pytest.approx(1.6)


def test_shrinking_is_anti_aliased(write_video):
    stripes = np.zeros((2, 160, 256, 3), np.uint8)
    stripes[:, :, ::2] = 255
    frame = next(video.read_frames(write_video("a.mkv", stripes), fps=30, width=64, height=40))
    assert np.ptp(frame[5:-5, 5:-5].astype(int)) < 8 and abs(float(frame.mean()) - 127.5) < 6


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_metadata_is_applied(write_video, degrees):
    upright = np.zeros((2, 64, 96, 3), np.uint8)
    upright[:, :32, :48] = 255  # top left
    upright[:, :32, 48:, 0] = 255  # top right: red
    stored = np.rot90(upright, -degrees // 90, axes=(1, 2)).copy()
    path = write_video("a.mp4", stored, codec="libx264", pix_fmt="yuv444p", rotation=degrees)
    frame = next(video.read_frames(path, fps=30, width=96, height=64)).astype(int)
    assert frame[16, 24].min() > 200 and frame[16, 72, 0] > 200 > 60 > frame[16, 72, 1] and frame[48:].max() < 60


@pytest.mark.parametrize("pix_fmt", ["gray", "yuv420p10le", "yuva420p", "yuv420p"])
def test_pixel_formats(write_video, pix_fmt):
    path = write_video("a.mkv", shades(4) + 100, pix_fmt=pix_fmt)
    assert [round(float(frame.mean())) for frame in video.read_frames(path, fps=30, width=32, height=20)] == [
        pytest.approx(100 + 4 * i, abs=2) for i in range(4)
    ]


def test_window_reader_equals_slices_in_any_order(write_video, make_pictures):
    path = write_video("a.mkv", make_pictures(60))
    whole = np.stack(list(video.read_frames(path, fps=30, width=32, height=20)))
    reader = video.WindowReader(25, fps=30, width=32, height=20)
    for start in (0, 10, 10, 35, 5, 30):
        np.testing.assert_array_equal(reader.read(path, start, loop=False), whole[start : start + 25])
    with pytest.raises(UserError, match="ends after 60 frames"):
        reader.read(path, 36, loop=False)
    np.testing.assert_array_equal(reader.read(path, 50, loop=True), whole[(50 + np.arange(25)) % 60])


def test_differences_to_the_frame_before_and_across_the_seam(write_video):
    timeline = video.read_timeline(write_video("a.mkv", np.repeat(shades(6), 3, axis=0)), 24)
    assert timeline.differences == pytest.approx([20, 0, 0] + [4, 0, 0] * 5, abs=1)  # luma is rounded


def test_bad_files_are_user_errors(write_video, make_pictures, tmp_path):
    whole = write_video("whole.mp4", make_pictures(90), codec="libx264", pix_fmt="yuv420p")
    content = whole.read_bytes()
    bad = {
        "empty": b"",
        "text": b"These are not the frames you are looking for.\n" * 50,
        "noise": bytes(range(256)) * 40,
    }
    for name, content_ in {**bad, "head": content[: len(content) // 2], "tail": content[len(content) // 2 :]}.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content_)
        with pytest.raises(UserError) as error:
            video.read_timeline(path, 24)
        assert str(error.value).startswith(str(path)) and "leave it out" in str(error.value), error.value
    with pytest.raises(UserError, match="no such file"):
        video.read_timeline(tmp_path / "absent.mp4", 24)


def test_a_truncated_stream_is_found_by_its_declared_length(write_video, make_pictures, tmp_path):
    whole = write_video("whole.avi", make_pictures(90), codec="mjpeg", pix_fmt="yuvj420p")
    path = tmp_path / "half.avi"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match=r"truncated|damaged"):
        video.read_timeline(path, 24)


def test_a_title_that_is_not_utf_8_is_no_damage(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Fenetre"
        stream = container.add_stream("ffv1", rate=30)
        for picture in shades(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert content.count(b"Fenetre") == 1
    path.write_bytes(content.replace(b"Fenetre", "Fen\xeatre".encode("latin-1")))
    assert len(video.read_timeline(path, 24).times) == 4


def test_sound_without_picture_is_a_user_error(tmp_path):
    import wave

    path = tmp_path / "sound.mp4"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0" * 16000)
    with pytest.raises(UserError, match="no picture"):
        video.read_timeline(path, 24)
