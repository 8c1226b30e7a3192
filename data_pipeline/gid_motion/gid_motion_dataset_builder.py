"""The TFDS builder of `gid_motion`: examples that are ready, as one ArrayRecord data set with splits train and test.

`data_pipeline.build` makes the examples and calls this. To read a finished set no builder code is needed:
`tfds.builder_from_directory(path).as_data_source("train")`, and `gid_jax.data.codec.decode_example` for each example.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from data_pipeline.examples import load_example
from gid_jax.data.codec import EXAMPLE


@dataclasses.dataclass(kw_only=True)
class GidMotionConfig(tfds.core.BuilderConfig):
    """Sizes of one variant. `exact` adds the exact spectrum and the visibility of rendered scenes."""

    width: int
    height: int
    num_frequencies: int = 25
    pairs: int = 4
    exact: bool = False


class Builder(tfds.core.BeamBasedBuilder):
    """`gid_motion`: start frames of videos with the spectra of their motion (DESIGN.md, section 4)."""

    name = "gid_motion"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        splits: Mapping[str, Sequence[str]],
        with_clips: frozenset[str] = frozenset(),
        distributed: bool = False,
        **kwargs: Any,
    ):
        """`splits` holds the paths of the examples, `with_clips` those that keep their clip. `distributed` writes on
        Beam's workers, not in this process."""
        self._splits, self._with_clips, self._distributed = splits, with_clips, distributed
        super().__init__(**kwargs)

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Like that of TFDS, with records that are the same bytes whichever process writes them."""
        with mock.patch.object(example_serializer, "ExampleSerializer", _Serializer):
            super().download_and_prepare(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        """Strings of bytes are the only coding that TFDS reads fast without TensorFlow."""
        config: GidMotionConfig = self.builder_config
        size = (config.height, config.width)
        features = {
            "image": tfds.features.Text(doc=EXAMPLE["image"]),
            "spectrum": tfds.features.Sequence(tfds.features.Text(), length=config.num_frequencies),
            "motion_weight": tfds.features.Tensor(shape=size, dtype=np.float16, encoding="bytes"),
            "target_frames": tfds.features.Sequence(tfds.features.Text(), length=config.pairs),
            "target_flows": tfds.features.Sequence(tfds.features.Text(), length=config.pairs),
            "target_times": tfds.features.Tensor(shape=(config.pairs,), dtype=np.int32),
            "video_id": tfds.features.Text(doc=EXAMPLE["video_id"]),
            "start": tfds.features.Scalar(np.int32),
            "fps": tfds.features.Scalar(np.float32),
            "scale": tfds.features.Scalar(np.float32),
            "flow_error": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "reference_clip": tfds.features.Text(doc=EXAMPLE["reference_clip"]),
        }
        if config.exact:
            features["exact_spectrum"] = tfds.features.Sequence(tfds.features.Text(), length=config.num_frequencies)
            features["visibility"] = tfds.features.Text(doc=EXAMPLE["visibility"])
        return tfds.core.DatasetInfo(
            builder=self,
            description="Pictures and the spectra of the motion of their pixels over the following five seconds.",
            features=tfds.features.FeaturesDict(features),
            homepage="https://generative-dynamics.github.io",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(paths) for split, paths in self._splits.items()}

    def _generate_examples(self, paths: Sequence[str]) -> Any:
        """Without Beam TFDS sorts on disk; Beam's runner on this machine would sort in memory."""
        if self._distributed:
            return beam.Create(sorted(paths)) | beam.Reshuffle() | beam.Map(_keyed_example, self._with_clips)
        return _read(paths, self._with_clips)


class _Serializer(example_serializer.ExampleSerializer):
    """Writes the fields in order of their names. TFDS leaves it to protobuf, which orders them anew in each process."""

    def serialize_example(self, example: Any) -> bytes:
        return self.get_tf_example(example).SerializeToString(deterministic=True)


def _read(paths: Sequence[str], with_clips: frozenset[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    return (_keyed_example(path, with_clips) for path in sorted(paths))


def _keyed_example(path: str, with_clips: frozenset[str]) -> tuple[str, dict[str, Any]]:
    return Path(path).stem, load_example(path, path in with_clips)
