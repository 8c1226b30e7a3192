"""Colours of a picture, whatever space its file says they are in, brought to sRGB."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image, ImageCms

SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA = 563 / 256
DISPLAY_GAMMA = 2.2  # a PNG's gAMA of 1 / 2.2 means: as displays show it
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""Pillow's modes, and what the header of a fitting ICC profile says."""


@dataclasses.dataclass(frozen=True)
class Colours:
    """What a file says of its colours; one that says nothing is sRGB.

    profile: an ICC profile.
    linear: from values in [0, 1] to light in [0, 1].
    to_srgb: from red, green and blue light to that of sRGB's primaries.
    """

    profile: bytes | None = None
    linear: Callable[[np.ndarray], np.ndarray] | None = None
    to_srgb: Float[np.ndarray, "3 3"] | None = None


def read_colours(image: Image.Image) -> Colours:
    """What the opened `image` says: its ICC profile, else a PNG's gAMA and cHRM unless it has sRGB, else the marks that
    cameras put into EXIF for Adobe RGB (interoperability index R03, or colour space 2).
    """
    if profile := image.info.get("icc_profile"):
        return Colours(profile)
    if image.format == "PNG" and any(name in image.info for name in ("srgb", "gamma", "chromaticity")):
        return Colours() if "srgb" in image.info else _of_png(image.info)
    if _is_adobe(image):
        return Colours(linear=lambda x: x**ADOBE_GAMMA, to_srgb=_matrix(ADOBE_CHROMATICITIES))
    return Colours()


def to_srgb(image: Image.Image, colours: Colours) -> Float[np.ndarray, "h w 3"]:
    """`image` (L, F in [0, 1], RGB, CMYK or LAB) in [0, 1]; colours that sRGB lacks are clipped.

    ICC profiles by relative colorimetric intent. One that is damaged, or of another space than the picture, is ignored.
    """
    if colours.profile:
        image = _through_profile(image, colours.profile)
    if image.mode == "F":
        values = np.repeat(np.asarray(image)[..., None], 3, axis=-1)
    else:
        values = np.asarray(image.convert("RGB"), np.float32) / 255
    if colours.linear is None and colours.to_srgb is None:
        return values
    light = (colours.linear or _decode)(values)
    return _encode(light if colours.to_srgb is None else light @ colours.to_srgb.T.astype(np.float32))


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    mode = "L" if image.mode == "F" else image.mode
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != SPACES[mode]:
            return image
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image
    if image.mode == "F":
        image = Image.fromarray(np.rint(255 * np.asarray(image)).astype(np.uint8))
    return transform.apply(image)


def _of_png(info: dict) -> Colours:
    gamma, chromaticities = info.get("gamma", 1 / DISPLAY_GAMMA), info.get("chromaticity", SRGB_CHROMATICITIES)
    exponent = 1 / (DISPLAY_GAMMA * gamma) if gamma > 0 else 1.0
    as_displayed = 0.99 < exponent < 1.01 or not 0.02 < exponent < 50
    return Colours(
        linear=None if as_displayed else lambda x: _decode(x**exponent),
        to_srgb=None if np.allclose(chromaticities, SRGB_CHROMATICITIES, atol=2e-3) else _matrix(chromaticities),
    )


def _is_adobe(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        interoperability = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except Exception:  # on damaged EXIF Pillow raises whatever comes
        return False
    return space == 2 or interoperability == "R03"


def _matrix(chromaticities: tuple[float, ...]) -> np.ndarray | None:
    """[3, 3] from light of the primaries (x, y of white, red, green, blue) to that of sRGB's, white to white: by way of
    XYZ and Bradford's adaptation. None for chromaticities of no space of colours.
    """
    try:
        (source, white), (target, sRGB_white) = _to_xyz(chromaticities), _to_xyz(SRGB_CHROMATICITIES)
        adapted = BRADFORD @ sRGB_white / (BRADFORD @ white)
        matrix = np.linalg.solve(target, np.linalg.solve(BRADFORD, adapted[:, None] * BRADFORD) @ source)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    return matrix if np.abs(matrix).max() < 100 else None


def _to_xyz(chromaticities: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The [3, 3] whose columns are the XYZ of red, green and blue, which add up to white's, [3]."""
    pairs = zip(chromaticities[::2], chromaticities[1::2], strict=True)
    white, *columns = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in pairs)
    primaries = np.stack(columns, axis=1)
    return primaries * np.linalg.solve(primaries, white), white


def _decode(values: np.ndarray) -> np.ndarray:
    """sRGB's values to light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encode(light: np.ndarray) -> np.ndarray:
    """Light to sRGB's values, clipped to [0, 1] (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
