"""One evaluation, from data set and model to metrics.json and report.html."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.data.source import Source
from gid_jax.errors import UserError
from gid_jax.evaluation import clip_features, distributions, examples, motion, plots, rendering, report, showcase
from gid_jax.evaluation.baselines import swaying
from gid_jax.evaluation.comparison import Other
from gid_jax.evaluation.measured import Measured
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.rows import Sampled, find_neighbours, rows
from gid_jax.evaluation.subjects import Subjects
from gid_jax.metrics import networks
from gid_jax.models.i3d import FEWEST_FRAMES
from gid_jax.motion.spectrum import PERIOD
from gid_jax.progress import progress
from gid_jax.streams import check_seed

FORMAT = 2  # of metrics.json


@dataclass
class Found:
    """What is known of each example, in their order; `files` of those in `referenced` only."""

    cases: list[motion.Case] = field(default_factory=list)
    rendered: list[dict] = field(default_factory=list)
    referenced: list[int] = field(default_factory=list)
    files: dict[str, distributions.Files] = field(default_factory=dict)

    def of(self, chosen: Sequence[int]) -> "Found":
        places = [place for place, i in enumerate(self.referenced) if i in set(chosen)]
        return Found(
            [self.cases[i] for i in chosen],
            [self.rendered[i] for i in chosen],
            [chosen.index(self.referenced[place]) for place in places],
            {name: [files[place] for place in places] for name, files in self.files.items()},
        )


def evaluate(
    model: Model,
    train: Source,
    test: Source,
    config: ConfigDict,
    out: Path,
    *,
    independent: Model | None = None,
    identity: str | None = None,
    other: Other | None = None,
) -> dict:
    """Measures `model` on `test`, writes metrics.json and report.html into `out` and returns the metrics.

    `train` gives the baselines that have not seen the picture; `independent` is the model without coordination.
    `identity` stands for all that decides what the model does: with it, what takes long is kept in the user's cache
    and computed once. `other` is an earlier evaluation to compare with. Raises UserError where model, data set and
    protocol do not fit together.
    """
    check(model, test, config)
    subjects = Subjects.parse(config.subjects)
    indices = examples.spread(len(test), config.num_examples)
    if config.subjects:
        subjects.check([examples.video(test, i) for i in indices])
    with tempfile.TemporaryDirectory() as temporary:
        folder = networks.writable_cache("eval") if identity else Path(temporary)
        measuring = _Measuring(model, train, test, config, indices, folder, independent, identity or "")
        found = measuring.measure()
        metrics = _collect(found, measuring, config, subjects)
        sources = {subjects.of(case.video)[0] for case in found.cases} if config.subjects else set()
        metrics["sources"] = {
            source: _collect(found.of(chosen), measuring, config, subjects)
            for source in sorted(sources)
            if (chosen := [i for i, case in enumerate(found.cases) if subjects.of(case.video)[0] == source])
        }
    metrics["examples"] = _examples(found, measuring, subjects)
    metrics = {"format": FORMAT, "protocol": protocol(model, test, found, config, measuring)} | metrics
    if other is not None:
        metrics["comparison"] = other.compare(metrics, subjects)
    truth = metrics["summary"]["truth"]
    shown = showcase.shown(model, measuring.sampled, test, found.cases, truth, config)
    pictures = plots.draw(metrics, found.cases, shown.scenes, measuring.mean_map, measuring.mean_bands, test.statistics)
    report.write(out, metrics, pictures, shown.clips)
    return metrics


class _Measuring:
    """Everything that is measured example by example."""

    def __init__(
        self,
        model: Model,
        train: Source,
        test: Source,
        config: ConfigDict,
        indices: list[int],
        folder: Path,
        independent: Model | None,
        identity: str,
    ):
        self.model, self.test, self.indices, self.config, self.identity = model, test, indices, config, identity
        self.mean_map = examples.mean_motion_map(train, config.training_maps)
        power = train.statistics.mean_power[: model.num_frequencies]
        self.mean_bands = np.sqrt(2.0 * power)  # two components, x and y
        self.sampled = Sampled(model, config, len(test))
        alone = None if independent is None else Sampled(independent, config, len(test))
        self.chosen = clip_features.measures(distributions.protocol_of(config), videos=True)
        self.num_frames = test.statistics.num_frames
        self.measured = Measured(self.chosen, config, self.num_frames, folder)
        neighbours = find_neighbours(train, test, indices, config.training_maps, folder)
        mean = swaying(self.mean_map, self.mean_bands, config.seed)
        self.rows = rows(model, self.sampled, alone, identity, train, neighbours, mean, config)
        self._drawn = [self.sampled] if alone is None else [self.sampled, alone]

    def measure(self) -> Found:
        found = Found(files={row.name: [] for row in self.rows})
        bar = progress(name="evaluating", total=len(self.indices), unit="picture")
        for first in range(0, len(self.indices), self.config.batch_size):
            chosen = self.indices[first : first + self.config.batch_size]
            batch = [examples.read(self.test, i, self.model.num_frequencies) for i in chosen]
            self._add(found, batch)
            bar.update(len(batch))
        bar.close()
        return found

    def _add(self, found: Found, batch: list[examples.Example]) -> None:
        moved = {row.name: self.measured.motion(row, batch) for row in self.rows if row.name in motion.PREDICTED}
        with_clip = [i for i, example in enumerate(batch) if example.reference and self.chosen]
        for row in self.rows:
            found.files[row.name] += self.measured.features(row, [batch[i] for i in with_clip])
        found.referenced += [len(found.cases) + i for i in with_clip]
        for i, example in enumerate(batch):
            predicted = {name: described for name, of in moved.items() if (described := of[i])}
            truths = {name: motion.describe(truth) for name, truth in example.truths.items()}
            found.cases.append(motion.Case(example.index, example.video, example.start, predicted, truths))
            found.rendered.append(self.measured.renderer(self.model, self.identity, example))
        for drawn in self._drawn:
            drawn.forget()


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
    for name in ("num_examples", "batch_size", "training_maps", "samples", "windows.stride", "windows.frame_step"):
        if _setting(config, name) < 1:
            raise UserError(f"--config.{name}={_setting(config, name)} must be at least 1")
    for name in ("windows.fvd", "windows.fvd_long"):
        if _setting(config, name) < FEWEST_FRAMES:
            raise UserError(f"--config.{name}={_setting(config, name)}: I3D needs {FEWEST_FRAMES} frames or more")
    if config.windows.sliding_fid < config.windows.frame_step:
        raise UserError(
            f"--config.windows.sliding_fid={config.windows.sliding_fid} holds no frame where FID takes every "
            f"{config.windows.frame_step}th; lower --config.windows.frame_step"
        )
    check_seed(config.seed, "--config.seed")


def _setting(config: ConfigDict, name: str) -> int:
    for part in name.split("."):
        config = config[part]
    return config


def protocol(model: Model, test: Source, found: Found, config: ConfigDict, measuring: _Measuring) -> dict:
    """What was done, in words and numbers, for whoever reads the figures."""
    described = distributions.describe(measuring.chosen, config, measuring.num_frames)
    return (
        {
            "data_set": test.name,
            "split": test.split,
            "examples": len(found.cases),
            "examples_in_split": len(test),
            "examples_with_reference_clip": len(found.referenced),
            "picture": [model.width, model.height],
            "frequencies": model.num_frequencies,
            "fps": test.statistics.fps,
            "period_frames": PERIOD,
            "interval": "95 %, percentile bootstrap over videos, or subjects (config.subjects), 2000 resamples",
            "motion_area": "whole picture, at the model's resolution",
            "resize": "none: pictures as stored",
            "renderer_pairs": "stored pairs (start frame, later frame) with the motion estimated between them",
            "distances": described,
        }
        | config.to_dict()
        | {"subjects": list(config.subjects)}
    )


def _collect(found: Found, measuring: _Measuring, config: ConfigDict, subjects: Subjects) -> dict:
    """Every figure of the examples that are `found`."""
    cases = found.cases
    videos = [case.video for case in cases]
    truths = _truths(cases)
    figures = {
        name: motion.compare(cases, name, measuring.mean_map, measuring.mean_bands, subjects)[0] for name in truths
    }
    groups = [subjects.of(videos[i])[1] for i in found.referenced]
    return {
        "summary": summary(figures, truths[0]),
        "motion": figures,
        "naturalness": motion.naturalness(cases, subjects),
        "renderer": rendering.summarise(found.rendered, videos, subjects),
        "distributions": distributions.distributions(
            found.files, groups, measuring.chosen, measuring.num_frames, config
        ),
    }


def _examples(found: Found, measuring: _Measuring, subjects: Subjects) -> list[dict]:
    compared = {
        name: motion.compare(found.cases, name, measuring.mean_map, measuring.mean_bands, subjects)[1]
        for name in _truths(found.cases)
    }
    return [
        {
            "index": case.index,
            "video": case.video,
            "start": case.start,
            **(dict(zip(("source", "subject"), subjects.of(case.video), strict=True)) if subjects.entries else {}),
            "motion": {name: each[place] for name, each in compared.items()},
            "renderer": found.rendered[place],
        }
        for place, case in enumerate(found.cases)
    ]


def _truths(cases: Sequence[motion.Case]) -> list[str]:
    return [name for name in ("exact", "stored") if name in cases[0].truths]


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
