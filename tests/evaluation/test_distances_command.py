"""gid_jax.distances on clips made here, with small networks in the place of the real ones; and bad input."""

import json
import shutil

import numpy as np
import pytest
import stand_in_networks
from PIL import Image

from gid_jax import cli, distances
from gid_jax.evaluation import clip_features, clips
from gid_jax.inference.video import write_video
from gid_jax.metrics import distances as metrics
from gid_jax.metrics import i3d, inception, networks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    stand_in_networks.install(tmp_path / "cache", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(seed, frames=20, size=(32, 48), level=0):
    """Colours that wander from frame to frame."""
    random = np.random.default_rng(seed)
    colours = np.cumsum(random.normal(0, 9, (frames, 1, 1, 3)), axis=0) + random.uniform(90, 160, 3) + level
    return np.clip(colours + random.normal(0, 3, (frames, *size, 3)), 0, 255).astype(np.uint8)


def write(folder, count, level=0, suffix=".png", first=0, **more):
    """`count` clips, exact (numbered PNGs) unless `suffix` says otherwise."""
    for i in range(first, first + count):
        frames = noise(1000 * level + i, level=level, **more)
        name = folder / (f"{i}/%d.png" if suffix == ".png" else f"{i}{suffix}")
        write_video(name, frames, 30)
    return folder


def command(*arguments) -> None:
    for name in distances.FLAGS:
        distances.FLAGS[name].unparse()
    distances.FLAGS.unparse_flags()
    cli.run(distances.main, distances.FLAGS, ["program", *map(str, arguments)])


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("python -m gid_jax.distances: error: ")
    return said


def test_every_figure_is_that_of_the_features(folder):
    real, fake = write(folder / "real", 5, frames=34), write(folder / "fake", 4, 60, frames=35)
    command(real, fake, "--out=out", "--windows=16,17", "--frame_step=10")
    result = json.loads((folder / "out" / "distances.json").read_text())
    given = [
        [noise(1000 * level + i, 34 + (level > 0), level=level) for i in range(n)] for n, level in ((5, 0), (4, 60))
    ]
    pictures = [inception.features([frame for clip in side for frame in clip[::10]]) for side in given]
    figures = result["distances"]
    assert figures["FID"]["value"] == pytest.approx(metrics.fid(*pictures), rel=1e-6)
    assert figures["KID"]["value"] == pytest.approx(metrics.kid(*pictures), rel=1e-6)
    assert figures["FID"]["n"] == {"real": 20, "fake": 16}
    for name, window in (("FVD", 16), ("FVD17", 17)):
        logits = [i3d.logits([clip[i * window :][:window] for clip in side for i in range(2)]) for side in given]
        assert figures[name]["value"] == pytest.approx(metrics.fvd(*logits), rel=1e-6)
        assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
        assert figures[name]["halves"] < figures[name]["value"] and "under 400" in figures[name]["warning"]
        if name == "FVD":
            assert result["sliding"]["FVD"]["starts"] == [0, 16]
            at_16 = [i3d.logits([clip[16:32] for clip in side]) for side in given]
            assert result["sliding"]["FVD"]["values"][1] == pytest.approx(metrics.fvd(*at_16), rel=1e-6)
    first_30 = [inception.features([frame for clip in side for frame in clip[:30:10]]) for side in given]
    assert result["sliding"]["FID"]["values"] == pytest.approx([metrics.fid(*first_30)], rel=1e-6)
    assert result["protocol"]["size"] == [48, 32] and result["real"]["clips"] == 5


def test_a_set_against_itself_is_nowhere_and_a_second_time_costs_nothing(folder, monkeypatch, capsys):
    real = write(folder / "real", 4)
    command(real, real, "--out=out")
    first = capsys.readouterr().out
    result = json.loads((folder / "out" / "distances.json").read_text())
    for name in ("FID", "FVD"):
        assert abs(result["distances"][name]["value"]) < 1e-6 * result["distances"][name]["halves"]
    assert "has 20 frames" in result["distances"]["FVD32"]["missing"]
    monkeypatch.setattr(clips, "_read_video", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(clip_features.Measure, "inputs", lambda *_: pytest.fail("measured again"))
    shutil.copytree(real, folder / "copied elsewhere")
    command(real, folder / "copied elsewhere", "--out=out")
    assert capsys.readouterr().out == first


def test_saved_statistics_stand_for_the_clips(folder, capsys):
    real, fake = write(folder / "real", 4), write(folder / "fake", 3, 5)
    command(real, fake, "--out=whole", "--save_stats=stats.npz")
    shutil.rmtree(real)
    command("stats.npz", fake, "--out=saved")
    whole, saved = (json.loads((folder / name / "distances.json").read_text()) for name in ("whole", "saved"))
    for name in ("FID", "FVD"):
        assert saved["distances"][name]["value"] == pytest.approx(whole["distances"][name]["value"], rel=1e-6)
        assert saved["distances"][name]["halves"] == whole["distances"][name]["halves"]
        assert saved["distances"][name]["error"] < whole["distances"][name]["error"]
    assert "features of REAL" in saved["distances"]["KID"]["missing"]
    assert "stats.npz: made with --crop none, here it is [16, 16]" in refused(capsys, "stats.npz", fake, "--crop=16x16")
    assert "--resize clean" in refused(capsys, "stats.npz", fake, "--resize=legacy")
    assert "--frame_step every 5th" in refused(capsys, "stats.npz", fake, "--frame_step=2")
    write(folder / "large", 2, size=(64, 64))
    assert "--crop=WIDTHxHEIGHT" in refused(capsys, "stats.npz", "large")
    assert "holds statistics already" in refused(capsys, "stats.npz", fake, "--save_stats=other.npz")
    path = networks.weights_file(i3d.NAME)
    path.write_bytes(path.read_bytes().replace(b"of i3d", b"as i3d"))
    assert "other weights of i3d-kinetics400" in refused(capsys, "stats.npz", fake)
    (folder / "stats.npz").write_bytes(b"PK\x03\x04")
    assert "stats.npz: no statistics" in refused(capsys, "stats.npz", fake)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_formats_of_video_are_read(folder, suffix, capsys):
    real, fake = write(folder / "real", 2, suffix=suffix), write(folder / "fake", 2, 40)
    command(real, fake, "--out=out", "--windows=20")
    result = json.loads((folder / "out" / "distances.json").read_text())
    write(folder / "exact", 2)
    command("exact", fake, "--out=out", "--windows=20")
    exact = json.loads((folder / "out" / "distances.json").read_text())
    for name in ("FID", "FVD20"):
        assert result["distances"][name]["value"] == pytest.approx(exact["distances"][name]["value"], rel=0.3)
        assert result["distances"][name]["error"] is None  # two videos tell nothing of their spread


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_frames_keep_their_colours_and_their_number(tmp_path, suffix):
    colours = np.uint8([[255, 0, 0], [0, 255, 0], [30, 90, 160], [30, 90, 160], [200, 120, 40], [0, 0, 0]])
    frames = np.broadcast_to(colours[:, None, None], (6, 40, 48, 3)).copy()
    frames[:, :4, : 4 * 6] = np.repeat(colours, 4, axis=0)[None, None]  # the first frame's palette is a GIF's only one
    write_video(tmp_path / f"v{suffix}", frames, 30)
    found = np.stack(list(clips.Clip(tmp_path / f"v{suffix}").frames()))
    assert found.shape == frames.shape
    np.testing.assert_allclose(found[:, 16:].astype(int), frames[:, 16:], atol=4)


def test_pictures_are_compared_without_time(folder, capsys):
    for name, level in (("real", 0), ("fake", 30)):
        (folder / name).mkdir()
        for i in range(5):
            Image.fromarray(noise(i, 1, level=level)[0]).save(folder / name / f"{i}.png")
    (folder / "real" / "5.png").write_bytes(b"\x89PNG cut")
    command("real", "fake", "--out=out")
    result = json.loads((folder / "out" / "distances.json").read_text())
    assert set(result["distances"]) == {"FID", "KID"} and result["distances"]["FID"]["n"] == {"real": 5, "fake": 5}
    assert list(result["real"]["left_out"]) == ["real/5.png"] and result["sliding"] == {}
    assert "left out of REAL, 1 of 6:" in capsys.readouterr().out
    write(folder / "videos", 2, suffix=".mp4")
    assert "of one kind and size" in refused(capsys, "videos", "fake")


def test_a_cut_file_is_named_left_out_and_counted(folder, capsys):
    real, fake = write(folder / "real", 3, suffix=".mp4"), write(folder / "fake", 2, suffix=".mp4")
    whole = (real / "2.mp4").read_bytes()
    (real / "2.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (real / "empty.mp4").touch()
    (real / "._2.mp4").write_bytes(b"of another system")
    command(real, fake, "--out=out")
    result = json.loads((folder / "out" / "distances.json").read_text())
    assert set(result["real"]["left_out"]) == {f"{real}/2.mp4", f"{real}/empty.mp4"} and result["real"]["clips"] == 2
    assert "left out of REAL, 2 of 4:" in capsys.readouterr().out
    (fake / "1.mp4").write_bytes(whole[: len(whole) // 2])
    assert f"1 can be read where two or more are needed; {fake}/1.mp4" in refused(capsys, real, fake)


def test_the_centre_counts_where_a_crop_is_asked_for(folder):
    real = write(folder / "real", 3, size=(40, 60))
    for i in range(3):
        frames = noise(i, size=(40, 60))
        outside = np.ones((40, 60), bool)
        outside[8:32, 14:46] = False
        frames[:, outside] = 0
        write_video(folder / "fake" / f"{i}" / "%d.png", frames, 30)
    command(real, "fake", "--out=out", "--crop=32x24", "--windows=16")
    cropped = json.loads((folder / "out" / "distances.json").read_text())
    assert abs(cropped["distances"]["FVD"]["value"]) < 1e-6 and cropped["protocol"]["size"] == [32, 24]
    command(real, "fake", "--out=out", "--windows=16")
    assert json.loads((folder / "out" / "distances.json").read_text())["distances"]["FVD"]["value"] > 1


def test_missing_weights_are_rows_that_say_so(folder, capsys):
    real = write(folder / "real", 2)
    networks.weights_file(inception.NAME).unlink()
    command(real, real, "--out=out", "--windows=16")
    figures = json.loads((folder / "out" / "distances.json").read_text())["distances"]
    assert list(figures) == ["FID", "KID", "FVD", "DTFVD"]
    assert "python -m gid_jax.weights fid-inception" in figures["FID"]["missing"]
    assert "I3D_16.pth.tar" in figures["DTFVD"]["missing"] and figures["FVD"]["value"] is not None
    networks.weights_file(i3d.NAME).unlink()
    assert "python -m gid_jax.weights fid-inception i3d-kinetics400" in refused(capsys, real, real)


def test_bad_input_is_one_line(folder, capsys, monkeypatch):
    real = write(folder / "real", 2)
    assert "two folders" in refused(capsys, real)
    assert "absent: no such folder" in refused(capsys, real, "absent")
    (folder / "empty").mkdir()
    assert "empty: holds no videos" in refused(capsys, real, "empty")
    write(folder / "one", 1)
    assert "one: 1 can be read where two or more are needed" in refused(capsys, real, "one")
    assert "real/0: 20 frames are fewer than a window of 21" in refused(capsys, real, real, "--windows=16,21")
    write(folder / "short", 2, frames=12)
    assert "12 frames are fewer than a window of 16" in refused(capsys, real, "short")
    write(folder / "large", 2, size=(64, 64))
    assert "--crop=WIDTHxHEIGHT" in refused(capsys, real, "large")
    write(folder / "mixed", 2)
    write(folder / "mixed", 1, size=(64, 64), first=2)
    assert "mixed/2: 64 x 64" in refused(capsys, real, "mixed")
    assert "smaller than --crop=50x10" in refused(capsys, real, real, "--crop=50x10")
    for flag in ("--windows=8", "--windows=many", "--crop=12", "--crop=0x9", "--frame_step=0", "--resize=best"):
        assert flag.partition("=")[0].strip("-") in refused(capsys, real, real, flag)
    (folder / "file").touch()
    assert "file" in refused(capsys, real, real, "--out=file")
    assert ".npz" in refused(capsys, real, real, "--save_stats=stats.json")
    shutil.rmtree(folder / "cache" / "features")
    (folder / "cache" / "features").touch()
    assert "GID_JAX_CACHE" in refused(capsys, real, real)
