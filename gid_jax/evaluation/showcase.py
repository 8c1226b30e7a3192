"""What the report shows of single examples: pictures of rows over time, and clips that play beside the video."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.data.clip_codec import decode_clip
from gid_jax.data.source import Source
from gid_jax.evaluation import examples
from gid_jax.evaluation.examples import Example
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.motion import Case
from gid_jax.evaluation.movements import Waves
from gid_jax.evaluation.plots import Scene
from gid_jax.evaluation.rows import Sampled
from gid_jax.inference.video import write_video
from gid_jax.metrics.motion import map_correlation
from gid_jax.motion.spectrum import PERIOD
from gid_jax.progress import progress

BEST, WORST = 2, 2  # clips
GAP = 4  # px between a video and the clip beside it


@dataclass(frozen=True)
class ClipShown:
    """An mp4: on the left the video, or where none is kept the picture moved by the true motion; on the right the
    model's."""

    title: str
    video: bytes


@dataclass(frozen=True)
class Shown:
    scenes: list[Scene]
    clips: list[ClipShown]


def shown(model: Model, sampled: Sampled, test: Source, cases: Sequence[Case], truth: str, config: ConfigDict) -> Shown:
    """`config.scenes` examples spread over all, and those whose motion map is nearest to the true one and farthest."""
    likeness = [float(map_correlation(case.model.map, case.truths[truth].map)) for case in cases]
    order = sorted(range(len(cases)), key=lambda i: likeness[i])
    worst = order[: min(WORST, len(order) // 2)]
    played = [*order[: -BEST - 1 : -1], *worst]
    pictured = examples.spread(len(cases), config.scenes)
    wanted = {i: examples.read(test, cases[i].index, model.num_frequencies) for i in {*pictured, *played}}
    spectra = dict(zip(wanted, sampled(list(wanted.values())), strict=True))
    sampled.forget()
    scenes, clips = [], {}
    for i, example in progress(sorted(wanted.items()), name="pictures of the report", unit="example"):
        true, predicted = _frames(model, example, spectra[i], truth)
        if i in pictured:
            row = int(np.argmax(cases[i].truths[truth].map.sum(axis=1)))
            recorded = bool(example.reference)
            scenes.append(Scene(cases[i], truth, example.image, row, true[:, row], predicted[:, row], recorded))
        if i in played:
            title = (
                f"{'worst' if i in worst else 'best'}, r = {likeness[i]:.2f}: {example.video}, frame {example.start}"
            )
            clips[i] = ClipShown(title, _side_by_side(true, predicted, test.statistics.fps))
    return Shown(scenes, [clips[i] for i in played])


def _frames(model: Model, example: Example, spectrum: np.ndarray, truth: str) -> tuple[np.ndarray, np.ndarray]:
    """One period of the video (else of the picture with its true motion) and of the model's clip."""
    times = np.arange(PERIOD)
    predicted = Waves(model, spectrum).frames(example.image, times)
    if example.reference:
        recorded = decode_clip(example.reference)
        return recorded, predicted[: len(recorded)]
    return Waves(model, example.truths[truth]).frames(example.image, times), predicted


def _side_by_side(left: np.ndarray, right: np.ndarray, fps: float) -> bytes:
    gap = np.full((*left.shape[:2], GAP, 3), 255, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        write_video(path, np.concatenate([left, gap, right], axis=2), fps)
        return path.read_bytes()
