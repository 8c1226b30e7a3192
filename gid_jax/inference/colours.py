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
SPACES = {"L": "GRAY", "F": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
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
    if colours.profile and (transform := _transform(colours.profile, image.mode)):
        if image.mode in ("L", "F"):
            return _through_curve(image, transform)
        image = transform.apply(image)
    if image.mode == "F":
        values = np.repeat(np.asarray(image)[..., None], 3, axis=-1)
    else:
        values = np.asarray(image.convert("RGB"), np.float32) / 255
    if colours.linear is None and colours.to_srgb is None:
        return values
    light = (colours.linear or _decode)(values)
    return _encode(light if colours.to_srgb is None else light @ colours.to_srgb.T.astype(np.float32))


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From colours of `profile` to sRGB; from greys of 16 bits, whatever they have. None for a profile to ignore."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        grey = SPACES[mode] == "GRAY"
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "I;16" if grey else mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.NOOPTIMIZE if grey else ImageCms.Flags.NONE,  # optimised, dark greys are off by 10 of 255
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _through_curve(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> np.ndarray:
    every = Image.fromarray(np.arange(2**16, dtype=np.uint16).reshape(256, 256))
    curve = np.asarray(transform.apply(every), np.float32).reshape(-1, 3) / 255
    grey = np.asarray(image)
    return curve[grey.astype(np.uint16) * 257 if image.mode == "L" else np.rint(grey * 65535).astype(np.uint16)]


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
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        marks = exif.get_ifd(ExifTags.IFD.Interop) if ExifTags.IFD.Interop in inner else {}
    except Exception:  # on damaged EXIF Pillow raises whatever comes
        return False
    return inner.get(ExifTags.Base.ColorSpace) == 2 or marks.get(ExifTags.Interop.InteropIndex) == "R03"


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
