"""The build's Beam pipelines: videos to timelines, start frames to examples, examples to statistics.

Only names travel between the steps; examples lie in the store, so a worker that dies costs what it had in hand.
"""

import collections
import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import grpc
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
from data_pipeline.workers import WorkerProcess, follow_parent
from gid_jax.data.codec import decode_field
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError

Counters = dict[str, int]

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


def reason_kind(reason: str) -> str:
    """What a reason begins with, without its particulars: `too short` of `too short: 1.20 s, a clip needs 5.00 s`."""
    return re.split(r"\s*[:(,]| after \d", reason, maxsplit=1)[0]


def read_timelines(clips: Sequence[Clip], spec: StoreSpec, options: PipelineOptions) -> Counters:
    """Fills the store with the timeline, or the reason against it, of every clip."""
    counters: Counters = {}
    with _pipeline(options, counters) as root:
        root | beam.Create(list(clips)) | "read timelines" >> beam.ParDo(_ReadTimeline(spec))
    return counters


def make_examples(starts: Sequence[tuple[Clip, int]], spec: StoreSpec, options: PipelineOptions) -> Counters:
    """Fills the store with an example, or the reason against it, for every start frame."""
    counters: Counters = {}
    with _pipeline(options, counters) as root:
        elements = root | beam.Create(list(starts))
        if find_runner(options) or (options.view_as(DirectOptions).direct_num_workers or 1) > 1:
            elements = elements | beam.Reshuffle()  # one video's clips go to many workers; one worker reads in order
        elements | "make examples" >> beam.ParDo(_MakeExample(spec))
    return counters


def keep_clips(starts: Sequence[tuple[Clip, int]], spec: StoreSpec, options: PipelineOptions) -> Counters:
    """Fills the store with the reference clips of these examples."""
    counters: Counters = {}
    with _pipeline(options, counters) as root:
        root | beam.Create(list(starts)) | "keep clips" >> beam.ParDo(_KeepClip(spec))
    return counters


def compute_statistics(paths: Sequence[str], config: ConfigDict, out: Path, options: PipelineOptions) -> None:
    """Writes the `DatasetStatistics` of the training examples at `paths` to `out`."""
    with _pipeline(options, {}) as root:
        spectra = root | beam.Create(sorted(paths)) | "decode" >> beam.Map(_load_spectrum)
        sums = spectra | beam.CombineGlobally(CombineSpectra(config.num_frequencies))
        sums | "write" >> beam.Map(_write_statistics, config.to_json(), str(out))


@contextlib.contextmanager
def _pipeline(options: PipelineOptions, counters: Counters) -> Iterator[beam.Pipeline]:
    """Runs what is built inside and adds this project's counters to `counters`. Raises `WorkerLost`."""
    WorkerProcess.lost = None
    report_thread = threading.excepthook
    threading.excepthook = lambda failed: None if issubclass(failed.exc_type, grpc.RpcError) else report_thread(failed)
    try:
        with beam.Pipeline(runner=find_runner(options) or _LOCAL_RUNNER, options=options) as root:
            yield root
    except RuntimeError as error:
        if WorkerProcess.lost is None:
            raise
        raise WorkerProcess.lost from error
    finally:
        threading.excepthook = report_thread
    total = collections.Counter(counters)
    for counter in root.result.metrics().query(_METRICS)["counters"]:
        total[counter.key.metric.name] += counter.committed
    counters |= total


_METRICS = beam.metrics.MetricsFilter().with_namespace("gid_motion")


def _count(name: str) -> None:
    beam.metrics.Metrics.counter("gid_motion", name).inc()


class _WithStore(beam.DoFn):
    def __init__(self, spec: StoreSpec):
        self._spec = spec

    def setup(self) -> None:
        follow_parent()
        self._store = self._spec.open()


class _ReadTimeline(_WithStore):
    def process(self, clip: Clip) -> None:
        try:
            self._store.starts(clip)
            _count("videos decoded")
        except UserError as error:
            _count(f"videos rejected: {reason_kind(clip.without_path(error))}")


class _MakeExample(_WithStore):
    def process(self, element: tuple[Clip, int]) -> None:
        try:
            self._store.summary(*element)
            _count("examples made")
        except UserError as error:
            _count(f"clips rejected: {reason_kind(element[0].without_path(error))}")


class _KeepClip(_WithStore):
    def process(self, element: tuple[Clip, int]) -> None:
        _count("reference clips kept" if self._store.keep_clip(*element) else "reference clips left out")


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
