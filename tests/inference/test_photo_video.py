"""Pictures in, videos out."""

import av
import numpy as np
import pytest
from PIL import Image

from gid_jax.errors import UserError
from gid_jax.inference.photo import read_photo
from gid_jax.inference.video import check_video, write_video


@pytest.fixture
def colours() -> np.ndarray:
    """A smooth picture whose four quarters differ, 20 x 30."""
    y, x = np.mgrid[:20, :30]
    return np.stack([x * 8, y * 12, 255 - x * 4 - y * 6], axis=-1).astype(np.uint8)


def test_exif_orientation_is_undone(tmp_path, colours):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: to be turned clockwise
    Image.fromarray(colours).save(tmp_path / "side.png", exif=exif)
    upright = np.rot90(colours, -1)
    np.testing.assert_allclose(read_photo(tmp_path / "side.png"), upright / 255.0, atol=1e-6)


def test_transparency_lies_over_white(tmp_path, colours):
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[:10] = 0
    Image.fromarray(np.concatenate([colours, alpha], axis=-1)).save(tmp_path / "a.png")
    picture = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(picture[:10], 1.0)
    np.testing.assert_allclose(picture[10:], colours[10:] / 255.0, atol=1e-6)


def test_sixteen_bits_of_grey_are_kept(tmp_path):
    grey = (np.arange(20 * 30).reshape(20, 30) * 100).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "g.png")
    picture = read_photo(tmp_path / "g.png")
    assert picture.shape == (20, 30, 3) and picture.dtype == np.float32
    np.testing.assert_allclose(picture, np.repeat(grey[..., None] / 65535.0, 3, axis=-1), atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA"])
def test_every_mode_becomes_rgb(tmp_path, colours, mode):
    name = tmp_path / ("m.tiff" if mode == "CMYK" else "m.png")
    Image.fromarray(colours).convert(mode).save(name)
    picture = read_photo(name)
    assert picture.shape == (20, 30, 3) and picture.min() >= 0 and picture.max() <= 1


def test_bad_pictures_are_one_line_with_the_file(tmp_path, colours):
    (tmp_path / "notes.jpg").write_text("not a picture")
    Image.fromarray(colours).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(colours[:4]).save(tmp_path / "thin.png")
    for name in ("notes.jpg", "half.png", "thin.png", "absent.png"):
        with pytest.raises(UserError, match=name):
            read_photo(tmp_path / name)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_video_has_the_frames_rate_and_colours_given(tmp_path, suffix):
    y, x = np.mgrid[:47, :63]
    frames = [np.stack([x * 2 + 4 * t, y * 3, 255 - x * 2], axis=-1).astype(np.uint8) for t in range(12)]
    path = tmp_path / "new" / f"v{suffix}"
    write_video(path, iter(frames), 25)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(25, rel=0.01)
        decoded = [frame.to_rgb().to_ndarray() for frame in container.decode(video=0)]
    assert len(decoded) == 12
    expected = (47, 63) if suffix == ".gif" else (48, 64)
    assert decoded[0].shape[:2] == expected
    assert np.abs(decoded[7][:47, :63].astype(int) - frames[7]).mean() < (14 if suffix == ".gif" else 4)
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"


def test_even_sizes_repeat_the_border(tmp_path):
    frame = np.zeros((33, 33, 3), np.uint8)
    frame[:, -1] = frame[-1] = 200
    write_video(tmp_path / "v.mp4", [frame], 30)
    with av.open(str(tmp_path / "v.mp4")) as container:
        decoded = next(container.decode(video=0)).to_rgb().to_ndarray()
    assert decoded[:, -1].mean() > 150 and decoded[-1].mean() > 150 and decoded[:30, :30].mean() < 20


def test_unwritable_outputs_are_found_beforehand(tmp_path):
    (tmp_path / "file").write_text("")
    for path, clue in [
        (tmp_path / "v.avi", ".mp4"),
        (tmp_path / "file" / "v.mp4", "--out"),
        ("/proc/nowhere/v.mp4", "--out"),
    ]:
        with pytest.raises(UserError, match=clue):
            check_video(path)
    with pytest.raises(UserError, match="at least one frame"):
        write_video(tmp_path / "none.mp4", [], 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_sequence_of_pngs(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 7, 9, 3), np.uint8)
    write_video(tmp_path / "frames" / "f_%03d.png", iter(frames), 30)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["f_000.png", "f_001.png", "f_002.png"]
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frames" / f"f_{number:03d}.png")), frame)
    with pytest.raises(UserError, match=r"frames/%04d\.png"):
        write_video(tmp_path / "frame.png", iter(frames), 30)
