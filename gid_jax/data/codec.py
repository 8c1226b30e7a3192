"""How one example of `gid_motion` is stored: what each field is, and the coders of pictures and of motion.

A field of real numbers is cut into 16 x 16 blocks, each turned by an orthonormal discrete cosine transform, rounded to
multiples of a step and compressed. The transform keeps squared errors, so what rounding loses in the coefficients is
what the field loses, and one step for all frequencies of a spectrum spends the fewest bytes for a given error of the
trajectories.
"""

import functools
import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zstandard
from PIL import Image

from gid_jax.data.clip_codec import decode_clip

EXAMPLE = {
    "image": "lossless WebP of I_0, uint8 [h, w, 3]",
    "spectrum": "K_max streams of `encode_spectrum`, each one frequency of S, [h, w, 4] in px",
    "motion_weight": "float16 [h, w]: mean over t of |F_t| in px, of the exact flow (not of the truncated series)",
    "target_frames": "R lossless WebP of I_t, uint8 [h, w, 3]",
    "target_flows": "R streams of `encode_field`: F_t, [h, w, 2] in px",
    "target_times": "int32 [R]: t of each target, 1 ... T - 1 frames after the start frame",
    "video_id": "name of the video and the beginning of its content hash",
    "start": "int32: the start frame, counted at `fps` from the beginning of the video",
    "fps": "float32: frames per second after resampling",
    "scale": "float32: stored pixels per source pixel, along y",
    "flow_error": "float32 [2]: mean forward-backward error in px, mean photometric error in grey levels of 255",
    "exact_spectrum": "as spectrum, of a rendered scene's exact motion (builder config `procedural_exact` only)",
    "visibility": "zstd of the packed bits of bool [T, h, w]: pixel p of I_0 is seen in frame t (likewise)",
    "reference_clip": "`clip_codec.encode_clip` of I_0 ... I_T-1: of some of the test split, else empty",
}
"""Every stored field. Motion is in pixels of the stored resolution. `decode_example` turns them into arrays."""

SPECTRUM_ERROR = 0.01  # px, root mean square over pixels and frames of the vector error in the trajectories
FLOW_STEP = 1 / 32  # px: an error of at most 0.009 px root mean square per component
_BLOCK = 16
_HEADER = struct.Struct("<HHBHBf")  # height, width, channels, cosines in use, bytes per coefficient, step


def encode_example(
    *,
    image: np.ndarray,
    spectrum: np.ndarray,
    motion_weight: np.ndarray,
    target_frames: np.ndarray,
    target_flows: np.ndarray,
    target_times: Sequence[int],
    exact_spectrum: np.ndarray | None = None,
    visibility: np.ndarray | None = None,
    **provenance: Any,
) -> dict[str, Any]:
    """Arrays as `decode_example` gives them, with all K_max frequencies -> fields as they are stored (`EXAMPLE`)."""
    example = {
        "image": encode_image(image),
        "spectrum": encode_spectrum(spectrum),
        "motion_weight": motion_weight.astype(np.float16),
        "target_frames": [encode_image(frame) for frame in target_frames],
        "target_flows": [encode_field(flow, FLOW_STEP) for flow in target_flows],
        "target_times": np.asarray(target_times, np.int32),
        **provenance,
    }
    if exact_spectrum is not None and visibility is not None:
        example["exact_spectrum"] = encode_spectrum(exact_spectrum)
        example["visibility"] = zstandard.ZstdCompressor(level=12).compress(np.packbits(visibility, -1).tobytes())
    return example


def decode_example(
    raw: Mapping[str, Any], *, frequencies: Sequence[int], pairs: bool, clip: bool = False
) -> dict[str, Any]:
    """Stored fields -> arrays. Only what is asked for is decoded.

    Always: image uint8 [h, w, 3], motion_weight float16 [h, w], and video_id (str), start, fps, scale, flow_error.
    With `frequencies` (indices k below K_max): spectrum float32 [k, h, w, 4], px, in that order. With `pairs`:
    target_frames uint8 [R, h, w, 3], target_flows float32 [R, h, w, 2], px, target_times int32 [R]. With
    `clip`: reference_clip uint8 [T, h, w, 3], where it is kept. Where the data set has them: exact_spectrum like
    spectrum, visibility bool [T, h, w].
    """
    example: dict[str, Any] = {
        name: np.asarray(raw[name]) for name in ("motion_weight", "start", "fps", "scale", "flow_error")
    }
    example["video_id"] = bytes(raw["video_id"]).decode()
    example["image"] = decode_image(raw["image"])
    if len(frequencies):
        example["spectrum"] = np.stack([decode_field(raw["spectrum"][k]) for k in frequencies])
    if pairs:
        example["target_frames"] = np.stack([decode_image(stream) for stream in raw["target_frames"]])
        example["target_flows"] = np.stack([decode_field(stream) for stream in raw["target_flows"]])
        example["target_times"] = np.asarray(raw["target_times"])
    if clip and raw.get("reference_clip"):
        example["reference_clip"] = decode_clip(raw["reference_clip"])
    if "visibility" in raw:
        height, width = example["image"].shape[:2]
        packed = np.frombuffer(zstandard.ZstdDecompressor().decompress(raw["visibility"]), np.uint8)
        bits = np.unpackbits(packed.reshape(-1, height, -(-width // 8)), axis=-1, count=width)
        example["visibility"] = bits.view(bool)
        if len(frequencies):
            example["exact_spectrum"] = np.stack([decode_field(raw["exact_spectrum"][k]) for k in frequencies])
    return example


def encode_image(image: np.ndarray) -> bytes:
    """Codes uint8 [h, w, 3] without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def decode_image(stream: bytes) -> np.ndarray:
    """uint8 [h, w, 3]."""
    with Image.open(io.BytesIO(stream)) as image:
        return np.asarray(image.convert("RGB"))


def encode_field(field: np.ndarray, step: float) -> bytes:
    """Codes real numbers [h, w, c] with a root mean square error of at most about step / sqrt(12)."""
    return _pack(_to_blocks(field), field.shape, step)


def decode_field(stream: bytes) -> np.ndarray:
    """float32 [h, w, c] of `encode_field`, or [h, w, 4] of one stream of `encode_spectrum`."""
    height, width, channels, cosines, itemsize, step = _HEADER.unpack_from(stream)
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(stream[_HEADER.size :]), np.uint8)
    zigzag = np.zeros(planes.size // itemsize, f"u{itemsize}")
    for byte, plane in enumerate(planes.reshape(itemsize, -1)):
        zigzag |= plane.astype(zigzag.dtype) << (8 * byte)
    levels = (zigzag >> 1).view(f"i{itemsize}") ^ -(zigzag & 1).view(f"i{itemsize}")
    coefficients = np.zeros((_BLOCK**2, channels * rows * columns), np.float32)
    coefficients[_order()[:cosines]] = levels.reshape(cosines, -1)
    blocks = _transform(_cosines(), coefficients * np.float32(step)).reshape(_BLOCK, _BLOCK, channels, rows, columns)
    field = blocks.transpose(3, 0, 4, 1, 2).reshape(rows * _BLOCK, columns * _BLOCK, channels)
    return np.ascontiguousarray(field[:height, :width])


def encode_spectrum(spectrum: np.ndarray, *, error: float = SPECTRUM_ERROR, period: int = 150) -> list[bytes]:
    """Codes S [k, h, w, 4] into one stream per frequency; `decode_field` reads each alone.

    The step is the largest (to 2 %) for which the trajectories of all these frequencies together, over one `period`,
    are off by at most `error` px: root mean square over pixels and frames of the vector error.
    """
    count, height, width, channels = spectrum.shape
    together = np.moveaxis(spectrum, 0, 2).reshape(height, width, count * channels)
    blocks = np.split(_to_blocks(together), count, axis=1)
    # Parseval: |e_k|^2 counts 2 / P^2 in the trajectories, 1 / P^2 at k = 0, which may be coarser by sqrt(2).
    widths = [np.sqrt(2.0)] + [1.0] * (len(blocks) - 1)

    def trajectory_error(step: float) -> float:
        total = sum(2 / s**2 * _rounding_error(b, step * s) for b, s in zip(blocks, widths, strict=True))
        return float(np.sqrt(total / (height * width))) / period

    low = error * period * np.sqrt(12 / (8 * len(blocks))) / 2
    high = 2 * low
    while trajectory_error(high) <= error and high < 1e3 * error * period:
        low, high = high, 2 * high
    while high / low > 1.02:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if trajectory_error(middle) <= error else (low, middle)
    shape = (height, width, channels)
    return [_pack(b, shape, low * s) for b, s in zip(blocks, widths, strict=True)]


def _pack(blocks: np.ndarray, shape: tuple[int, ...], step: float) -> bytes:
    """Rounded coefficients up to the last cosine in use, signs folded in, one plane per byte, compressed."""
    levels = np.round(blocks / np.float32(step)).astype(np.int32)
    cosines = int(np.flatnonzero(levels.any(axis=1)).max(initial=0)) + 1
    zigzag = ((levels[:cosines] << 1) ^ (levels[:cosines] >> 31)).view(np.uint32).reshape(-1)
    itemsize = 2 if zigzag.max() < 2**16 else 4
    planes = np.stack([(zigzag >> (8 * byte)).astype(np.uint8) for byte in range(itemsize)])
    body = zstandard.ZstdCompressor(level=12).compress(planes.tobytes())
    return _HEADER.pack(*shape, cosines, itemsize, step) + body


def _rounding_error(blocks: np.ndarray, step: float) -> float:
    rest = blocks - np.round(blocks / np.float32(step)) * np.float32(step)
    return float(np.vdot(rest, rest))


def _to_blocks(field: np.ndarray) -> np.ndarray:
    """[h, w, c] -> coefficients [256, c * blocks], from coarse to fine, so that like stands beside like."""
    height, width, channels = field.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    padding = (0, rows * _BLOCK - height), (0, columns * _BLOCK - width), (0, 0)
    padded = np.pad(np.asarray(field, np.float32), padding, "edge")
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK, channels).transpose(1, 3, 4, 0, 2)
    return _transform(_cosines().T, blocks.reshape(_BLOCK**2, -1))[_order()]


def _transform(matrix: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """`matrix` [16, 16] applied along y and x of blocks [(y x), n].

    Products of this size stay in one thread. Larger ones wake BLAS's others, which then spin against JAX and the
    loader: seven times the processor time on a busy machine.
    """
    cubes = blocks.reshape(_BLOCK, _BLOCK, -1)
    result = np.empty_like(cubes)
    for start in range(0, cubes.shape[2], 1024):
        part = np.s_[:, :, start : start + 1024]
        along_x = matrix @ cubes[part]
        result[part] = np.swapaxes(matrix @ np.swapaxes(along_x, 0, 1), 0, 1)
    return result.reshape(blocks.shape)


@functools.cache
def _cosines() -> np.ndarray:
    """[16, 16]: each column an orthonormal cosine over the pixels of a row."""
    n = np.arange(_BLOCK)
    cosines = np.cos(np.pi * (n[:, None] + 0.5) * n / _BLOCK) * np.sqrt(np.where(n == 0, 1, 2) / _BLOCK)
    return cosines.astype(np.float32)


@functools.cache
def _order() -> np.ndarray:
    """The 256 products of two cosines, from coarse to fine."""
    u, v = np.divmod(np.arange(_BLOCK**2), _BLOCK)
    return np.lexsort((u, u + v))
