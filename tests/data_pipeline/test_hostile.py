"""Two hundred files that nobody should feed to a decoder: none stops a build, each is in the report."""

import io
import json
import os
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_videos import make_video, sway_pictures
from test_build import content, sway

from configs.data import get_config
from data_pipeline import dataset, isolation, video
from gid_jax.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam and TFDS warn of their own insides

FORMATS = {
    "h264.mp4": {"codec": "libx264", "pix_fmt": "yuv420p"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p"},
    "mpeg2.ts": {"codec": "mpeg2video", "pix_fmt": "yuv420p"},
    "vp9.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuv420p"},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """A good clip of 155 frames in each format, written once."""
    folder = tmp_path_factory.mktemp("whole")
    pictures = sway_pictures(155)
    return {name: make_video(folder / name, pictures, **options).read_bytes() for name, options in FORMATS.items()}


def damaged(name: str, whole: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Truncated, flipped, holed and doubled versions of a good file."""
    stem, suffix = name.split(".")
    for i in range(12):
        yield f"{stem}_cut_{i}.{suffix}", whole[: rng.integers(1, len(whole))]
    for i in range(18):
        flipped = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(whole) if i % 2 else 512, rng.integers(1, 20))  # every other time in the header
        flipped[places] ^= rng.integers(1, 256, len(places), np.uint8)
        yield f"{stem}_flip_{i}.{suffix}", flipped.tobytes()
    for i in range(4):
        start = rng.integers(0, len(whole) // 2)
        yield f"{stem}_hole_{i}.{suffix}", whole[:start] + bytes(len(whole) // 4) + whole[start + len(whole) // 4 :]
    yield f"{stem}_headless.{suffix}", whole[rng.integers(1, len(whole) // 2) :]
    yield f"{stem}_twice.{suffix}", whole + whole


def pretenders(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Things that are called videos, with the beginning of the reason against each."""
    picture, sound, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 40)).save(picture, "PNG")
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(80000))
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("clip.mp4", good)
    yield "empty.mp4", b"", "the file is empty"
    yield "zeros.mp4", bytes(10000), "not a video"
    yield "noise.mkv", np.random.default_rng(1).bytes(50000), ""
    yield "text.mp4", b"These are not the frames you are looking for.\n" * 50, "not a video"
    yield "page.webm", b"<!DOCTYPE html><html><title>404 Not Found</title></html>", "not a video"
    yield "archive.mov", archive.getvalue(), "not a video"
    yield "picture.mp4", picture.getvalue(), "too short"
    yield "sound.avi", sound.getvalue(), "has no picture"
    yield "playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nh264.mp4\n#EXT-X-ENDLIST\n", "not a video"
    yield "concat.mp4", b"ffconcat version 1.0\nfile h264.mp4\n", "not a video"


def fill(folder: Path, whole: dict[str, bytes], write_video, make_pictures) -> dict[str, str | None]:
    """The files in `folder`, by name: the beginning of the reason that is due, None if the file is to be accepted."""
    rng = np.random.default_rng(0)
    due: dict[str, str | None] = {}

    def put(name: str, data: bytes, reason: str | None) -> None:
        (folder / name).write_bytes(data)
        due[name] = reason

    for name, data in whole.items():
        put(name, data, None)
        for damaged_name, damaged_data in damaged(name, data, rng):
            put(damaged_name, damaged_data, "")
    for pretender in pretenders(whole["h264.mp4"]):
        put(*pretender)

    def film(name: str, pictures: np.ndarray, reason: str | None, **options) -> None:
        write_video(str((folder / name).relative_to(folder.parent)), pictures, **options)
        due[name] = reason

    swaying = [make_pictures(155, seed=seed) for seed in range(1, 7)]
    film("ten_bits.mkv", swaying[0], None, pix_fmt="yuv420p10le")
    film("alpha.mkv", swaying[1], None, pix_fmt="yuva420p")
    film("rotated.mp4", swaying[2], None, codec="libx264", pix_fmt="yuv420p", rotation=90)
    film("upside_down.mp4", swaying[3][:, ::-1, ::-1], None, codec="libx264", pix_fmt="yuv420p", rotation=180)
    film("variable_rate.mkv", swaying[4], None, times=np.cumsum(rng.uniform(0.02, 0.05, 155)))
    film("odd_size.mkv", make_pictures(155, 41, 67, seed=9), None)
    film("one_frame.mkv", swaying[0][:1], "too short")
    film("one_pixel.mkv", swaying[0][:155, :1, :1], "")
    film("line.mkv", swaying[0][:155, :1, :], "")
    film("huge.avi", np.repeat(make_pictures(1, 4320 // 20, 7680 // 20), 20, 1).repeat(20, 2), "too short",
         codec="mjpeg", pix_fmt="yuvj420p")  # fmt: skip
    film("still.mkv", swaying[0][:1].repeat(155, 0), "static")
    film("frozen_for_a_year.mkv", swaying[0][:3], "damaged (time stamps jump", times=[0, 1, 3e7])
    film("café\nau lait.mkv", make_pictures(155, seed=10), None)
    film("x" * 240 + ".mkv", make_pictures(155, seed=11), None)
    put("copy_of_alpha.mkv", (folder / "alpha.mkv").read_bytes(), "same content")
    invalid = os.fsdecode(b"not_utf8_\xff.mkv")
    film(invalid, make_pictures(155, seed=12), None)
    (folder / "folder.mp4").mkdir()
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    os.mkfifo(folder / "pipe.mp4")
    due |= {"folder.mp4": "a folder", "dangling.mp4": "leads nowhere", "circle.mp4": "leads nowhere"}
    due |= {"pipe.mp4": "not a file"}
    return due


@pytest.mark.slow
def test_no_file_stops_a_build_and_each_is_in_the_report(whole, tmp_path, write_video, make_pictures, monkeypatch):
    folder = tmp_path / "videos"
    folder.mkdir()
    due = fill(folder, whole, write_video, make_pictures)
    forbidden, forbid = folder / "forbidden.mp4", Path.open
    forbidden.write_bytes(whole["h264.mp4"])
    due[forbidden.name] = "cannot be read (Permission denied)"

    def opened(path: Path, *arguments, **options):
        if path == forbidden:  # permissions do not stop root, as whom containers run tests
            raise PermissionError(13, "Permission denied", str(path))
        return forbid(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    assert len(due) > 200
    config = get_config("test")
    # The same scene in every file, and motion that is not the pictures': here only decoding is to be judged.
    config.filters.copy_appearance, config.filters.max_trend, config.filters.camera_told = 2.0, 2.0, 2.0
    config.filters.max_flicker = config.filters.max_bands = config.filters.max_local_flicker = 1e6
    finished = dataset.build(str(folder), str(tmp_path / "data"), config, estimator=sway)

    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    entries = {Path(entry["path"]).name: entry for entry in report["videos"]}
    assert entries.keys() == due.keys()
    for name, reason in due.items():
        entry = entries[name]
        accepted = bool(entry["accepted"])
        assert accepted != bool(entry.get("reason")), entry
        assert reason is not None or accepted, entry
        assert not reason or entry["reason"].startswith(reason), entry
        assert "crashes" not in entry.get("reason", "") and "hangs" not in entry.get("reason", ""), entry
    total = sum(bool(entry["accepted"]) for entry in entries.values())
    assert report["counters"]["examples written"] == total
    assert sum(n for name, n in report["counters"].items() if name.startswith("videos rejected")) == len(due) - total
    info = tfds.builder_from_directory(str(finished)).info
    assert info.splits["train"].num_examples + info.splits["test"].num_examples == total

    again = dataset.build(str(folder), str(tmp_path / "again"), config, estimator=sway)
    assert content(again) == content(finished)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_decoding_ends_in_pictures_or_in_one_clear_line(whole, tmp_path, data):
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    place = st.integers(0, len(content) - 1) | st.integers(0, 600)
    for position, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=30)):
        content[position] = value
    path = tmp_path / name
    path.write_bytes(content[: data.draw(st.just(len(content)) | place)])
    for function, options in (
        (video.read_timeline, {"bar_luma": 24.0}),
        (video.read_frames, {"fps": 30, "width": 32, "height": 20}),
    ):
        try:
            result = list(isolation.iterate(function, path, **options))
        except UserError as error:
            message = str(error)
            assert message.startswith(f"{path}: ") and "\n" not in message and "leave it out" in message
            assert "crashes" not in message and "hangs" not in message
        else:
            assert len(result) > 0
            if function is video.read_timeline:
                assert np.all(np.diff(result[0].times) > 0) and 0 <= result[0].duration < 1e4
            else:
                assert all(frame.shape == (20, 32, 3) for frame in result)
