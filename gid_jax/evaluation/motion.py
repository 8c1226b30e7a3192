"""Predicted motion against the truth, beside predictions that know less: no network needed to judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from gid_jax.evaluation import examples
from gid_jax.metrics import motion
from gid_jax.metrics.bootstrap import estimate
from gid_jax.motion.spectrum import PERIOD, to_trajectories

BASELINES = {
    "mean_spectrum": "mean motion map and mean power of the training set, whatever the picture",
    "shuffled": "the model's motion for a picture of another video",
    "repeat_i0": "the start frame, standing still",
    "real": "stored motion of another start frame of the same video",
    "stored": "motion from estimated optical flow, what the model learns from",
}


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
    trajectories = np.asarray(_trajectories(spectrum, PERIOD))
    return Description(
        map=np.linalg.norm(trajectories, axis=-1).mean(axis=0),
        bands=motion.band_amplitude(spectrum),
        coherence=float(motion.phase_coherence(spectrum)) if len(spectrum) > 2 else None,
        wrap=float(motion.wrap_jump(trajectories)),
    )


@dataclass(frozen=True)
class Case:
    """One test example: the model's motion and the true one, `truths` by name: "stored", and "exact" in all or none."""

    index: int
    video: str
    start: int
    model: Description
    truths: dict[str, Description]


def compare(cases: Sequence[Case], truth: str, mean_map: np.ndarray, mean_bands: np.ndarray) -> tuple[dict, list[dict]]:
    """Figures of every predictor against `truth`, with intervals over videos, and the figures of each case.

    map_correlation: Pearson over pixels of the motion maps. amplitude_error_db: mean over bands of the absolute error
    of the amplitude; amplitude_by_band_db: the signed one of each band. Differences are of paired examples.
    """
    groups = [case.video for case in cases]
    predictors = _predictors(cases, truth, mean_map, mean_bands)
    each = [
        {name: _figures(moved, case.truths[truth]) for name, all_of in predictors.items() if (moved := all_of[i])}
        for i, case in enumerate(cases)
    ]
    correlation = _summaries(each, groups, "map_correlation")
    for baseline in ("mean_spectrum", "shuffled"):
        pairs = [
            (row["model"]["map_correlation"] - row[baseline]["map_correlation"], group)
            for row, group in zip(each, groups, strict=True)
            if baseline in row
        ]
        if pairs:
            correlation[f"model_minus_{baseline}"] = _estimate(pairs)
    bands = {
        name: [estimate([row[name]["by_band"][k] for row in each], groups).as_dict() for k in range(len(mean_bands))]
        for name in ("model", "mean_spectrum")
    }
    result = {
        "map_correlation": correlation,
        "amplitude_error_db": _summaries(each, groups, "amplitude_error_db"),
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
        "model": [case.model.motion for case in cases],
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


def _summaries(each: list[dict], groups: list[str], key: str) -> dict[str, dict]:
    result = {}
    for name in dict.fromkeys(name for row in each for name in row):
        pairs = [(row[name][key], group) for row, group in zip(each, groups, strict=True) if key in row.get(name, {})]
        if pairs:
            result[name] = _estimate(pairs)
    return result


def _estimate(pairs: list[tuple[float, str]]) -> dict:
    return estimate([value for value, _ in pairs], [group for _, group in pairs]).as_dict()


def naturalness(cases: Sequence[Case]) -> dict:
    """Phase coherence and wrap jump of predicted and of true motion, which should be alike."""
    result: dict[str, dict] = {"phase_coherence": {}, "wrap_jump": {}}
    for name in ("model", *cases[0].truths):
        described = [(case.model if name == "model" else case.truths[name], case.video) for case in cases]
        result["wrap_jump"][name] = _estimate([(d.wrap, video) for d, video in described])
        coherence = [(d.coherence, video) for d, video in described if d.coherence is not None]
        if coherence:
            result["phase_coherence"][name] = _estimate(coherence)
    return result
