"""Random access to the stored examples of a finished data set, without TensorFlow."""

import re
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from gid_jax.data import statistics
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError

DATASET = "gid_motion"
INFO_FILE = "dataset_info.json"  # TFDS writes it last


class Source:
    """One split: `len(source)` raw examples as `codec.EXAMPLE` describes them, `source[i]` in stored order.

    `statistics` are those of the whole data set, `name` is its builder configuration, `directory` where its files lie.
    Pickles as its place, so that loader processes open the files themselves.
    """

    def __init__(self, directory: Path, split: str):
        builder = tfds.builder_from_directory(directory)
        if split not in builder.info.splits or not builder.info.splits[split].num_examples:
            raise UserError(f"{directory}: no examples in split {split!r}; build the data set with more clips")
        _check_shards(directory, builder.info.splits[split])
        self.directory, self.split = directory, split
        self.name: str = builder.info.config_name or builder.info.name
        self.statistics = DatasetStatistics.load(directory / statistics.FILE_NAME)
        self._examples = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._examples[index]

    def __reduce__(self) -> tuple:
        return Source, (self.directory, self.split)

    def __repr__(self) -> str:
        return f"Source({str(self.directory)!r}, {self.split!r})"


def open_source(data_dir: str | Path, split: str) -> Source:
    """Opens `split` ("train" or "test") of the one finished data set under `data_dir`.

    `data_dir` is what `data_pipeline.build` was given, or the folder of a version itself. Raises UserError where
    there is no data set, an unfinished one, or more than one.
    """
    return Source(find_dataset(Path(data_dir).expanduser()), split)


def find_dataset(data_dir: Path) -> Path:
    """Folder of the one finished builder configuration and version at or under `data_dir`."""
    remedy = "build it with `python -m data_pipeline.build --videos=... --data_dir=" + f"{data_dir}`"
    if re.search(r"[\ud800-\udfff]", str(data_dir)):  # which ArrayRecord cannot open
        raise UserError(f"--data_dir={data_dir}: not UTF-8; rename the folder")
    if not data_dir.is_dir():
        raise UserError(f"--data_dir={data_dir}: no such folder; {remedy}")
    if _is_finished(data_dir):
        return data_dir
    root = data_dir if data_dir.name == DATASET else data_dir / DATASET
    finished = sorted(path.parent for path in root.glob(f"*/*/{INFO_FILE}") if _is_finished(path.parent))
    if len(finished) > 1:
        found = ", ".join(str(path) for path in finished)
        raise UserError(f"--data_dir={data_dir}: several data sets ({found}); name the folder of one")
    if not finished:
        state = "the data set is not finished" if root.is_dir() else f"no data set {DATASET!r}"
        raise UserError(f"--data_dir={data_dir}: {state}; {remedy} (it continues where it stopped)")
    return finished[0]


def _is_finished(directory: Path) -> bool:
    return (directory / INFO_FILE).is_file() and (directory / statistics.FILE_NAME).is_file()


def _check_shards(directory: Path, split: tfds.core.SplitInfo) -> None:
    missing = [name for name in split.filenames if not (directory / name).is_file()]
    if missing:
        raise UserError(f"{directory}: {missing[0]} is missing; delete the folder and build the data set again")
