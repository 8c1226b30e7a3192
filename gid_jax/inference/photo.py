"""Pictures from people: any format, size and orientation, as float32 RGB."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from gid_jax.errors import UserError

SMALLEST_SIDE = 16


def read_photo(path: str | Path) -> Float[np.ndarray, "h w 3"]:
    """The picture at `path` in [0, 1], turned upright by its EXIF orientation.

    Transparency is laid over white, grey becomes RGB, 16-bit greys keep their precision. Of a moving picture the first
    frame is read. Raises UserError for a missing file, one that is no picture, or a side below 16 pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of a picture (JPEG, PNG, WebP, ...)")
    try:
        with Image.open(path) as image:
            pixels = _to_rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a picture that can be read ({error}); convert it to JPEG or PNG") from error
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UserError(
            f"{path}: {size} pixels are too few; give a picture of at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
    return pixels


def shrink(image: Float[np.ndarray, "h w 3"], longest_side: int) -> Float[np.ndarray, "H W 3"]:
    """`image` with its longer side at most `longest_side` pixels, the aspect kept; never enlarged."""
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    return image if scale >= 1 else resize(image, max(1, round(height * scale)), max(1, round(width * scale)))


def resize(image: Float[np.ndarray, "h w 3"], height: int, width: int) -> Float[np.ndarray, "H W 3"]:
    """Bilinear with antialiasing."""
    channels = [Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BILINEAR) for c in range(3)]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits of grey
        grey = np.asarray(image, np.float32)
        largest = 65535.0 if image.mode.startswith("I") else max(float(grey.max(initial=0.0)), 1.0)
        return np.repeat(np.clip(grey / largest, 0.0, 1.0)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"), np.float32) / 255
