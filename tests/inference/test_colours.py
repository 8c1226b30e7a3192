"""Colours of every space come out as sRGB: against the spaces' formulas."""

import struct

import numpy as np
import profiles
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from gid_jax.inference.photo import read_photo

ADOBE_XY = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
SRGB_XY = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.fixture
def values() -> np.ndarray:
    """Every corner of the cube of colours and much between, smooth, [40, 64, 3] of 8 bits."""
    y, x = np.mgrid[:40, :64]
    return np.stack([255 * x / 63, 255 * y / 39, 255 - 127 * (x / 63 + y / 39)], axis=-1).astype(np.uint8)


def expected(values: np.ndarray, colorants: tuple, gamma: float) -> np.ndarray:
    return profiles.srgb_of((values / 255) ** gamma @ np.array(colorants))


def error(picture: np.ndarray, right: np.ndarray) -> float:
    assert picture.shape == right.shape
    return 255 * np.abs(picture - right).max()


SPACES = {
    "p3": (profiles.P3, 2.2),
    "adobe": (profiles.ADOBE, 563 / 256),
    "prophoto": (profiles.PROPHOTO, 1.8),
    "swapped": (profiles.SWAPPED, 2.2),
    "linear": (profiles.SRGB, 1.0),
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_profile_is_followed(tmp_path, values, space, suffix):
    path = tmp_path / f"a{suffix}"
    settings = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(values).save(path, icc_profile=profiles.matrix_profile(*SPACES[space]), **settings)
    assert error(read_photo(path), expected(values, *SPACES[space])) < 4  # 8 bits, and the profile's own 16


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_a_profile_is_followed_in_lossy_files(tmp_path, values, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(
        path, icc_profile=profiles.matrix_profile(*SPACES["p3"]), quality=95, subsampling="4:4:4"
    )
    assert 255 * np.abs(read_photo(path) - expected(values, *SPACES["p3"])).mean() < 2


def test_a_shrunk_picture_has_its_profile_followed(tmp_path, values):
    path, shrunk = tmp_path / "a.png", np.array(Image.fromarray(values).reduce(2))
    Image.fromarray(values).save(path, icc_profile=profiles.matrix_profile(*SPACES["swapped"]))
    assert error(read_photo(path, 32), expected(shrunk, *SPACES["swapped"])) < 12


def test_palettes_and_transparency_have_their_profile_followed(tmp_path, values):
    profile = profiles.matrix_profile(*SPACES["swapped"])
    palette = Image.fromarray(values).quantize(200)
    right = expected(np.asarray(palette.convert("RGB")), *SPACES["swapped"])
    palette.save(tmp_path / "p.png", icc_profile=profile)
    assert error(read_photo(tmp_path / "p.png"), right) < 4

    clear = Image.fromarray(values)
    clear.putalpha(102)
    clear.save(tmp_path / "a.png", icc_profile=profile)
    right = 0.4 * expected(values, *SPACES["swapped"]) + 0.6
    assert error(read_photo(tmp_path / "a.png"), right) < 2


def test_greys_of_8_and_16_bits_have_their_profile_followed(tmp_path, values):
    grey, profile = values[..., 0], profiles.grey_profile(1.0)
    right = np.repeat(profiles.encode(grey / 255)[..., None], 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "l.png", icc_profile=profile)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "i.png", icc_profile=profile)
    Image.fromarray(np.stack([grey, np.full_like(grey, 255)], -1)).save(tmp_path / "la.png", icc_profile=profile)
    for name in ("l.png", "i.png", "la.png"):
        assert error(read_photo(tmp_path / name), right) < 2


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_has_its_profile_followed(tmp_path, suffix):
    inks = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], [0, 1], indexing="ij"), -1)
    lab = np.array([100.0, 0, 0]) - inks @ np.array([[25.0, 20, 25], [30, -35, 5], [10, 5, -50], [60, 0, 0]])
    lab[..., 0] = np.maximum(lab[..., 0], 5)
    chosen = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    patches = np.repeat(np.repeat(np.array([chosen], np.uint8) * 255, 32, 0), 32, 1)
    Image.fromarray(patches, mode="CMYK").save(
        tmp_path / f"a{suffix}", icc_profile=profiles.cmyk_profile(lab), quality=100
    )
    picture = read_photo(tmp_path / f"a{suffix}")
    right = profiles.srgb_of_lab(np.array([lab[ink] for ink in chosen]))
    assert error(picture[16, 16::32], right) < 4


def test_cmyk_without_profile_is_naive(tmp_path, values):
    Image.fromarray(values).convert("CMYK").save(tmp_path / "a.tif")
    assert error(read_photo(tmp_path / "a.tif"), values / 255) < 1


def test_lab_is_converted(tmp_path, values):
    for name, settings in (("a.tif", {}), ("b.tif", {"icc_profile": _lab_profile()})):
        Image.fromarray(values).convert("LAB").save(tmp_path / name, **settings)
        assert 255 * np.abs(read_photo(tmp_path / name) - values / 255).mean() < 2


def _lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def test_a_damaged_profile_or_one_of_another_space_is_ignored(tmp_path, values):
    whole = profiles.matrix_profile(*SPACES["swapped"])
    unfit = [b"no profile", whole[:200], whole[:128], bytes(500), profiles.grey_profile(1.0), _lab_profile()]
    for number, profile in enumerate(unfit):
        Image.fromarray(values).save(tmp_path / f"{number}.png", icc_profile=profile)
        assert error(read_photo(tmp_path / f"{number}.png"), values / 255) < 1e-3
    Image.fromarray(values[..., 0]).save(tmp_path / "grey.png", icc_profile=whole)
    assert error(read_photo(tmp_path / "grey.png"), np.repeat(values[..., :1], 3, -1) / 255) < 1e-3


def test_a_png_whose_profile_is_damaged_in_the_file_is_read(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=profiles.matrix_profile(*SPACES["swapped"]))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"iCCP") + 40] ^= 0xFF  # so its checksum is wrong as well
    (tmp_path / "a.png").write_bytes(data)
    assert error(read_photo(tmp_path / "a.png"), values / 255) < 1e-3


def test_a_profile_of_two_megabytes_is_followed(tmp_path, values):
    profile = profiles.matrix_profile(*SPACES["swapped"])
    profile = struct.pack(">I", 2 * 10**6) + profile[4:] + bytes(2 * 10**6 - len(profile))
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=profile)
    assert error(read_photo(tmp_path / "a.png"), expected(values, *SPACES["swapped"])) < 4


def save_png(path, values, gamma=None, chromaticities=None, srgb=False, **settings) -> None:
    chunks = PngImagePlugin.PngInfo()
    if gamma is not None:
        chunks.add(b"gAMA", struct.pack(">I", gamma))
    if chromaticities:
        chunks.add(b"cHRM", struct.pack(">8I", *chromaticities))
    if srgb:
        chunks.add(b"sRGB", b"\0")
    Image.fromarray(values).save(path, pnginfo=chunks, **settings)


def test_gamma_of_a_png(tmp_path, values):
    path = tmp_path / "a.png"
    save_png(path, values, gamma=100_000)
    assert error(read_photo(path), (values / 255) ** (1 / 2.2)) < 0.1
    grey = (np.arange(1024).reshape(16, 64) * 64).astype(np.uint16)
    save_png(path, grey, gamma=100_000)
    right = np.repeat((grey[..., None] / 65535) ** (1 / 2.2), 3, -1)
    assert error(read_photo(path), right) < 0.1, "greys keep their 16 bits"


def test_chromaticities_of_a_png(tmp_path, values):
    path = tmp_path / "a.png"
    save_png(path, values, gamma=45_455, chromaticities=ADOBE_XY)
    right = profiles.srgb_of(profiles.decode(values / 255) @ np.array(profiles.ADOBE))
    assert error(read_photo(path), right) < 2
    save_png(path, values, chromaticities=ADOBE_XY)
    assert error(read_photo(path), right) < 2


def test_what_goes_before_gamma(tmp_path, values):
    path = tmp_path / "a.png"
    for settings in (
        {"gamma": 45_455, "chromaticities": SRGB_XY},  # as everybody writes them
        {"gamma": 100_000, "chromaticities": ADOBE_XY, "srgb": True},
        {"gamma": 0, "chromaticities": (0,) * 8},
        {"gamma": 1, "chromaticities": (31270, 32900) + 3 * (30000, 30000)},
    ):
        save_png(path, values, **settings)
        np.testing.assert_array_equal(read_photo(path), values.astype(np.float32) / 255)
    save_png(path, values, gamma=100_000, icc_profile=profiles.matrix_profile(*SPACES["p3"]))
    assert error(read_photo(path), expected(values, *SPACES["p3"])) < 4


@pytest.mark.parametrize("mark", ["R03", "space 2"])
def test_adobe_rgb_by_exif(tmp_path, values, mark):
    exif = Image.Exif()
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ColorSpace] = 2 if mark == "space 2" else 0xFFFF
    if mark == "R03":
        inner[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: "R03"}
    Image.fromarray(values).save(tmp_path / "a.webp", exif=exif, lossless=True)
    assert error(read_photo(tmp_path / "a.webp"), expected(values, *SPACES["adobe"])) < 2


def test_uncalibrated_exif_alone_is_srgb(tmp_path, values):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 0xFFFF
    Image.fromarray(values).save(tmp_path / "a.webp", exif=exif, lossless=True)
    assert error(read_photo(tmp_path / "a.webp"), values / 255) < 1e-3
