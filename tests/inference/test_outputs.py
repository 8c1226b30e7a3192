"""What the commands write, where, and what they refuse to: before anything runs, in one line."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from gid_jax import animate, cli, convert, export, interact
from gid_jax.errors import UserError
from gid_jax.inference import generate
from gid_jax.inference.bundle import check_target, save_bundle
from gid_jax.inference.video import check_size, check_video, later_frames, write_video


def frames(count: int) -> list[np.ndarray]:
    """All different, in the colours of the first."""
    picture = np.random.default_rng(0).integers(0, 256, (16, 18, 3), np.uint8) // 64 * 64
    return [np.roll(picture, number, axis=(0, 1)) for number in range(count)]


def command(module, *arguments) -> None:
    for name in module.FLAGS:
        module.FLAGS[name].unparse()
    cli.run(module.main, module.FLAGS, ["program", *map(str, arguments)])


@pytest.fixture
def place(tmp_path, monkeypatch, bundle):
    """A working folder with a picture, a bundle, and no prediction that could be run."""

    def never(*args, **kwargs):
        raise AssertionError("predicted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generate, "predict_spectrum", never)
    save_bundle(bundle, tmp_path / "bundle")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("p.png")
    (tmp_path / "frames").mkdir()
    os.link("p.png", "frames/0003.png")
    os.symlink("p.png", "link.png")
    os.symlink("bundle/bundle.json", "page.html")
    os.symlink("p.png", "movie.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("module", "arguments", "clue"),
    [
        (animate, ["--out=%d.png", "--xt_slice=./frames/../p.png"], "--xt_slice=frames/../p.png"),
        (animate, ["--out=v.mp4", "--motion_map=link.png"], "--motion_map=link.png"),
        (animate, ["--out=frames/%04d.png"], "frames/0003.png"),
        (animate, ["--out=movie.mp4"], "the photo"),
        (animate, ["--out=v.mp4", "--xt_slice=x.png", "--motion_map=a/../x.png"], "--xt_slice"),
        (animate, ["--out=%02d.png", "--motion_map=07.png"], "--motion_map"),
        (animate, ["--out=/dev/full"], "must end in"),
        (animate, ["--out=p.png/v.mp4"], "Not a directory"),
        (animate, [f"--out={'a' * 300}.mp4"], "too long"),
        (animate, ["--out=v.mp4", f"--xt_slice={'a' * 300}.png"], "--xt_slice="),
        (animate, ["--out=%0999d.png"], "frames/%04d.png"),
        (animate, ["--out=v.mp4", "--slow=nan"], "--slow"),
        (animate, ["--out=v.mp4", "--fps=inf"], "--fps"),
        (animate, ["--out=v.mp4", "--guidance=nan"], "--guidance"),
        (interact, ["--out=page.html"], "--bundle"),
        (interact, ["--out=v.html", "--magnify=nan"], "--magnify"),
    ],
)
def test_refused_before_anything_runs(place, capsys, module, arguments, clue):
    before = (place / "p.png").read_bytes()
    with pytest.raises(SystemExit) as ended:
        command(module, "p.png", "--bundle=bundle", *arguments)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and clue in lines[0]
    assert (place / "p.png").read_bytes() == before
    assert not list(place.rglob("*.partial*"))


def test_convert_spares_its_source_and_bundles(place, capsys):
    save_file({"a": np.zeros(1, np.float32)}, "source.safetensors")
    os.symlink("source.safetensors", "other.safetensors")
    for out, clue in [("./other.safetensors", "SRC"), ("bundle/vae.safetensors", "bundle")]:
        with pytest.raises(SystemExit) as ended:
            command(convert, "diffusers-vae", "source.safetensors", out)
        assert ended.value.code == 2 and clue in capsys.readouterr().err


def test_export_spares_workdirs_and_what_lies_in_a_bundle(place, capsys):
    (place / "bundle" / "holiday.mp4").touch()
    with pytest.raises(UserError, match=r"holiday\.mp4"):
        check_target("bundle")
    with pytest.raises(SystemExit) as ended:
        command(export, "--vae=w", "--denoiser=d", "--renderer=r", "--out=./x/../w")
    assert ended.value.code == 2 and "--vae" in capsys.readouterr().err


def test_a_bundle_is_written_through_a_link(tmp_path, bundle):
    save_bundle(bundle, tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    save_bundle(bundle, tmp_path / "link", "float16")
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "real"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".webp", ".gif"])
@pytest.mark.parametrize("folder", ["12:30", "50%d", os.fsdecode(b"\xff"), "a b\nc"])
def test_names_of_any_kind(tmp_path, monkeypatch, suffix, folder):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    for name in ("12:30", "-v", "f" * 250, os.fsdecode(b"\xfe")):
        write_video(name + suffix, frames(2), 30)
        assert os.listdir() == [name + suffix]
        os.unlink(name + suffix)


@pytest.mark.parametrize("name", ["v.mp4", "v.webm", "v.webp", "v.gif", "%d.png"])
def test_a_full_disk_leaves_nothing_but_a_line(tmp_path, name):
    (tmp_path / "0.png").write_text("an earlier frame")
    program = (
        "import numpy as np; from absl import flags; from gid_jax import cli; "
        "from gid_jax.inference.video import write_video\n"
        "noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)\n"
        "def main(arguments): write_video(arguments[0], noise, 30)\n"
        "cli.run(main, flags.FlagValues())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "--out=" in done.stderr and "File too large" in done.stderr
    assert os.listdir(tmp_path) == ["0.png"] and (tmp_path / "0.png").read_text() == "an earlier frame"


@pytest.mark.parametrize(
    ("name", "width", "height", "fits"),
    [
        ("v.mp4", 16384, 32, True),
        ("v.mp4", 16385, 32, False),
        ("v.mp4", 32, 16400, False),
        ("v.mp4", 16384, 16384, False),
        ("v.webm", 16400, 32, True),
        ("v.webm", 65537, 16, False),
        ("v.webp", 16383, 16, True),
        ("v.webp", 16, 16384, False),
        ("v.gif", 65535, 16, True),
        ("v.gif", 65536, 16, False),
        ("%d.png", 99999, 16, True),
    ],
)
def test_the_limits_of_codecs_are_known(tmp_path, name, width, height, fits):
    if fits:
        check_size(name, width, height)
        if max(width, height) < 17000:
            write_video(tmp_path / name, [np.zeros((height, width, 3), np.uint8)], 30)
    else:
        with pytest.raises(UserError, match=rf"--out={name}: {width} x {height}"):
            check_size(name, width, height)


@pytest.mark.parametrize(("fps", "shown"), [(60, 50), (240, 50), (50, 50), (30, 30)])
def test_a_gif_lasts_as_long_as_it_should(tmp_path, fps, shown):
    write_video(tmp_path / "v.gif", frames(48), fps)
    with Image.open(tmp_path / "v.gif") as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(1000 * 48 / fps, abs=20)
    assert len(durations) == pytest.approx(48 * shown / fps, abs=2)


def test_frames_of_a_longer_video_are_told(tmp_path):
    pattern = tmp_path / "f%03d.png"
    for name in ("f999.png", "f1000.png", "f7.png", "g004.png", "f002.png"):
        (tmp_path / name).touch()
    write_video(pattern, frames(3), 30)
    assert [path.name for path in later_frames(pattern, 3)] == ["f999.png", "f1000.png"]
    assert later_frames(tmp_path / "v.mp4", 3) == []
    assert len(check_video(pattern, 3)) == 3


def test_a_webp_repeats_for_ever_in_its_colours(tmp_path):
    shown = [np.full((33, 47, 3), (200, 40, 5 * number), np.uint8) for number in range(9)]
    write_video(tmp_path / "v.webp", shown, 24)
    with Image.open(tmp_path / "v.webp") as webp:
        assert webp.n_frames == 9 and webp.size == (47, 33) and webp.info["loop"] == 0
        durations = []
        for number in range(9):
            webp.seek(number)
            assert np.abs(np.asarray(webp.convert("RGB"), int) - shown[number]).max() < 6
            durations.append(webp.info["duration"])
    assert sum(durations) == pytest.approx(9000 / 24, abs=9)


def test_a_loop_is_one_period(place, bundle, monkeypatch, capsys):
    spectrum = np.zeros((3, 16, 16, 4), np.float32)
    spectrum[1] = 9
    asked = []
    monkeypatch.setattr(generate, "predict_spectrum", lambda *args, **settings: asked.append(settings) or spectrum)
    times = []
    original = generate.render_frames

    def rendered(bundle, photo, spectrum, when, magnify):
        times.extend(when)
        return original(bundle, photo, spectrum, when[:2], magnify)

    monkeypatch.setattr(generate, "render_frames", rendered)
    for arguments, count in ((["--fps=4"], 20), (["--fps=4", "--slow=1.99"], 40), (["--fps=4", "--frames=20"], 20)):
        times.clear()
        command(animate, "p.png", "--bundle=bundle", "--out=v.webp", "--loop", *arguments)
        assert np.allclose(times, np.arange(count) * 150 / count)
        assert asked[-1]["loop"] == "closed"
    command(animate, "p.png", "--bundle=bundle", "--out=v.webp", "--frames=2")
    assert asked[-1]["loop"] is None
    capsys.readouterr()
    for arguments, clue in ((["--frames=20"], "--frames=20: a loop"), (["--slow=1e9"], "--slow=1e+09: the loop")):
        with pytest.raises(SystemExit) as ended:
            command(animate, "p.png", "--bundle=bundle", "--out=w.webp", "--loop", *arguments)
        assert ended.value.code == 2 and clue in capsys.readouterr().err
    assert not os.path.exists("w.webp")


def test_remarks_of_animate(place, bundle, monkeypatch, capsys):
    spectrum = np.zeros((3, 16, 16, 4), np.float32)
    spectrum[1] = 1
    monkeypatch.setattr(generate, "predict_spectrum", lambda *args, **kwargs: spectrum)
    command(animate, "p.png", "--bundle=bundle", "--out=v.gif", "--fps=100", "--frames=8")
    shown = capsys.readouterr()
    assert "--fps=100" in shown.err and "50 frames a second" in shown.err and "v.gif: 4 frames" in shown.out
    (place / "new").mkdir()
    (place / "new" / "9.png").touch()
    command(animate, "p.png", "--bundle=bundle", "--out=new/%d.png", "--frames=4")
    assert "new/9.png" in capsys.readouterr().err and len(os.listdir("new")) == 5
