"""Small videos, written on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_video(
    path: Path,
    pictures: np.ndarray,
    *,
    fps: int = 30,
    times: Sequence[float] | None = None,
    pix_fmt: str = "yuv444p",
    codec: str = "ffv1",
    rotation: float | None = None,
) -> Path:
    """Writes pictures uint8 [t, h, w, 3], shown at `times` (s) or at `fps`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], pix_fmt
        if codec == "libx264":
            stream.options = {"crf": "10", "preset": "ultrafast"}
        if codec == "libvpx-vp9":
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        if codec != "mpeg2video":
            stream.codec_context.time_base = stream.time_base = Fraction(1, 3000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round((i / fps if times is None else times[i]) * 3000)
            frame.time_base = Fraction(1, 3000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def sway_pictures(
    count: int = 160, height: int = 40, width: int = 64, seed: int = 0, amplitude: float = 3.0
) -> np.ndarray:
    """A fixed texture whose left half sways; every frame differs. uint8 [t, h, w, 3]."""
    generator = np.random.default_rng(seed)
    phases, waves = generator.uniform(0, 6.3, (3, 4)), generator.uniform(0.1, 0.5, (3, 4, 2))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    sway = np.where(x < width / 2, amplitude, 0) * np.sin(2 * np.pi * np.arange(count) / 40)[:, None, None]
    texture = [
        sum(np.sin(phases[c, i] + waves[c, i, 0] * (x - sway) + waves[c, i, 1] * y) for i in range(4)) for c in range(3)
    ]
    return np.clip(128 + 28 * np.stack(texture, -1), 0, 255).astype(np.uint8)
