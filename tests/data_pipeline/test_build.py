"""Videos -> the finished data set: splits, report, resumption to the same bytes, and nothing half-written in sight."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from configs.data import get_config
from data_pipeline import build as command
from data_pipeline import dataset, pipeline
from data_pipeline.examples import Clip
from data_pipeline.gid_motion.gid_motion_dataset_builder import Builder, GidMotionConfig
from gid_jax import cli, flow
from gid_jax.data.codec import decode_example
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError
from gid_jax.lock import locked

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam and TFDS warn of their own insides


def sway(source: np.ndarray, targets: np.ndarray, preset: str) -> np.ndarray:
    """An estimator that takes no time: the left half swings; the phase is the picture's, so that clips differ."""
    count, (height, width) = len(targets), source.shape[:2]
    swing = 3 * np.sin(2 * np.pi * np.arange(1, count + 1) / 40 + float(source.mean()) * 9)
    swing = np.where(np.arange(width) < width / 2, swing[:, None], 0)
    motion = np.zeros((count, height, width, 2), np.float32)
    motion[..., 0] = swing[:, None]
    return motion


class Interrupted(Exception):
    pass


class StopsAfter:
    """`sway` that dies at its `count`-th clip."""

    def __init__(self, count: int):
        self.count = count

    def __call__(self, source, targets, preset):
        if len(targets) > 1:
            self.count -= 1
            if self.count < 0:
                raise Interrupted("killed")
        return sway(source, targets, preset)


def config(**changes):
    result = get_config("test")
    with result.unlocked():
        result.update(width=32, height=20, num_frames=40, num_frequencies=6, start_stride=20, max_starts=0, pairs=2)
        result.update(changes)
    # The pictures do not move as `sway` says.
    result.filters.max_flicker = result.filters.max_bands = result.filters.max_local_flicker = 255.0
    result.filters.camera_told = 2.0
    return result


@pytest.fixture
def videos(tmp_path, write_video, make_pictures) -> Path:
    for i in range(4):
        write_video(f"videos/swaying_{i}.mkv", make_pictures(62, seed=i))
    return tmp_path / "videos"


def build(videos, data_dir, **options) -> Path:
    options.setdefault("estimator", sway)
    return dataset.build(str(videos), str(data_dir), options.pop("config", config()), **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read(folder: Path, split: str) -> list[dict]:
    return list(tfds.builder_from_directory(str(folder)).as_data_source(split))


def test_from_videos_to_examples(videos, tmp_path):
    folder = build(videos, tmp_path / "data")
    assert folder == tmp_path / "data" / "gid_motion" / "test" / "1.0.0"
    train, test = read(folder, "train"), read(folder, "test")
    assert len(train) == 6 and len(test) == 2  # starts 0 and 20 of 62 frames; three videos and one
    examples = [decode_example(raw, frequencies=range(6), pairs=True) for raw in train + test]
    ids = {split: {raw["video_id"] for raw in raws} for split, raws in (("train", train), ("test", test))}
    assert len(ids["train"]) == 3 and not ids["train"] & ids["test"]

    example = examples[0]
    assert example["image"].shape == (20, 32, 3) and example["target_frames"].shape == (2, 20, 32, 3)
    swing = sway(example["image"] / np.float32(255), np.zeros((39, 20, 32, 3)), "fast")
    motion = np.concatenate([np.zeros_like(swing[:1]), swing])
    expected = np.fft.rfft(motion, axis=0)[:6]
    difference = example["spectrum"][..., :2] + 1j * example["spectrum"][..., 2:] - expected
    assert np.sqrt((np.abs(difference) ** 2).mean()) < 0.5  # a swing of 3 px has |S| = 60 at its peak
    np.testing.assert_allclose(example["motion_weight"], np.abs(motion[..., 0]).mean(0), rtol=1e-3)
    np.testing.assert_allclose(example["target_flows"], motion[example["target_times"]], atol=0.05)
    assert example["fps"] == 30 and example["scale"] == pytest.approx(0.5)

    statistics = DatasetStatistics.load(folder / "statistics.json")
    spectra = np.stack([example["spectrum"] for example in examples[:6]], axis=1).astype(np.float64)
    moduli = np.hypot(spectra[..., :2], spectra[..., 2:]).reshape(6, -1)
    np.testing.assert_allclose(statistics.scales, np.percentile(moduli, 95, axis=1), rtol=0.02)
    np.testing.assert_allclose(statistics.mean_power, (moduli**2).mean(axis=1), rtol=1e-5)
    assert (statistics.num_examples, statistics.width, statistics.num_frames) == (6, 32, 40)


def test_reference_clips_are_kept_without_loss_in_the_test_split(videos, tmp_path, monkeypatch):
    folder = build(videos, tmp_path / "data", config=config(reference_clips=1))
    kept = [raw for raw in read(folder, "test") if raw["reference_clip"]]
    assert len(kept) == 1 and not any(raw["reference_clip"] for raw in read(folder, "train"))
    example = decode_example(kept[0], frequencies=(), pairs=True, clip=True)
    assert example["reference_clip"].shape == (40, 20, 32, 3)
    np.testing.assert_array_equal(example["reference_clip"][0], example["image"])
    np.testing.assert_array_equal(example["reference_clip"][example["target_times"]], example["target_frames"])
    other = next(raw for raw in read(folder, "test") if not raw["reference_clip"])
    assert "reference_clip" not in decode_example(other, frequencies=(), pairs=False, clip=True)

    monkeypatch.setattr("data_pipeline.examples.MOST_CLIP_BYTES", 1)
    shutil.rmtree(folder)
    for path in (tmp_path / "data" / ".cache").rglob("*.clip"):
        path.unlink()
    folder = build(videos, tmp_path / "data", config=config(reference_clips=1), estimator=StopsAfter(0))
    assert not any(raw["reference_clip"] for raw in read(folder, "test"))


def test_a_killed_build_goes_on_and_gives_the_same_bytes(videos, tmp_path, capsys):
    whole = build(videos, tmp_path / "whole")
    with pytest.raises(Interrupted):
        build(videos, tmp_path / "killed", estimator=StopsAfter(3))
    assert not (tmp_path / "killed" / "gid_motion").exists()
    with pytest.raises(Interrupted):
        build(videos, tmp_path / "killed", estimator=StopsAfter(2))
    resumed = build(videos, tmp_path / "killed", estimator=StopsAfter(8 - 3 - 2))
    assert content(resumed) == content(whole)

    capsys.readouterr()
    assert build(videos, tmp_path / "killed", estimator=StopsAfter(0)) == resumed
    assert "complete already" in capsys.readouterr().out
    with pytest.raises(UserError, match="made of other videos or settings"):
        build(videos, tmp_path / "killed", config=config(start_stride=5))


def test_nothing_is_visible_until_the_statistics_are_written(videos, tmp_path, monkeypatch):
    def fail(*_):
        raise Interrupted("killed")

    monkeypatch.setattr(pipeline, "compute_statistics", fail)
    with pytest.raises(Interrupted):
        build(videos, tmp_path / "data")
    assert not (tmp_path / "data" / "gid_motion").exists()
    monkeypatch.undo()
    assert {"statistics.json", "dataset_info.json"} <= set(content(build(videos, tmp_path / "data")))


def test_bad_videos_are_reported_and_the_rest_is_built(videos, tmp_path, write_video, make_pictures):
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("not a video\n" * 100)
    write_video("videos/short.mkv", make_pictures(20, seed=9))
    write_video("videos/still.mkv", np.repeat(make_pictures(1, seed=10), 62, axis=0))
    (videos / "copy.mkv").write_bytes((videos / "swaying_0.mkv").read_bytes())
    folder = build(videos, tmp_path / "data")
    assert len(read(folder, "train")) + len(read(folder, "test")) == 8
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    reasons = {Path(entry["path"]).name: entry.get("reason", "") for entry in report["videos"]}
    starts = {
        "empty.mp4": "the file is empty",
        "text.mp4": "not a video",
        "short.mkv": "too short",
        "still.mkv": "static",
    }
    assert len(reasons) == 9
    for name, reason in starts.items():
        assert reasons[name].startswith(reason), (name, reasons[name])
    assert sum("same content" in reason for reason in reasons.values()) == 1
    assert sum(report["examples"].values()) == 8 and all(report["examples"].values())
    sheet = (tmp_path / "data" / "contact_sheet.html").read_text()
    assert all(name in sheet for name in reasons) and "http" not in sheet
    assert sheet.count("data:image/jpeg") == 8 + 2  # the clips, the short and the still video


def test_a_copy_in_another_size_is_left_out_and_bars_are_reported(videos, tmp_path, write_video, make_pictures):
    pictures = make_pictures(62, height=80, width=128, seed=7)
    write_video("videos/large.mkv", pictures)
    write_video("videos/a_small.mp4", pictures[:, ::2, ::2], codec="libx264", pix_fmt="yuv420p")
    bars = ((0, 0), (20, 20), (0, 0), (0, 0))
    write_video("videos/barred.mkv", np.pad(make_pictures(62, height=80, width=128, seed=8), bars))
    build(videos, tmp_path / "data")
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    entries = {Path(entry["path"]).name: entry for entry in report["videos"]}
    assert entries["a_small.mp4"]["reason"] == f"copy: shows the same as {videos / 'large.mkv'}"
    assert "reason" not in entries["large.mkv"] and len(entries["large.mkv"]["accepted"]) == 2
    assert entries["barred.mkv"]["bars"] == pytest.approx([0, 21 / 120, 0, 21 / 120])


def test_holdout_and_loops(videos, tmp_path):
    folder = build(videos, tmp_path / "data", holdout="*_2.mkv", loops="*_2*")
    test = read(folder, "test")
    assert {raw["video_id"][:9] for raw in test} == {b"swaying_2"} and len(test) == 4  # starts 0, 20, 40, 60 of a loop
    for holdout, message in (("nothing*", "no accepted video matches"), ("*", "nothing is left to train on")):
        with pytest.raises(UserError, match=message):
            build(videos, tmp_path / holdout.strip("*"), holdout=holdout)


def test_filters_may_change_without_new_flow(videos, tmp_path):
    strict = config()
    strict.filters.min_motion = 100.0
    with pytest.raises(UserError, match="no clip is fit"):
        build(videos, tmp_path / "data", config=strict)
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    assert all(entry["reason"].startswith("static") for entry in report["videos"])
    build(videos, tmp_path / "data", estimator=StopsAfter(0))


def test_beam_writes_the_same_examples(videos, tmp_path):
    folder = build(videos, tmp_path / "data")
    paths = [str(path) for path in (tmp_path / "data" / ".cache").rglob("*.msgpack")]
    builder = Builder(
        splits={"train": paths},
        distributed=True,
        data_dir=tmp_path / "beam",
        file_format="array_record",
        config=GidMotionConfig(name="test", width=32, height=20, num_frequencies=6, pairs=2),
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(beam_runner=pipeline._LOCAL_RUNNER, try_download_gcs=False)
    )

    def by_name(raws: list[dict]) -> dict:
        return {(raw["video_id"], raw["start"]): raw["spectrum"] for raw in raws}

    assert by_name(read(Path(builder.data_dir), "train")) == by_name(read(folder, "train") + read(folder, "test"))


def test_a_second_build_says_so_and_records_are_the_same_bytes_whoever_writes_them(videos, tmp_path):
    place = tmp_path / "run[1] 50%"
    with locked(place / ".cache", "the first build"):
        message = f"--data_dir={place}: in use by process {os.getpid()} on "
        with pytest.raises(UserError, match=re.escape(message) + ".*; wait for it or choose another folder$"):
            build(videos, place)
    for path in build(videos, place).glob("*.array_record*"):
        for record in ArrayRecordDataSource([str(path)]):
            ordered = tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)
            assert record == ordered  # protobuf by itself orders the fields by a hash that differs between processes


def test_left_out_files_are_counted_and_brackets_are_literal(videos, tmp_path, capsys):
    (videos / "swaying_0.mkv").rename(videos / "swaying[1].mkv")
    (videos / "notes.txt").touch()
    (videos / "._swaying_2.mkv").write_bytes(b"\0\5\26\7" + bytes(100))
    folder = build(videos, tmp_path / "data", holdout="swaying[1].mkv")
    assert {raw["video_id"][:10] for raw in read(folder, "test")} == {b"swaying[1]"}
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    assert report["counters"]["files left out: .txt: not the name of a video"] == 1
    (reason,) = (entry["reason"] for entry in report["videos"] if Path(entry["path"]).name.startswith("._"))
    assert reason.startswith("not a video, but what macOS notes about swaying_2.mkv")
    assert "files left out" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(videos, tmp_path):
    few = config(max_starts=1, flow_preset="fast")
    options = pipeline.parse_options(["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    one = build(videos, tmp_path / "one", config=few, estimator=flow.estimate)
    assert content(build(videos, tmp_path / "two", config=few, estimator=flow.estimate, options=options)) == content(
        one
    )


def clips(*digits: str) -> list[Clip]:
    return [Clip(f"/videos/{digit}.mp4", digit * 64) for digit in digits]


def test_split_by_content_hash_is_never_empty():
    splits = dataset.choose_split(clips("5", "0", "f", "1"), 0.1, None)
    assert [clip.digest[0] for clip in splits["test"]] == ["0", "1"]  # 0x11... is below a tenth of 0xff...
    assert [clip.digest[0] for clip in dataset.choose_split(clips("9", "7", "8"), 0.1, None)["test"]] == ["7"]
    assert [clip.digest[0] for clip in dataset.choose_split(clips("0", "1"), 0.1, None)["train"]] == ["1"]
    with pytest.raises(UserError, match="the only accepted video"):
        dataset.choose_split(clips("3"), 0.1, None)


def test_command_line(tmp_path, capsys):
    def exit_code(*arguments: str) -> tuple[int, str]:
        command.FLAGS.unparse_flags()
        with pytest.raises(SystemExit) as error:
            cli.run(command.main, command.FLAGS, ["build", *arguments])
        return error.value.code, capsys.readouterr().err

    place = f"--data_dir={tmp_path / 'data'}"
    code, message = exit_code(place)
    assert code == 2 and "--videos: missing" in message
    code, message = exit_code(f"--videos={tmp_path / 'absent'}", place)
    assert code == 2 and "no video there" in message and message.count("\n") == 1
    assert not (tmp_path / "data").exists()
    code, message = exit_code(f"--videos={tmp_path}", place, "--nonsense=1")
    assert code == 2 and "--nonsense" in message
    (tmp_path / "file").touch()
    code, message = exit_code(f"--videos={tmp_path}", f"--data_dir={tmp_path / 'file'}")
    assert code == 2 and "cannot be written" in message


def test_a_kept_video_is_accepted_in_spite_of_its_verdict_and_the_report_says_so(videos, tmp_path):
    strict = config()
    strict.filters.max_trend = -1.0
    finished = build(videos, tmp_path / "data", config=strict, keep="*swaying_[12].mkv")
    entries = {Path(entry["path"]).name: entry for entry in json.loads(report_of(finished).read_text())["videos"]}
    assert {name for name, entry in entries.items() if entry["accepted"]} == {"swaying_1.mkv", "swaying_2.mkv"}
    kept = entries["swaying_1.mkv"]
    assert all(reason.startswith("time-lapse") for reason in kept["overruled"].values())
    assert len(kept["overruled"]) == len(kept["accepted"]) == kept["shots"][0]["accepted"]
    sheet = (tmp_path / "data" / "contact_sheet.html").read_text()
    assert "kept in spite of time-lapse" in sheet
    with pytest.raises(UserError, match=r"--keep=nothing\*: matches no video"):
        build(videos, tmp_path / "other", keep="nothing*")


def test_shots_by_hand_and_times_outside_of_the_video(videos, tmp_path):
    table = tmp_path / "shots.tsv"
    table.write_text("file\tfrom\tto\nswaying_0.mkv\t0.5\t2.0\n")
    finished = build(videos, tmp_path / "data", shots=str(table))
    entries = {Path(entry["path"]).name: entry for entry in json.loads(report_of(finished).read_text())["videos"]}
    assert entries["swaying_0.mkv"]["shots"] == [{"from": 0.5, "to": 2.0, "accepted": 1}]
    assert [accepted["start"] for accepted in entries["swaying_0.mkv"]["accepted"]] == [15]
    for line, message in {
        "swaying_0.mkv\t0.5\t99": "0.5 to 99 s lies outside of it, it lasts 2.07 s",
        "swaying_9.mkv\t0\t1": "line 2 names none of the videos",
        "swaying_0.mkv\t2\t1": "2 to 1 is no span of time",
    }.items():
        table.write_text(f"file\tfrom\tto\n{line}\n")
        with pytest.raises(UserError, match=message):
            build(videos, tmp_path / "other", shots=str(table))


def report_of(finished: Path) -> Path:
    return finished.parents[2] / "build_report.json"
