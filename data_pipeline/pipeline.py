"""The build's Beam pipelines: videos to timelines, start frames to examples, examples to statistics.

Only names travel between the steps; examples lie in the store, so a worker that dies costs what it had in hand.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from ml_collections import ConfigDict

from data_pipeline.examples import Clip, ExampleStore, load_example
from data_pipeline.statistics import CombineSpectra, SpectrumSums
from data_pipeline.trajectories import Estimator
from gid_jax.data.codec import decode_field
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError

_LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


@dataclasses.dataclass(frozen=True)
class StoreSpec:
    """What a worker needs to open the `ExampleStore`."""

    folder: str
    config: ConfigDict
    estimator: Estimator

    def open(self) -> ExampleStore:
        return ExampleStore(Path(self.folder), self.config, self.estimator)


def parse_options(arguments: Sequence[str]) -> PipelineOptions:
    """Beam's own flags. Raises `UserError` for one that Beam does not know either."""
    parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    for options in {str(cls): cls for cls in PipelineOptions.__subclasses__()}.values():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise UserError(f"{unknown[0]}: neither a flag of this command nor one of Beam's; see --help")
    return PipelineOptions(["--default_sdk_harness_log_level=ERROR", *arguments])


def find_runner(options: PipelineOptions) -> str | None:
    """The runner that was asked for, None for Beam's own on this machine."""
    runner = options.view_as(StandardOptions).runner
    return None if runner == "DirectRunner" else runner


def read_timelines(clips: Sequence[Clip], spec: StoreSpec, options: PipelineOptions) -> None:
    """Fills the store with the timeline, or the reason against it, of every clip."""
    with _pipeline(options) as root:
        root | beam.Create(list(clips)) | "read timelines" >> beam.ParDo(_ReadTimeline(spec))


def make_examples(starts: Sequence[tuple[Clip, int]], spec: StoreSpec, options: PipelineOptions) -> None:
    """Fills the store with an example, or the reason against it, for every start frame."""
    with _pipeline(options) as root:
        elements = root | beam.Create(list(starts))
        if find_runner(options) or (options.view_as(DirectOptions).direct_num_workers or 1) > 1:
            elements = elements | beam.Reshuffle()  # one video's clips go to many workers; one worker reads in order
        elements | "make examples" >> beam.ParDo(_MakeExample(spec))


def compute_statistics(paths: Sequence[str], config: ConfigDict, out: Path, options: PipelineOptions) -> None:
    """Writes the `DatasetStatistics` of the training examples at `paths` to `out`."""
    with _pipeline(options) as root:
        spectra = root | beam.Create(sorted(paths)) | "decode" >> beam.Map(_load_spectrum)
        sums = spectra | beam.CombineGlobally(CombineSpectra(config.num_frequencies))
        sums | "write" >> beam.Map(_write_statistics, config.to_json(), str(out))


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    return beam.Pipeline(runner=find_runner(options) or _LOCAL_RUNNER, options=options)


class _WithStore(beam.DoFn):
    def __init__(self, spec: StoreSpec):
        self._spec = spec

    def setup(self) -> None:
        self._store = self._spec.open()


class _ReadTimeline(_WithStore):
    def process(self, clip: Clip) -> None:
        try:
            self._store.starts(clip)
            beam.metrics.Metrics.counter("gid_motion", "videos_read").inc()
        except UserError:
            beam.metrics.Metrics.counter("gid_motion", "videos_rejected").inc()


class _MakeExample(_WithStore):
    def process(self, element: tuple[Clip, int]) -> None:
        try:
            self._store.summary(*element)
            beam.metrics.Metrics.counter("gid_motion", "examples").inc()
        except UserError:
            beam.metrics.Metrics.counter("gid_motion", "clips_rejected").inc()


def _load_spectrum(path: str) -> np.ndarray:
    return np.stack([decode_field(stream) for stream in load_example(path)["spectrum"]])


def _write_statistics(sums: SpectrumSums, config_json: str, out: str) -> None:
    config = json.loads(config_json)
    DatasetStatistics(
        scales=sums.percentile(95).astype(np.float32),
        mean_power=sums.mean_power().astype(np.float32),
        num_examples=sums.num_examples,
        **{name: config[name] for name in ("width", "height", "fps", "num_frames")},
    ).save(out)
