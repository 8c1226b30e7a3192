"""One evaluation, from data set and model to metrics.json and report.html."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.data.source import Source
from gid_jax.errors import UserError
from gid_jax.evaluation import examples, motion, plots, rendering, report
from gid_jax.evaluation.distributions import missing_distributions
from gid_jax.evaluation.model import Model
from gid_jax.motion.spectrum import PERIOD, at_times, from_rest
from gid_jax.progress import progress
from gid_jax.streams import LAST_SEED, check_seed

FORMAT = 1  # of metrics.json


def evaluate(model: Model, train: Source, test: Source, config: ConfigDict, out: Path) -> dict:
    """Measures `model` on `test`, writes metrics.json and report.html into `out` and returns the metrics.

    `train` gives the baseline that has not seen the picture. Raises UserError where model, data set and protocol do not
    fit together.
    """
    check(model, test, config)
    indices = examples.spread(len(test), config.num_examples)
    shown = set(examples.spread(len(indices), config.scenes))
    crop = (config.crop.width, config.crop.height)
    mean_map = examples.mean_motion_map(train, config.training_maps)
    mean_bands = np.sqrt(2.0 * train.statistics.mean_power[: model.num_frequencies])  # two components, x and y

    cases: list[motion.Case] = []
    rendered: list[dict] = []
    scenes: list[plots.Scene] = []
    bar = progress(name="evaluating", total=len(indices), unit="picture")
    for first in range(0, len(indices), config.batch_size):
        batch = [examples.read(test, i, model.num_frequencies) for i in indices[first : first + config.batch_size]]
        spectra = _predict(model, batch, config)
        for example, spectrum in zip(batch, spectra, strict=True):
            case = motion.Case(
                example.index,
                example.video,
                example.start,
                motion.describe(spectrum),
                {name: motion.describe(truth) for name, truth in example.truths.items()},
            )
            rendered.append(rendering.measure(model, example, crop))
            if len(cases) in shown:
                scenes.append(_scene(model, example, case, spectrum))
            cases.append(case)
            bar.update()
    bar.close()

    metrics = _collect(cases, rendered, mean_map, mean_bands, config)
    metrics = {"format": FORMAT, "protocol": protocol(model, test, len(indices), config)} | metrics
    report.write(out, metrics, plots.draw(metrics, cases, scenes, mean_map, mean_bands, test.statistics))
    return metrics


def check(model: Model, test: Source, config: ConfigDict) -> None:
    """Raises UserError where model, data set and protocol do not fit together."""
    statistics = test.statistics
    if (model.width, model.height) != (statistics.width, statistics.height):
        raise UserError(
            f"--bundle was trained at {model.width} x {model.height}, but --data_dir holds "
            f"{statistics.width} x {statistics.height}; build the data set with the bundle's preset"
        )
    if model.num_frequencies > len(statistics.scales):
        raise UserError(
            f"--data_dir holds {len(statistics.scales)} frequencies, --bundle predicts {model.num_frequencies}"
        )
    if config.crop.width > model.width or config.crop.height > model.height:
        raise UserError(
            f"--config: the crop {config.crop.width} x {config.crop.height} is larger than the pictures, "
            f"{model.width} x {model.height}; choose the preset of their size"
        )
    for name in ("num_examples", "batch_size", "training_maps"):
        if config[name] < 1:
            raise UserError(f"--config.{name}={config[name]} must be at least 1")
    check_seed(config.seed, "--config.seed")


def protocol(model: Model, test: Source, count: int, config: ConfigDict) -> dict:
    """What was done, in words and numbers, for whoever reads the figures."""
    return {
        "data_set": test.name,
        "split": test.split,
        "examples": count,
        "examples_in_split": len(test),
        "picture": [model.width, model.height],
        "frequencies": model.num_frequencies,
        "fps": test.statistics.fps,
        "period_frames": PERIOD,
        "interval": "95 %, percentile bootstrap over videos, 2000 resamples",
        "motion_area": "whole picture, at the model's resolution",
        "resize": "none: pictures as stored",
        "renderer_pairs": "stored pairs (start frame, later frame) with the motion estimated between them",
    } | config.to_dict()


def _predict(model: Model, batch: list[examples.Example], config: ConfigDict) -> np.ndarray:
    """Spectra of a batch. A last, smaller one is filled up, so that only one shape is compiled."""
    filled = [batch[min(i, len(batch) - 1)] for i in range(config.batch_size)]
    images = np.stack([example.image for example in filled])
    seeds = [(config.seed + example.index) % (LAST_SEED + 1) for example in filled]
    return np.asarray(model.predict(images, seeds))[: len(batch)]


def _scene(model: Model, example: examples.Example, case: motion.Case, spectrum: np.ndarray) -> plots.Scene:
    """What the report shows of one example: maps, and how the liveliest row of pixels moves with predicted and true
    motion."""
    truth = "exact" if example.exact is not None else "stored"
    row = int(np.argmax(case.truths[truth].map.sum(axis=1)))
    slices = []
    for volume in (example.truths[truth], spectrum):
        motions = np.asarray(at_times(from_rest(volume), np.arange(PERIOD, dtype=np.float32)))
        frames = model.render(example.image, motions, np.linalg.norm(motions, axis=-1).mean(axis=0))
        slices.append(np.clip(frames[:, row], 0, 1))
    return plots.Scene(case, truth, example.image, row, *slices)


def _collect(
    cases: list[motion.Case], rendered: list[dict], mean_map: np.ndarray, mean_bands: np.ndarray, config: ConfigDict
) -> dict:
    truths = [name for name in ("exact", "stored") if name in cases[0].truths]
    compared = {name: motion.compare(cases, name, mean_map, mean_bands) for name in truths}
    figures = {name: result for name, (result, _) in compared.items()}
    each = [
        {
            "index": case.index,
            "video": case.video,
            "start": case.start,
            "motion": {name: rows[place] for name, (_, rows) in compared.items()},
            "renderer": rendered[place],
        }
        for place, case in enumerate(cases)
    ]
    return {
        "summary": summary(figures, truths[0]),
        "motion": figures,
        "naturalness": motion.naturalness(cases),
        "renderer": rendering.summarise(rendered, [case.video for case in cases]),
        "distributions": missing_distributions(config.windows),
        "examples": each,
    }


def summary(figures: dict, truth: str) -> dict:
    """The one question first: does the picture tell the model where to move?

    `beats_...` is true where the whole interval of the paired difference lies above zero, None where there is no
    interval.
    """
    correlation = figures[truth]["map_correlation"]
    result: dict = {"truth": truth, "map_correlation": {name: value["mean"] for name, value in correlation.items()}}
    for baseline in ("mean_spectrum", "shuffled"):
        low = correlation.get(f"model_minus_{baseline}", {}).get("low")
        result[f"beats_{baseline}"] = None if low is None else low > 0
    return result
