"""The commands on a tiny bundle, and what bad input leads to."""

import dataclasses
import json

import av
import jax
import numpy as np
import pytest
from PIL import Image

from gid_jax import animate, cli, export, interact
from gid_jax.errors import UserError
from gid_jax.inference.bundle import FILE_NAME, load_bundle, save_bundle
from gid_jax.inference.command import DEMO


@pytest.fixture
def inputs(tmp_path, bundle, photo):
    save_bundle(bundle, tmp_path / "bundle")
    Image.fromarray(np.rint(255 * photo).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path


def command(module, *arguments) -> None:
    module.FLAGS.unparse_flags()
    for name in module.FLAGS:
        module.FLAGS[name].unparse()
    cli.run(module.main, module.FLAGS, ["program", *map(str, arguments)])


def test_animate_and_interact(inputs, capsys):
    common = [inputs / "photo.png", f"--bundle={inputs / 'bundle'}", "--steps=3", "--guidance=0.5"]
    command(
        animate,
        *common,
        f"--out={inputs / 'v.mp4'}",
        "--frames=9",
        "--slow=2",
        f"--xt_slice={inputs / 'xt.png'}",
        f"--motion_map={inputs / 'map.png'}",
    )
    with av.open(str(inputs / "v.mp4")) as container:
        assert len(list(container.decode(video=0))) == 9
    assert Image.open(inputs / "xt.png").size == (61, 9)
    assert Image.open(inputs / "map.png").size == (61, 37)
    command(interact, *common, f"--out={inputs / 'page.html'}")
    assert "<title>photo</title>" in (inputs / "page.html").read_text()
    assert "9 frames, 61 x 37" in capsys.readouterr().out


def test_a_large_photo_is_shrunk_unless_told_otherwise(inputs, capsys, monkeypatch):
    def refuse(photo, *_):
        raise UserError(f"{photo.shape}")

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1600, 40)).save(inputs / "large.jpg", exif=exif)
    monkeypatch.setattr("gid_jax.inference.command.predict", refuse)
    for module, out in ((animate, "v.mp4"), (interact, "v.html")):
        for flags, shape, told in (
            ([], "(1280, 32, 3)", "large.jpg: 40 x 1600 shrunk to 32 x 1280; --longest_side=0 keeps its size"),
            (["--longest_side=800"], "(800, 20, 3)", None),
            (["--longest_side=0"], "(1600, 40, 3)", None),
        ):
            with pytest.raises(SystemExit):
                command(module, inputs / "large.jpg", f"--bundle={inputs / 'bundle'}", f"--out={inputs / out}", *flags)
            *before, last = capsys.readouterr().err.splitlines()
            assert shape in last and len(before) == (told is not None)
            assert told is None or before[0].endswith(told)


@pytest.mark.parametrize(
    ("arguments", "clue"),
    [
        (["photo.png", "--bundle=bundle"], "--out is missing"),
        (["photo.png", "--out=v.mp4", "--bundle="], "no bundle"),
        (["photo.png", "--out=v.mp4", "--bundle=other"], "other: no bundle"),
        (["photo.png", "--out=v.mp4", "--bundle=newer"], "bundle of version 2, this program reads 1"),
        (["notes.txt", "--out=v.mp4", "--bundle=bundle"], "notes.txt: not a picture"),
        (["photo.png", "--out=v.avi", "--bundle=bundle"], "v.avi"),
        (["photo.png", "--out=notes.txt/v.mp4", "--bundle=bundle"], "cannot be written"),
        (["photo.png", "--out=v.mp4", "--bundle=bundle", "--frames=0"], "--frames"),
        (["photo.png", "--out=v.mp4", "--bundle=bundle", "--seed=-1"], "--seed=-1"),
        (["photo.png", "--out=v.mp4", "--bundle=bundle", f"--seed={2**63}"], f"--seed={2**63}"),
        (["photo.png", "--out=v.mp4", "--bundle=bundle", "--guidance=nan"], "--guidance=nan"),
        (["photo.png", "--out=v.mp4", "--bundle=bundle", "--magnify=1e39"], "--magnify=1e39"),
        (["--out=v.mp4", "--bundle=bundle"], "one picture"),
    ],
)
def test_bad_input_ends_in_one_line(inputs, monkeypatch, capsys, arguments, clue):
    monkeypatch.chdir(inputs)
    (inputs / "notes.txt").write_text("no picture")
    (inputs / "newer").mkdir()
    (inputs / "newer" / FILE_NAME).write_text(json.dumps({"version": 2}))
    with pytest.raises(SystemExit) as error:
        command(animate, *arguments)
    lines = capsys.readouterr().err.splitlines()
    assert error.value.code == 2
    assert len(lines) == 1 and clue in lines[0]


@pytest.mark.parametrize(("module", "out"), [(animate, "v.mp4"), (interact, "v.html")])
def test_a_prediction_that_is_not_finite_reaches_no_file(inputs, bundle, capsys, module, out):
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), bundle.params["vae"])
    save_bundle(dataclasses.replace(bundle, params={**bundle.params, "vae": broken}), inputs / "broken")
    before = set(inputs.iterdir())
    flags = [f"--bundle={inputs / 'broken'}", f"--out={inputs / out}", "--steps=1"]
    if module is animate:
        flags += [f"--motion_map={inputs / 'map.png'}", f"--xt_slice={inputs / 'xt.png'}"]
    with pytest.raises(SystemExit) as error:
        command(module, inputs / "photo.png", *flags)
    assert error.value.code == 2 and set(inputs.iterdir()) == before
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: the predicted motion is not finite" in last and "guidance 0" in last


def test_export_names_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        command(
            export, f"--vae={tmp_path}", f"--denoiser={tmp_path}", f"--renderer={tmp_path}", f"--out={tmp_path / 'b'}"
        )
    assert error.value.code == 2 and "train that stage first" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        command(export, f"--vae={tmp_path}")
    assert error.value.code == 2 and "--denoiser is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_without_bundle_the_demo_moves_a_picture(tmp_path, capsys):
    y, x = np.mgrid[:80, :128] / 80
    meadow = np.stack([0.4 + 0.2 * (y < 0.5), 0.6 + 0.1 * np.sin(40 * x), 0.3 + 0.5 * (y < 0.5)], axis=-1)
    Image.fromarray((255 * meadow).astype(np.uint8)).save(tmp_path / "meadow.png")
    command(animate, tmp_path / "meadow.png", f"--out={tmp_path / 'meadow.mp4'}", "--frames=3", "--steps=2")
    assert "3 frames, 128 x 80" in capsys.readouterr().out


def test_the_demo_bundle_is_whole():
    bundle = load_bundle(DEMO)
    assert (bundle.width, bundle.height, bundle.num_frequencies) == (128, 80, 8)
