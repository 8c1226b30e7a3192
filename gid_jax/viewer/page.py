"""The interactive page: one HTML file that holds the photo, the modes as bytes, the shaders and the scripts."""

import base64
import html
import io
import json
import re
from importlib import resources

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from gid_jax.motion.spectrum import PERIOD, resize_spectrum

LONGEST_GRID = 256  # cells of the mesh; more bytes would not be seen
LONGEST_PHOTO = 2048
FPS = 30


def build_page(
    image: Float[np.ndarray, "h w 3"], spectrum: Float[np.ndarray, "k H W 4"], title: str = "Moving picture"
) -> str:
    """HTML that lets the photo `image` be dragged, released and moved by the wind, without network access.

    `spectrum` is the photo's spectral volume (k >= 2), in pixels of its own resolution; its aspect may differ from the
    photo's by rounding.
    """
    spectrum = _shrunk(np.asarray(spectrum, np.float32))
    packed, scales = pack(spectrum[1:])
    picture = Image.fromarray(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))
    picture.thumbnail((LONGEST_PHOTO, LONGEST_PHOTO))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=92)
    height, width = spectrum.shape[1:3]
    scene = {"width": width, "height": height, "fps": FPS, "period": PERIOD, "scales": scales.tolist()}
    fields = {
        "title": html.escape(title, quote=True),
        "photo_width": str(picture.width),
        "photo_height": str(picture.height),
        "photo": "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode(),
        "scene": json.dumps(scene),
        "modes": base64.b64encode(packed.tobytes()).decode(),
    }
    return re.sub(r"\{\{([\w.]+)\}\}", lambda match: fields.get(match[1]) or asset(match[1]), asset("page.html"))


def pack(spectrum: Float[np.ndarray, "k h w 4"]) -> tuple[UInt8[np.ndarray, "k h w 4"], Float[np.ndarray, " k"]]:
    """Coefficients as bytes around 128 and the scale s_k, the largest |c| of a frequency: c = (byte - 128) / 127 s_k.

    The error is at most s_k / 254.
    """
    scales = np.maximum(np.abs(spectrum).max(axis=(1, 2, 3)), 1e-9)
    return np.rint(128 + 127 * spectrum / scales[:, None, None, None]).astype(np.uint8), scales


def asset(name: str) -> str:
    """The text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shrunk(spectrum: np.ndarray) -> np.ndarray:
    height, width = spectrum.shape[1:3]
    scale = LONGEST_GRID / max(height, width)
    if scale >= 1:
        return spectrum
    return np.asarray(resize_spectrum(spectrum, max(2, round(height * scale)), max(2, round(width * scale))))
