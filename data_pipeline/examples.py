"""One start frame -> one stored example, kept in a folder under a name made of everything that decides its bytes.

The folder is the build's memory: what is there is not computed again, whichever worker or run wrote it.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization
from ml_collections import ConfigDict

from data_pipeline import contact_sheet, evidence, isolation, quality, quality_measures, trajectories, video
from data_pipeline.failures import StoreUnwritable
from gid_jax.data import codec
from gid_jax.data.clip_codec import encode_clip
from gid_jax.errors import UserError
from gid_jax.motion.spectrum import to_spectrum
from gid_jax.video import decoding

MOST_CLIP_BYTES = 8_000_000  # of a reference clip of 256 x 160; others in proportion
RECIPE = 8  # raise it when the same video and settings are to give other bytes
_DECIDING = ("width", "height", "num_frequencies", "num_frames", "fps", "flow_preset", "pairs", "bar_luma", "fill")


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video file: its content's SHA-256, whether it is a seamless loop, its exact trajectories if they are used.

    `keep`: whatever speaks against its clips, they are wanted. `shots`: its parts, from and to in s, if given by hand.
    """

    path: str
    digest: str
    loop: bool = False
    exact_path: str | None = None
    keep: bool = False
    shots: tuple[tuple[float, float], ...] = ()

    @property
    def video_id(self) -> str:
        return f"{Path(self.path).stem}-{self.digest[:8]}"

    def without_path(self, error: UserError) -> str:
        """The reason in an error about this clip."""
        return str(error).removeprefix(f"{self.path}: ")


def open_clip(path: Path, *, loop: bool, exact: bool) -> Clip:
    """Raises `UserError` for a file that cannot be read, or without the exact trajectories that are asked for."""
    decoding.check_file(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check --videos") from error
    exact_path = path.with_suffix(".npz")
    if exact and not exact_path.is_file():
        raise UserError(f"{path}: no exact trajectories beside it ({exact_path.name}); leave out --exact")
    return Clip(str(path), digest, loop, str(exact_path) if exact else None)


class ExampleStore:
    """Timelines and examples in `folder`, made on first demand. `config` is configs/data.py's."""

    def __init__(self, folder: Path, config: ConfigDict, estimator: trajectories.Estimator):
        self._config, self._estimator = config, estimator
        deciding = json.dumps([RECIPE, *(config[name] for name in _DECIDING)])
        self._folder = folder / hashlib.sha256(deciding.encode()).hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        read = functools.partial(isolation.iterate, video.read_frames)
        self._reader = video.WindowReader(
            config.num_frames, fps=config.fps, width=config.width, height=config.height, read=read
        )

    def timeline(self, clip: Clip) -> video.Timeline:
        """Raises `UserError` where the video is damaged."""

        def read() -> dict[str, Any]:
            return dataclasses.asdict(isolation.call(video.read_timeline, Path(clip.path), self._config.bar_luma))

        return video.Timeline(**_once(self._timeline_path(clip), read, clip))

    def starts(self, clip: Clip) -> tuple[list[int], dict[int, str]]:
        """`quality.find_starts` of the clip. Raises `UserError` where the video is damaged."""
        starts, reasons = quality.find_starts(
            self.timeline(clip), self._config, loop=clip.loop, keep=clip.keep, shots=clip.shots
        )
        if clip.exact_path is None:
            return starts, reasons
        return [start for start in starts if start == 0], reasons  # exact motion is known from frame 0 only

    @property
    def fps(self) -> float:
        return self._config.fps

    def shots(self, clip: Clip) -> list[tuple[float, float]]:
        """From and to, s, of the parts that clips are taken from. Raises `UserError` where the video is damaged."""
        timeline = self.timeline(clip)
        if clip.loop or (clip.keep and not clip.shots):
            return [(0.0, round(timeline.duration, 3))]
        shots = quality.find_shots(timeline, self._config, clip.shots)
        return [(round(first / self.fps, 3), round(end / self.fps, 3)) for first, end in shots]

    def has_timeline(self, clip: Clip) -> bool:
        return self._timeline_path(clip).is_file()

    def has(self, clip: Clip, start: int) -> bool:
        return self._path(clip, start, "json").is_file()

    def summary(self, clip: Clip, start: int) -> dict[str, Any]:
        """The example's `quality_measures.measure`, `power` (mean |S_k|^2 over pixels, x and y, px^2 at 256 wide),
        `flow_error` and `seconds`; the example is computed unless it is there.

        Raises `UserError` where it cannot be made.
        """
        path = self._path(clip, start, "json")
        summary = _once(path, lambda: self._make(clip, start), clip)
        if not Path(self.example_path(clip, start)).is_file():
            path.unlink()
            summary = _once(path, lambda: self._make(clip, start), clip)
        return summary

    def _make(self, clip: Clip, start: int) -> dict[str, Any]:
        began = time.monotonic()
        example, summary, strip, where = self._compute(clip, start)
        _write(self._path(clip, start, "msgpack"), serialization.msgpack_serialize(example))
        _write(self._path(clip, start, "jpg"), strip)
        _write(self._path(clip, start, "where.jpg"), where)
        return {
            **summary,
            "flow_error": example["flow_error"].tolist(),
            "seconds": round(time.monotonic() - began, 2),
        }

    def example_path(self, clip: Clip, start: int) -> str:
        return str(self._path(clip, start, "msgpack"))

    def keep_clip(self, clip: Clip, start: int) -> int:
        """Keeps the pictures of a made example beside it, as its `reference_clip`; the bytes that they take.

        More than `MOST_CLIP_BYTES`, and what cannot be read again, are not kept: an empty file says so.
        """
        path = self._path(clip, start, "clip")
        if not path.is_file():
            try:
                bars = self.timeline(clip).bars
                stream = encode_clip(self._reader.read(Path(clip.path), start, loop=clip.loop, bars=bars))
            except UserError:
                stream = b""
            size = self._config.width * self._config.height / (256 * 160)
            _write(path, stream if len(stream) <= MOST_CLIP_BYTES * size else b"")
        return path.stat().st_size

    def has_clip(self, clip: Clip, start: int) -> bool:
        return self._path(clip, start, "clip").is_file()

    def is_made(self, clip: Clip, start: int) -> bool:
        """Whether the example is there, and no reason against it."""
        return self._path(clip, start, "msgpack").is_file() and self.has(clip, start)

    def strip(self, clip: Clip, start: int) -> bytes | None:
        """`contact_sheet.strip` of a clip whose example was made; of others `Timeline.strip`, where there is one."""
        path = self._path(clip, start, "jpg")
        try:
            return path.read_bytes() if path.is_file() else base64.b64decode(self.timeline(clip).strip)
        except UserError:
            return None

    def where(self, clip: Clip, start: int, kind: str) -> bytes | None:
        """The picture of where this kind of reason was seen (`evidence`), if there is one."""
        path = self._path(clip, start, "where.jpg")
        return evidence.panel(path.read_bytes(), kind) if path.is_file() else None

    def _timeline_path(self, clip: Clip) -> Path:
        return self._folder / f"{clip.digest}.timeline.json"

    def _path(self, clip: Clip, start: int, suffix: str) -> Path:
        variant = f"{'.loop' if clip.loop else ''}{'.exact' if clip.exact_path else ''}"
        return self._folder / f"{clip.digest}.{start:06d}{variant}.{suffix}"

    def _compute(self, clip: Clip, start: int) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
        config, bars = self._config, self.timeline(clip).bars
        pictures = self._reader.read(Path(clip.path), start, loop=clip.loop, bars=bars, fill=config.fill)
        motion = trajectories.estimate_trajectories(pictures, config.flow_preset, self._estimator)
        if not np.all(np.isfinite(motion)):
            raise UserError(f"{clip.path}: flow not finite: from frame {start}; leave it out")
        generator = np.random.default_rng([int(clip.digest[:15], 16), start])
        times = sorted(generator.choice(np.arange(1, config.num_frames), config.pairs, replace=False).tolist())
        crop = isolation.call(video.source_crop, Path(clip.path), config.width, config.height, bars)
        spectrum = np.asarray(_spectrum(config.num_frequencies)(motion))
        example = codec.encode_example(
            image=pictures[0],
            spectrum=spectrum,
            motion_weight=np.linalg.norm(motion, axis=-1).mean(axis=0),
            target_frames=pictures[times],
            target_flows=motion[times],
            target_times=times,
            video_id=clip.video_id.encode(errors="backslashreplace"),
            start=start,
            fps=float(config.fps),
            scale=crop.scale,
            flow_error=trajectories.flow_error(pictures, motion, times, config.flow_preset, self._estimator),
            **(self._exact(clip.exact_path, crop) if clip.exact_path else {}),
        )
        power = 2 * np.mean(np.square(spectrum, dtype=np.float64), axis=(1, 2, 3)) * (256 / config.width) ** 2
        summary = {**quality_measures.measure(pictures, motion), "power": power.tolist()}
        return example, summary, contact_sheet.strip(pictures, motion), evidence.draw(pictures, motion)

    def _exact(self, path: str, crop: video.Crop) -> dict[str, np.ndarray]:
        from data_pipeline.procedural import load_exact

        motion, visibility = load_exact(path)
        count = self._config.num_frames
        if len(motion) < count:
            raise UserError(f"{path}: {len(motion)} frames, {count} needed; render longer clips")
        spectrum = np.asarray(_spectrum(self._config.num_frequencies)(np.asarray(motion[:count], np.float32)))
        return {
            "exact_spectrum": np.stack([trajectories.crop_motion(frequency, crop) for frequency in spectrum]),
            "visibility": np.stack([trajectories.crop_mask(mask, crop) for mask in visibility[:count]]),
        }


def load_example(path: str, with_clip: bool = False) -> dict[str, Any]:
    """The stored fields (`gid_jax.data.codec.EXAMPLE`) of an `ExampleStore.example_path`, `with_clip` with what
    `keep_clip` kept of its pictures."""
    clip = Path(path).with_suffix(".clip").read_bytes() if with_clip else b""
    return serialization.msgpack_restore(Path(path).read_bytes()) | {"reference_clip": clip}


@functools.cache
def _spectrum(num_frequencies: int) -> Callable:
    return jax.jit(functools.partial(to_spectrum, num_frequencies=num_frequencies))


def _once(path: Path, compute: Callable[[], dict[str, Any]], clip: Clip) -> dict[str, Any]:
    """What `compute` returned when `path` was first asked for; a `UserError` is remembered likewise."""
    result = _read(path)
    if result is None:
        try:
            result = compute()
        except UserError as error:
            result = {"error": clip.without_path(error)}
        content = json.dumps(result).encode()
        _write(path, content)
        result = json.loads(content)
    if "error" in result:
        raise UserError(f"{clip.path}: {result['error']}")
    return result


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is nothing, or what a power cut left."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreUnwritable(f"{path}: cannot be written ({error.strerror})") from error
