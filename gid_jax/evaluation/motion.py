"""Predicted motion against the truth, beside predictions that know less: no network needed to judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from gid_jax.evaluation import examples
from gid_jax.evaluation.subjects import NOBODY, Subjects
from gid_jax.metrics import motion
from gid_jax.motion.spectrum import PERIOD, to_spectrum, to_trajectories

BASELINES = {
    "uncoordinated": "the model's without attention over frequencies, as stage 2 left it",
    "nearest": "stored motion of the training picture that is most like it, by VGG16's features",
    "mean_spectrum": "mean motion map and mean power of the training set, whatever the picture",
    "eulerian": "constant flow: the model's velocity at the start, integrated",
    "shuffled": "the model's motion for a picture of another video",
    "repeat_i0": "the start frame, standing still",
    "real": "stored motion of another start frame of the same video",
    "stored": "motion from estimated optical flow, what the model learns from",
}


PREDICTED = ("model", "uncoordinated", "nearest", "eulerian")
"""Rows whose motion is described as the model's is."""
RIVALS = ("mean_spectrum", "shuffled", "nearest", "uncoordinated", "eulerian")
"""What the model is compared with, example by example."""

Motion = tuple[np.ndarray, np.ndarray | None]  # motion map [h, w] and amplitude of each band [k], px


@dataclass(frozen=True)
class Description:
    """What of a spectrum enters the figures.

    `map` [h, w] is the mean over t of |F_t|, `bands` [k] the amplitudes, both in px; `coherence` is None below 3
    frequencies.
    """

    map: np.ndarray
    bands: np.ndarray
    coherence: float | None
    wrap: float

    @property
    def motion(self) -> Motion:
        return self.map, self.bands


_trajectories = jax.jit(to_trajectories, static_argnums=1)


def describe(spectrum: np.ndarray) -> Description:
    """Of one spectrum [k, h, w, 4], px."""
    return _describe(spectrum, np.asarray(_trajectories(spectrum, PERIOD)))


def describe_trajectories(trajectories: np.ndarray, num_frequencies: int) -> Description:
    """Of motion [t, h, w, 2] of one period that is no sum of waves: its bands are those of its transform."""
    return _describe(np.asarray(to_spectrum(trajectories, num_frequencies)), trajectories)


def _describe(spectrum: np.ndarray, trajectories: np.ndarray) -> Description:
    return Description(
        map=np.linalg.norm(trajectories, axis=-1).mean(axis=0),
        bands=motion.band_amplitude(spectrum),
        coherence=float(motion.phase_coherence(spectrum)) if len(spectrum) > 2 else None,
        wrap=float(motion.wrap_jump(trajectories)),
    )


@dataclass(frozen=True)
class Case:
    """One test example: its predicted motion, `predicted` by who predicts, the model's among them; and the true one,
    `truths` by name: "stored", and "exact" in all or none."""

    index: int
    video: str
    start: int
    predicted: dict[str, Description]
    truths: dict[str, Description]

    @property
    def model(self) -> Description:
        return self.predicted["model"]


def compare(
    cases: Sequence[Case], truth: str, mean_map: np.ndarray, mean_bands: np.ndarray, subjects: Subjects = NOBODY
) -> tuple[dict, list[dict]]:
    """Figures of every predictor against `truth`, with intervals over videos or subjects, and the figures of each case.

    map_correlation: Pearson over pixels of the motion maps. amplitude_error_db: mean over bands of the absolute error
    of the amplitude; amplitude_by_band_db: the signed one of each band. Differences are of paired examples.
    """
    videos = [case.video for case in cases]
    predictors = _predictors(cases, truth, mean_map, mean_bands)
    each = [
        {name: _figures(moved, case.truths[truth]) for name, all_of in predictors.items() if (moved := all_of[i])}
        for i, case in enumerate(cases)
    ]
    correlation = _summaries(each, videos, "map_correlation", subjects)
    for baseline in RIVALS:
        pairs = [
            (row["model"]["map_correlation"] - row[baseline]["map_correlation"], video)
            for row, video in zip(each, videos, strict=True)
            if baseline in row
        ]
        if pairs:
            correlation[f"model_minus_{baseline}"] = _estimate(pairs, subjects)
    bands = {
        name: [subjects.estimate([row[name]["by_band"][k] for row in each], videos) for k in range(len(mean_bands))]
        for name in ("model", "mean_spectrum")
    }
    result = {
        "map_correlation": correlation,
        "amplitude_error_db": _summaries(each, videos, "amplitude_error_db", subjects),
        "amplitude_by_band_db": bands,
    }
    return result, each


def _predictors(
    cases: Sequence[Case], truth: str, mean_map: np.ndarray, mean_bands: np.ndarray
) -> dict[str, list[Motion | None]]:
    """By name, for each case what it predicts, None where it predicts nothing."""
    videos, starts = [case.video for case in cases], [case.start for case in cases]
    others, siblings = examples.others(videos), examples.siblings(videos, starts)
    found: dict[str, list[Motion | None]] = {
        **{name: [case.predicted[name].motion for case in cases] for name in cases[0].predicted},
        "mean_spectrum": [(mean_map, mean_bands)] * len(cases),
        "shuffled": [None if j is None else cases[j].model.motion for j in others],
        "repeat_i0": [(np.zeros_like(mean_map), None)] * len(cases),  # no motion has no amplitude to compare
        "real": [None if j is None else cases[j].truths["stored"].motion for j in siblings],
    }
    if truth == "exact":
        found["stored"] = [case.truths["stored"].motion for case in cases]
    return found


def _figures(predicted: Motion, true: Description) -> dict:
    motion_map, bands = predicted
    figures: dict = {"map_correlation": float(motion.map_correlation(motion_map, true.map))}
    if bands is not None:
        decibels = motion.decibels(bands, true.bands)
        figures |= {"amplitude_error_db": float(np.abs(decibels).mean()), "by_band": decibels.tolist()}
    return figures


def _summaries(each: list[dict], videos: list[str], key: str, subjects: Subjects) -> dict[str, dict]:
    result = {}
    for name in dict.fromkeys(name for row in each for name in row):
        pairs = [(row[name][key], video) for row, video in zip(each, videos, strict=True) if key in row.get(name, {})]
        if pairs:
            result[name] = _estimate(pairs, subjects)
    return result


def _estimate(pairs: list[tuple[float, str]], subjects: Subjects) -> dict:
    return subjects.estimate([value for value, _ in pairs], [video for _, video in pairs])


def naturalness(cases: Sequence[Case], subjects: Subjects = NOBODY) -> dict:
    """Phase coherence and wrap jump of predicted and of true motion, which should be alike."""
    result: dict[str, dict] = {"phase_coherence": {}, "wrap_jump": {}}
    for name in (*cases[0].predicted, *cases[0].truths):
        described = [((case.predicted | case.truths)[name], case.video) for case in cases]
        result["wrap_jump"][name] = _estimate([(d.wrap, video) for d, video in described], subjects)
        coherence = [(d.coherence, video) for d, video in described if d.coherence is not None]
        if coherence:
            result["phase_coherence"][name] = _estimate(coherence, subjects)
    return result
