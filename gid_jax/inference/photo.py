"""Pictures from people: any format, size, orientation and colour space, as float32 sRGB."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from gid_jax.errors import UserError
from gid_jax.inference.colours import Colours, read_colours, to_srgb

SMALLEST_SIDE = 16
MOST_BYTES = 850 * 10**6  # that reading may take, so that the process stays under 1 GB
MOST_PIXELS = 2**28  # 16,384 x 16,384
BYTES_PER_PIXEL = {"PNG": 4, "BMP": 4, "PPM": 4, "TIFF": 12, "JPEG2000": 25}
OTHER_BYTES_PER_PIXEL = 16.5
"""What Pillow 12 takes while it decodes, measured: WebP, AVIF and HEIF have the whole picture up to four times."""
RESULT_BYTES_PER_PIXEL = 16  # float32 RGB, and the decoded picture that it comes of
BAND_PIXELS = 2**20
REDUCING_GAP = 2  # shrunk by whole numbers to no less than twice the size, then by an antialiased filter
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations."""

Levels = tuple[float, float]

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its complaints go to the terminal
_one_at_a_time = threading.Lock()  # Pillow's limits are the process's, and so is the memory


def read_photo(path: str | Path, longest_side: int = 0) -> Float[np.ndarray, "h w 3"]:
    """The picture at `path` as sRGB in [0, 1], turned upright by its EXIF orientation.

    Colours are converted from what the file says of them (`colours.read_colours`), transparency is laid over white,
    grey becomes RGB, 16-bit greys keep their precision, a value that is no number is black. Of a moving picture the
    first frame is read. The longer side is shrunk to `longest_side` if it is larger and that is not 0; the aspect is
    kept and the shorter side stays at least 16 pixels. Damaged EXIF and profiles are ignored.

    Raises UserError for a missing file, one that is no whole picture, a side below 16 pixels, or more pixels than can
    be read in 1 GB of memory.
    """
    return read_photo_and_size(path, longest_side)[0]


def read_photo_and_size(path: str | Path, longest_side: int = 0) -> tuple[Float[np.ndarray, "h w 3"], tuple[int, int]]:
    """As `read_photo`, and the (height, width) of the upright picture before it was shrunk."""
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the path of a picture (JPEG, PNG, WebP, ...)")
        _prepare(path)
        with _guarded(), Image.open(path) as image:
            return _read(image, path, longest_side)
    except UserError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError) as error:
        raise UserError(f"{path}: more pixels than can be read; make it smaller first") from error
    except OSError as error:
        if error.errno is None:
            raise _unreadable(path, error) from error
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error
    except Exception as error:  # on damaged files Pillow's plugins raise whatever comes
        raise _unreadable(path, error) from error


def resize(image: Float[np.ndarray, "h w 3"], height: int, width: int) -> Float[np.ndarray, "H W 3"]:
    """Bilinear with antialiasing."""
    channels = [Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BILINEAR) for c in range(3)]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)


def shrunk_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """(width, height) with the longer side at most `longest_side`, but the shorter at least 16; never enlarged."""
    scale = max(longest_side / max(width, height), SMALLEST_SIDE / min(width, height))
    return (width, height) if not longest_side or scale >= 1 else (round(width * scale), round(height * scale))


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: not a picture that can be read ({str(error) or type(error).__name__}); convert it to JPEG or PNG"
    )


@contextmanager
def _guarded() -> Iterator[None]:
    """Pillow with our limits instead of its own, without a word to the terminal."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = MOST_PIXELS, 2**24  # profiles of 2 MB are common
        ImageFile.LOAD_TRUNCATED_IMAGES = True  # of a PNG's damaged metadata, until its pixels are read
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def _without_stderr() -> Iterator[None]:
    """libtiff writes its complaints to file descriptor 2 by itself; the one that matters is raised as well."""
    try:
        terminal = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _prepare(path: Path) -> None:
    """Teaches Pillow HEIC, which it cannot read by itself, if the file at `path` is one."""
    with path.open("rb") as file:
        head = file.read(64)
    size = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 3] for at in (8, *range(16, min(size, len(head)), 4))}
    if head[4:8] != b"ftyp" or b"avi" in brands or not brands & {b"hei", b"hev", b"mif", b"msf"}:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise UserError(
            f"{path}: a HEIC picture; `pip install pillow-heif` makes it readable, or convert it to JPEG"
        ) from error
    register_heif_opener()


def _read(image: Image.Image, path: Path, longest_side: int) -> tuple[np.ndarray, tuple[int, int]]:
    whole = image.size
    size = shrunk_size(*whole, longest_side)
    drafted = image.draft(None, (REDUCING_GAP * size[0], REDUCING_GAP * size[1])) if size != whole else None
    _check_memory(image, path, whole, size)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = int(MOST_BYTES / _bytes_per_pixel(image))  # of tiles, and of the pictures inside icons
    with _without_stderr() if image.format == "TIFF" else nullcontext():
        image.load()
    whole = whole if drafted else image.size
    if min(whole) < SMALLEST_SIDE:
        raise UserError(
            f"{path}: {whole[0]} x {whole[1]} pixels are too few; "
            f"give a picture of at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
    colours, orientation, levels = read_colours(image), _orientation(image), _levels(image)
    size = shrunk_size(*whole, longest_side)
    if size != whole:
        image, levels = _shrink(image, drafted[1] if drafted else (0, 0, *whole), size, levels), (0.0, 1.0)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    pixels = np.empty((image.height, image.width, 3), np.float32)
    for top, band in _bands(image):
        pixels[top : top + band.height] = _over_white(_workable(band, levels), colours)
    return pixels, whole if orientation >= 5 else (whole[1], whole[0])


def _check_memory(image: Image.Image, path: Path, whole: tuple[int, int], size: tuple[int, int]) -> None:
    """Raises UserError unless `image`, `whole` in its file and not yet decoded, can be read as `size` in MOST_BYTES."""
    decoded, pixels = image.width * image.height, whole[0] * whole[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        samples = {1: 2.0, 2: 1.5}.get(JpegImagePlugin.get_sampling(image), len(image.getbands()))
        least = 2 * samples * pixels  # a progressive one holds 16 bits of each sample
        decoding = least + 4 * decoded
    else:
        least = decoding = _bytes_per_pixel(image) * pixels
    shrinking = 0.0
    if size != whole:  # the reduced picture beside the decoded one, then what the filter makes of it
        reduced = decoded / _factor((image.width, image.height), size) ** 2
        shrinking = max(4 * decoded + 4 * reduced, 12 * reduced + 8 * size[0] * size[1])
    if max(decoding, shrinking, RESULT_BYTES_PER_PIXEL * size[0] * size[1]) > MOST_BYTES:
        remedy = "make it smaller first" if least > MOST_BYTES else "shrink it with --longest_side"
        raise UserError(f"{path}: {whole[0]} x {whole[1]} pixels take more than 1 GB of memory; {remedy}")


def _bytes_per_pixel(image: Image.Image) -> float:
    return BYTES_PER_PIXEL.get(image.format or "", OTHER_BYTES_PER_PIXEL)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # on damaged EXIF Pillow raises whatever comes
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _levels(image: Image.Image) -> Levels:
    """(black, white) of a grey picture of 16 or more bits."""
    if image.mode == "F":
        bands = (np.asarray(band) for _, band in _bands(image))
        white = max(float(band.max(initial=1.0, where=np.isfinite(band))) for band in bands)
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode[0] == "I":
        bits, signed = image.tag_v2[258][0], image.tag_v2.get(339, (1,))[0] == 2
        white = _filled(image, signed) if bits == 32 else 2.0 ** (bits - signed) - 1
    else:
        white = 65535.0
    is_white_zero = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
    return (white, 0.0) if is_white_zero else (0.0, white)


def _filled(image: Image.Image, signed: bool) -> float:
    """White of 32 bits, of which pictures fill what they need."""
    kind = np.int32 if signed else np.uint32
    largest = max(int(np.asarray(band).view(kind).max()) for _, band in _bands(image))
    return next((white for white in (255.0, 65535.0) if largest <= white), float(largest))


def _bands(image: Image.Image, rows: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """(first row, part) of `image` from top to bottom, each a multiple of `rows` high but for the last."""
    height = rows * max(1, BAND_PIXELS // (rows * image.width))
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _factor(before: tuple[float, float], after: tuple[int, int]) -> int:
    return max(1, int(min(before[0] / after[0], before[1] / after[1]) / REDUCING_GAP))


def _shrink(
    image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int], levels: Levels
) -> Image.Image:
    """The part `box` of `image`, which is closed, as (width, height) `size`, in a workable mode."""
    factor = _factor(box[2:], size)
    reduced: Image.Image | None = None
    for top, band in _bands(image, factor):
        part = _workable(band, levels).reduce(factor)
        reduced = reduced or Image.new(part.mode, (part.width, -(-image.height // factor)))
        reduced.paste(part, (0, top // factor))
    assert reduced is not None
    image.close()
    scaled = (0, 0, box[2] / factor, box[3] / factor)
    return reduced.resize(size, Image.Resampling.BILINEAR, box=scaled)


def _workable(image: Image.Image, levels: Levels) -> Image.Image:
    """`image` in a mode that can be averaged: L, LA, RGB, RGBA, CMYK, LAB, or F in [0, 1] for greys of 16 bits."""
    if image.mode[0] in "IF":
        black, white = levels
        values = np.asarray(image)
        values = (values.view(np.uint32) if max(levels) >= 2**31 else values).astype(np.float32)
        grey = np.clip((np.where(np.isnan(values), black, values) - black) / (white - black), 0, 1).astype(np.float32)
        if "transparency" not in image.info:
            return Image.fromarray(grey)
        alpha = values != image.info["transparency"]
        return Image.fromarray(np.rint(255 * np.stack([grey, alpha], axis=-1)).astype(np.uint8))
    if image.mode in ("CMYK", "LAB"):
        return image
    transparent = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:  # the file has 16 bits
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    mode += "A" if image.has_transparency_data else ""
    return image if image.mode == mode else image.convert(mode)


def _over_white(image: Image.Image, colours: Colours) -> Float[np.ndarray, "h w 3"]:
    if image.mode not in ("LA", "RGBA"):
        return to_srgb(image, colours)
    alpha = np.asarray(image.getchannel("A"), np.float32)[..., None] / 255
    return to_srgb(image.convert(image.mode[:-1]), colours) * alpha + (1 - alpha)
