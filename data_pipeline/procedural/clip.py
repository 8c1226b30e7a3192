"""One clip: rendered from a seed, written, and its exact motion read back."""

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import zstandard

from data_pipeline.procedural import scenes
from data_pipeline.procedural.compositor import compose, follow, trace
from data_pipeline.procedural.stage import HOURS, Stage
from data_pipeline.procedural.wind import Wind
from gid_jax.errors import UserError
from gid_jax.files import written

FPS = 30
SAMPLES = 150  # frames of exact motion, from frame 0 on
STRONGEST = 3.0  # times the usual wind: beyond, leaves turn so far that no field describes them
STEP = 64  # stored trajectories are integers of 1 / STEP px


@dataclass(frozen=True)
class ProceduralClip:
    """Frames and the exact motion of the pixels of frame 0; T = min(150, frames)."""

    frames: np.ndarray  # uint8 [t, h, w, 3]
    trajectories: np.ndarray  # float32 [T, h, w, 2], (dx, dy) px, zero at T = 0
    visibility: np.ndarray  # bool [T, h, w]: inside the picture and under nothing
    seed: int
    scene: str
    kinds: tuple[str, ...]  # of its elements
    wind: float = 1.0
    loop: bool = False


def render_clip(
    seed: int,
    *,
    width: int,
    height: int,
    num_frames: int = 160,
    kinds: Sequence[str] | None = None,
    wind: float = 1.0,
) -> ProceduralClip:
    """The scene of a seed. It is the same scene at every size; motion scales with the width.

    `kinds` restricts the scenes to choose from (keys of `scenes.TRAIN` and `scenes.TEST_ONLY`); by default those of
    the training split. `wind` is how many times the usual strength blows, at most `STRONGEST`. UserError for an unknown
    kind, a size below 32 x 32 or another wind.
    """
    name, stage = _set(seed, width, height, num_frames, kinds, wind)
    assert stage.background is not None
    frames, top = compose(stage.background, stage.layers, num_frames)
    trajectories, visibility = trace(stage.layers, top, (height, width), min(SAMPLES, num_frames))
    return ProceduralClip(frames, trajectories, visibility, seed, name, tuple(sorted(stage.kinds)), wind)


def render_motion(
    seed: int, *, width: int, height: int, kinds: Sequence[str] | None = None, gusts: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """First frame uint8 [h, w, 3] and exact trajectories float32 [150, h, w, 2], px, without the cost of the frames.

    Other `gusts` than 0 show the scene of `render_clip` on other days, in winds of their own: what a picture of it may
    do. UserError as there.
    """
    _, stage = _set(seed, width, height, SAMPLES, kinds, gusts=gusts)
    assert stage.background is not None
    first = [dataclasses.replace(layer, displacement=layer.displacement[:1]) for layer in stage.layers]
    frames, top = compose(stage.background, first, 1)
    return frames[0], follow(stage.layers, top[:, 0], (height, width), SAMPLES)


def _set(
    seed: int,
    width: int,
    height: int,
    num_frames: int,
    kinds: Sequence[str] | None,
    wind: float = 1.0,
    gusts: int = 0,
) -> tuple[str, Stage]:
    """The scene of a seed by name, and all that moves on its stage."""
    if min(width, height) < 32 or num_frames < 1:
        raise UserError(
            f"a procedural clip of {width} x {height} px, {num_frames} frames: ask for at least 32 x 32 and 1"
        )
    if not 0 < wind <= STRONGEST:
        raise UserError(f"a procedural clip in a wind of {wind:g}: ask for more than 0 and at most {STRONGEST:g}")
    known = scenes.TRAIN | scenes.TEST_ONLY
    names = tuple(scenes.TRAIN if kinds is None else kinds)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no procedural scene called {unknown[0]!r}: choose from {', '.join(known)}")
    rng = np.random.default_rng(seed)
    shares = np.array([known[name][1] for name in names])
    name = names[rng.choice(len(names), p=shares / shares.sum())]
    build, _, hours = known[name]
    blowing = Wind.blowing(rng, np.arange(num_frames) / FPS, wind, gusts)
    stage = Stage(width, height, rng, blowing, HOURS[rng.choice(hours)])
    build(stage)
    return name, stage


def save_clip(clip: ProceduralClip, path: Path) -> None:
    """Writes path.mp4 (H.264) and path.npz (exact motion), each whole or not at all; the video last."""
    steps = np.diff(np.round(clip.trajectories * STEP).astype(np.int16), axis=0, prepend=np.int16(0))
    with written(path.with_suffix(".npz")) as partial:
        np.savez(
            partial,
            steps=_packed(steps),
            step=np.float32(1 / STEP),
            visibility=_packed(np.packbits(clip.visibility)),
            shape=np.array(clip.visibility.shape),
            size=np.array(clip.frames.shape[:3]),
            seed=np.uint64(clip.seed),
            scene=clip.scene,
            kinds=np.array(clip.kinds),
            fps=FPS,
            wind=clip.wind,
        )
    with written(path.with_suffix(".mp4")) as partial:
        _encode(clip.frames, partial)


def _encode(frames: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w") as container:
        options = {"crf": "12", "preset": "fast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def load_exact(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories float32 [t, h, w, 2] (px, to 1/128) and visibility bool [t, h, w] of a written clip.

    `path` is that of its .npz or its .mp4. UserError where the one is missing or not what it should be.
    """
    path = Path(path).with_suffix(".npz")
    try:
        with np.load(path) as stored:
            shape = tuple(stored["shape"].tolist())
            steps = _unpacked(stored["steps"], np.int16).reshape(*shape, 2)
            bits = np.unpackbits(_unpacked(stored["visibility"], np.uint8), count=int(np.prod(shape)))
            step = stored["step"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zstandard.ZstdError) as error:
        raise UserError(f"{path}: not the exact motion of a procedural clip; render the clip again") from error
    return steps.cumsum(0, dtype=np.int16).astype(np.float32) * step, bits.reshape(shape).astype(bool)


def _packed(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(zstandard.ZstdCompressor(3).compress(array.tobytes()), np.uint8)


def _unpacked(packed: np.ndarray, dtype: type) -> np.ndarray:
    return np.frombuffer(zstandard.ZstdDecompressor().decompress(packed.tobytes()), dtype)
