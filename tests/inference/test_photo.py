"""Pictures of every sort, whole, damaged and hostile."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from gid_jax.errors import UserError
from gid_jax.inference.photo import read_photo, read_photo_and_size, shrunk_size

ROOT = Path(__file__).resolve().parents[2]
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""From the stored picture to the upright one (EXIF 2.3, tag 274)."""


@pytest.fixture
def scene() -> np.ndarray:
    """Smooth, all corners different, [80, 128, 3] of 8 bits."""
    y, x = np.mgrid[:80, :128]
    return np.stack([2 * x, 3 * y, 255 - x - y], axis=-1).astype(np.uint8)


def difference(picture: np.ndarray, scene: np.ndarray) -> float:
    assert picture.shape == scene.shape
    return np.abs(255 * picture - scene).mean()


def with_orientation(value, **others) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    for name, other in others.items():
        exif[ExifTags.Base[name]] = other
    return exif.tobytes()


def entry(kind: int, count: int, value: bytes, more: bytes = b"") -> bytes:
    """EXIF whose orientation has this type, count and value; `more` is another entry."""
    number = 1 + bool(more)
    return b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, number, 274, kind, count) + value + more + bytes(64)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif"])
def test_every_orientation_at_full_size_and_shrunk(tmp_path, scene, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        Image.fromarray(scene).save(path, tiffinfo={274: orientation})
    else:
        Image.fromarray(scene).save(path, exif=with_orientation(orientation), quality=95)
    right = UPRIGHT[orientation](scene)
    assert difference(read_photo(path), right) < 3
    picture, size = read_photo_and_size(path, 32)
    assert size == right.shape[:2]
    small = right.reshape(right.shape[0] // 4, 4, right.shape[1] // 4, 4, 3).mean((1, 3))
    assert difference(picture, small) < 4


@pytest.mark.parametrize(
    "exif",
    [
        entry(2, 2, b"6\0\0\0"),  # text
        entry(5, 1, struct.pack("<I", 26)),  # rational
        entry(10, 1, struct.pack("<I", 26)),  # signed rational
        entry(11, 1, struct.pack("<f", 6)),
        entry(3, 1, struct.pack("<HH", 9, 0)),
        entry(8, 1, struct.pack("<hh", -6, 0)),
        entry(3, 2**31, struct.pack("<I", 6)),
        entry(3, 1, b"")[:-64],
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM",
        b"Exif\0\0",
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_exif_without_a_sound_orientation_is_ignored(tmp_path, capfd, scene, exif, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(scene).save(path, exif=exif, quality=95)
    assert difference(read_photo(path), scene) < 3
    assert capfd.readouterr() == ("", "")


def test_a_sound_orientation_among_damaged_entries_is_followed(tmp_path, scene):
    broken = struct.pack("<HHI", 33434, 10, 1) + struct.pack("<I", 38)
    Image.fromarray(scene).save(tmp_path / "a.jpg", exif=entry(3, 1, struct.pack("<HH", 6, 0), broken), quality=95)
    assert difference(read_photo(tmp_path / "a.jpg"), np.rot90(scene, -1)) < 3


def test_what_is_left_of_damaged_files_is_refused_in_one_line_without_noise(tmp_path, capfd, scene):
    image = Image.fromarray(scene)
    for name, settings in {
        "a.jpg": {},
        "a.png": {},
        "a.webp": {},
        "a.avif": {},
        "a.jp2": {},
        "a.gif": {},
        "lzw.tif": {"compression": "tiff_lzw"},
        "jpeg.tif": {"compression": "jpeg"},
    }.items():
        image.save(tmp_path / name, **settings)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 3] if "tif" not in name else whole[:40] + whole[400:])
        with pytest.raises(UserError, match=name) as refusal:
            read_photo(tmp_path / name)
        assert "\n" not in str(refusal.value)
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.jpg: not a picture"):
        read_photo(tmp_path / "empty.jpg")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "a\0b.jpg", "folder", "folder/a.jpg/b.jpg"])
def test_odd_names_are_refused_in_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError):
        read_photo(tmp_path / name)


def test_the_settings_of_pillow_are_as_before(tmp_path, scene):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.fromarray(scene).save(tmp_path / "a.png")
    read_photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError):
        read_photo(tmp_path / "b.png")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_a_transparent_colour_lies_over_white(tmp_path, scene):
    grey = scene[..., 0].astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "i16.png", transparency=int(grey[40, 40]))
    Image.fromarray(scene[..., 0]).save(tmp_path / "l.png", transparency=int(scene[40, 40, 0]))
    Image.fromarray(scene).save(tmp_path / "rgb.png", transparency=tuple(map(int, scene[40, 40])))
    right = np.repeat(np.where(grey == grey[40, 40], 255, scene[..., 0])[..., None], 3, -1)
    assert difference(read_photo(tmp_path / "i16.png"), right) < 1e-3
    assert difference(read_photo(tmp_path / "l.png"), right) < 1e-3
    rgb = np.where((scene == scene[40, 40]).all(-1, keepdims=True), 255, scene)
    assert difference(read_photo(tmp_path / "rgb.png"), rgb) < 1e-3


def png(depth: int, kind: int, rows: np.ndarray, chunks: bytes = b"") -> bytes:
    height, width = rows.shape[:2]
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_16_bits_of_colour_are_read_with_what_is_transparent(tmp_path, scene):
    deep = scene.astype(">u2") * 257
    (tmp_path / "rgb.png").write_bytes(png(16, 2, deep))
    assert difference(read_photo(tmp_path / "rgb.png"), scene) < 1e-3
    clear = chunk(b"tRNS", deep[40, 40].astype(">u2").tobytes())
    (tmp_path / "t.png").write_bytes(png(16, 2, deep, clear))
    right = np.where((scene == scene[40, 40]).all(-1, keepdims=True), 255, scene)
    assert difference(read_photo(tmp_path / "t.png"), right) < 1e-3
    alpha = np.full((80, 128, 1), 65535, ">u2")
    alpha[:40] = 0
    for kind, values in ((6, deep), (4, deep[..., :1])):
        (tmp_path / "a.png").write_bytes(png(16, kind, np.concatenate([values, alpha], -1).astype(">u2")))
        right = np.broadcast_to(np.where(alpha > 0, values // 257, 255), (80, 128, 3))
        assert difference(read_photo(tmp_path / "a.png"), right) < 1e-3


def test_floats_that_are_no_numbers_are_black_or_white(tmp_path, scene):
    grey = scene[..., 0].astype(np.float32) / 255
    for value, right in ((np.nan, 0), (np.inf, 255), (-np.inf, 0)):
        odd = grey.copy()
        odd[3, 5] = value
        Image.fromarray(odd).save(tmp_path / "f.tif")
        expected = np.repeat(scene[..., :1], 3, -1)
        expected[3, 5] = right
        assert difference(read_photo(tmp_path / "f.tif"), expected) < 1e-3
        assert np.isfinite(read_photo(tmp_path / "f.tif", 32)).all()
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(tmp_path / "f.tif")
    assert not read_photo(tmp_path / "f.tif").any()


@pytest.mark.parametrize("white", [255, 65535, 10**6])
def test_greys_of_32_bits_fill_what_they_need(tmp_path, scene, white):
    grey = scene[..., 0].astype(np.int64) * white // 255
    grey[0, 0] = white
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "i.tif")
    np.testing.assert_allclose(read_photo(tmp_path / "i.tif")[..., 1], grey / white, atol=1e-6)
    assert read_photo(tmp_path / "i.tif", 32).max() <= 1


def grey_tiff(values: np.ndarray, sample_format: int, photometric: int) -> bytes:
    """Little-endian, one strip, written by hand: Pillow writes fewer sorts than it reads."""
    (height, width), bits, data = values.shape, 8 * values.itemsize, values.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: height, 279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("kind", "sample_format", "photometric", "white"),
    [
        ("<u2", 1, 1, 65535),
        ("<u2", 1, 0, 65535),
        ("<i2", 2, 1, 32767),
        ("<u4", 1, 1, 255),
        ("<u4", 1, 1, 2**32 - 1),
        ("<i4", 2, 1, 2**31 - 1),
        ("<f4", 3, 1, 1),
        ("<f4", 3, 0, 1),
    ],
)
def test_greys_of_tiff(tmp_path, kind, sample_format, photometric, white):
    grey = np.linspace(0, 1, 40 * 60).reshape(40, 60)
    stored = (grey * white).astype(kind)
    (tmp_path / "a.tif").write_bytes(grey_tiff(stored, sample_format, photometric))
    right = grey if photometric else 1 - grey
    np.testing.assert_allclose(read_photo(tmp_path / "a.tif")[..., 2], right, atol=1 / 255)
    assert read_photo(tmp_path / "a.tif", 20)[-1, -1, 0] == pytest.approx(right[-1, -1], abs=0.05)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "CMYK"])
def test_a_shrunk_picture_of_any_mode_is_its_mean(tmp_path, scene, mode):
    image = Image.fromarray(np.repeat(np.repeat(scene[::8, ::8], 8, 0), 8, 1)).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "YCbCr" else "a.tif")
    image.save(path, **({"quality": 95} if mode == "YCbCr" else {}))
    whole = read_photo(path)
    assert difference(read_photo(path, 32), 255 * whole.reshape(20, 4, 32, 4, 3).mean((1, 3))) < (
        6 if mode in "1P" else 2
    )  # those are dithered


def test_transparent_pixels_do_not_bleed_when_shrunk(tmp_path):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, 30:, :] = 255, 0, 0, 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    picture = read_photo(tmp_path / "a.png", 16)
    np.testing.assert_allclose(picture[..., 0], 1.0, atol=0.01)
    assert (np.diff(picture[8, :, 1]) <= 0.01).all()


def test_a_big_jpeg_shrinks_as_if_decoded_whole(tmp_path):
    y, x = np.mgrid[:1203, :1807] / 300
    big = np.rint(127.5 + 127.5 * np.stack([np.sin(3 * x + y), np.cos(5 * y), np.sin(x * y)], -1)).astype(np.uint8)
    Image.fromarray(big).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(big).save(tmp_path / "a.png")
    jpeg, png_ = read_photo(tmp_path / "a.jpg", 200), read_photo(tmp_path / "a.png", 200)
    assert jpeg.shape == (133, 200, 3)
    assert 255 * np.abs(jpeg - png_).mean() < 2
    box = np.asarray(Image.fromarray(big).resize((200, 133), Image.Resampling.BILINEAR)) / 255
    assert 255 * np.abs(png_ - box).mean() < 1


def test_the_shorter_side_stays_at_least_16():
    assert shrunk_size(4032, 3024, 1280) == (1280, 960)
    assert shrunk_size(3024, 4032, 1280) == (960, 1280)
    assert shrunk_size(16400, 32, 1280) == (8200, 16)
    assert shrunk_size(16, 5000, 1280) == (16, 5000)
    assert shrunk_size(1280, 700, 1280) == shrunk_size(1280, 700, 0) == (1280, 700)
    assert shrunk_size(100, 90, 3) == (18, 16)


def test_long_strips_are_read(tmp_path):
    strip = np.tile(np.arange(256, dtype=np.uint8), (32, 65))[:, :16400]
    Image.fromarray(strip).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").shape == (32, 16400, 3)
    assert read_photo(tmp_path / "a.png", 1280).shape == (16, 8200, 3)


@pytest.mark.parametrize("name", ["a.mpo", "a.gif", "a.webp", "a.png", "a.tif"])
def test_of_several_pictures_the_first_is_read(tmp_path, scene, name):
    settings = {"quality": 95} if name == "a.mpo" else {}
    others = [Image.fromarray(255 - scene)]
    Image.fromarray(scene).save(tmp_path / name, save_all=True, append_images=others, **settings)
    assert difference(read_photo(tmp_path / name), scene) < 4


def test_of_an_icon_the_largest_is_read(tmp_path, scene):
    Image.fromarray(scene[:64, :64]).save(tmp_path / "a.ico", sizes=[(64, 64), (16, 16)])
    assert difference(read_photo(tmp_path / "a.ico"), scene[:64, :64]) < 1


MEASURE = """
import sys
from gid_jax.errors import UserError
from gid_jax.inference.photo import read_photo
for path in sys.argv[1:]:
    try:
        print(read_photo(path, 1280).shape)
    except UserError as error:
        print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_hostile_sizes_are_refused_before_memory_is_taken(tmp_path):
    claims = png(8, 2, np.zeros((1, 1, 3), np.uint8))
    body = claims[33:]
    for name, width, height in (("a.png", 30_000, 30_000), ("b.png", 15_000, 15_000), ("c.png", 2**31 - 1, 2**31 - 1)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        (tmp_path / name).write_bytes(claims[:8] + header + body)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True, subsampling=0)
    jpeg = bytearray(buffer.getvalue())
    at = jpeg.index(b"\xff\xc2")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 16_000, 16_000)
    (tmp_path / "d.jpg").write_bytes(jpeg)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "BMP")
    bitmap = bytearray(buffer.getvalue())
    bitmap[18:26] = struct.pack("<ii", 25_000, 25_000)
    (tmp_path / "e.bmp").write_bytes(bitmap)
    names = ["a.png", "b.png", "c.png", "d.jpg", "e.bmp"]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in names)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, peak = run.stdout.splitlines()
    assert not run.stderr and len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert name in line and ("memory" in line or "pixels" in line) and "smaller" in line
    assert int(peak) < 200_000


def test_a_big_picture_takes_little_memory(tmp_path):
    for name in ("a.jpg", "a.png"):
        Image.linear_gradient("L").resize((6000, 4000)).convert("RGB").save(tmp_path / name, compress_level=1)
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path / name)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        shape, peak = run.stdout.splitlines()
        assert shape == "(853, 1280, 3)"
        assert int(peak) < {"a.jpg": 160_000, "a.png": 260_000}[name]


def test_full_size_past_the_memory_names_the_flag(tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.new("L", (8000, 8000)).save(tmp_path / name)
        with pytest.raises(UserError, match="--longest_side"):
            read_photo(tmp_path / name)
        assert read_photo(tmp_path / name, 100).shape == (100, 100, 3)


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic", b"msf1\0\0\0\0hevc"])
def test_heic_without_its_package_names_it(tmp_path, monkeypatch, brands):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(100))
    with pytest.raises(UserError, match=r"a\.heic: .*pip install pillow-heif"):
        read_photo(tmp_path / "a.heic")


def test_a_video_is_not_taken_for_heic(tmp_path):
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I", 24) + b"ftypisom\0\0\2\0isomiso2" + bytes(100))
    with pytest.raises(UserError, match="not a picture"):
        read_photo(tmp_path / "a.mp4")


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_heic_is_turned_once(tmp_path, scene, orientation):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: setup.sh heic")
    heif.register_heif_opener()
    Image.fromarray(scene).save(tmp_path / "a.heic", exif=with_orientation(orientation), quality=95)
    right = UPRIGHT[orientation](scene)
    assert difference(read_photo(tmp_path / "a.heic"), right) < 3
    assert read_photo(tmp_path / "a.heic", 32).shape == (right.shape[0] // 4, right.shape[1] // 4, 3)


DAMAGED = {
    "exif_orient_ascii.jpg": (160, 256, 3),
    "exif_orient_signed.jpg": (256, 160, 3),
    "float_nan.tif": (160, 256, 3),
    "fuzz_AttributeError_3.jpg": (256, 160, 3),
    "fuzz_RuntimeError_0.avif": None,
    "fuzz_TypeError_6.jpg": (256, 160, 3),
    "fuzz_error_4.jpg": (256, 160, 3),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_from_bug_reports(shared, capfd, name):
    if DAMAGED[name]:
        picture = read_photo(shared / "faults" / name)
        assert picture.shape == DAMAGED[name] and np.isfinite(picture).all()
    else:
        with pytest.raises(UserError, match=name):
            read_photo(shared / "faults" / name)
    assert capfd.readouterr() == ("", "")


def test_photos_of_every_sort_show_the_same_scene(shared, tmp_path):
    subprocess.run([sys.executable, str(shared / "faults" / "make_photos.py"), str(tmp_path)], check=True)
    read = {path.name: read_photo(path) for path in tmp_path.iterdir() if path.name != "ycbcr.tif"}  # cut by Pillow
    plain = read.pop("plain.png")
    grey = np.repeat(plain.mean(-1, keepdims=True), 3, axis=-1)
    right = {name: plain for name in ("p3", "adobergb", "cmyk", "rgb16", "lab", "photo", "gama1", "anim", "plain")}
    right |= dict.fromkeys(("grey16", "float01", "int32_0_255", "float_nan"), grey)
    right |= {f"orient{number}": UPRIGHT[number](plain) for number in range(2, 9)}
    seen = 0
    for name, picture in read.items():
        stem, suffix = name.split(".")
        if stem in right and name != "orient6.tif":  # Pillow wrote that one without its orientation
            assert 255 * np.abs(picture - right[stem]).mean() < (2 if suffix in ("jpg", "avif", "gif", "webp") else 1)
            seen += 1
        assert np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1
    assert seen == 30
    over_white = plain.copy()
    over_white[40:120, 100:160] = 1
    for name in ("rgba.png", "rgba.webp", "rgba16.png"):
        assert 255 * np.abs(read[name] - over_white).max() < 1
    assert (read["grey16_trns.png"][100, 200] == 1).all()


def test_mutated_pictures_raise_nothing_but_user_errors(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    import fuzz_photos

    figures = fuzz_photos.measure(seed=1, count=300)
    assert figures["exceptions other than UserError"] == 0, figures
    assert figures["read"] > 60 and figures["refused"] > 60
    assert figures["peak MB"] < 1000
