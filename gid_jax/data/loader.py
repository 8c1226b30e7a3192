"""Batches for training and evaluation, on Grain.

The batch of a step is a function of (seed, step) alone: a restarted run asks for `start_step` and gets what it would
have got. The global batch is also the same on any number of processes: process p of n takes the p-th of n equal
consecutive parts.
"""

import functools
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import grain
import numpy as np
from absl import flags

from gid_jax.data import augment as augmentation
from gid_jax.data import codec
from gid_jax.data.latents import LatentSource
from gid_jax.data.source import Source
from gid_jax.errors import UserError

Kind = Literal["slices", "volumes", "pairs"]
Batch = dict[str, np.ndarray]

THREADS = 2  # per process or worker; each works on one batch
PREFETCHED = 4  # batches ready ahead of the step
TRUTH = ("exact_spectrum", "visibility")  # of rendered scenes; evaluation alone reads it


def make_loader(
    source: Source | LatentSource,
    *,
    kind: Kind,
    batch_size: int,
    num_frequencies: int,
    seed: int,
    train: bool,
    augment: bool,
    process_index: int = 0,
    process_count: int = 1,
    start_step: int = 0,
    num_workers: int = 0,
) -> Iterator[Batch]:
    """Iterates over this process's part of the global batches, numpy, from `start_step` on.

    `slices`: image [b, h, w, 3], spectrum [b, h, w, 4] of one frequency each, frequency int32 [b].
    `volumes`: image, spectrum [b, k, h, w, 4]. With a `LatentSource` both have `latents` [b, (k,) h/4, w/4, c] in place
    of the spectrum. `pairs`: image, target [b, h, w, 3], motion [b, h, w, 2], weight [b,
    h, w]. Images float32 in [0, 1]; spectrum, motion and weight float32 in px, not normalised; b = batch_size /
    process_count.

    Training: endless, shuffled anew in each epoch, frequency and pair drawn at random. Evaluation: the stored order,
    without randomness: element i has frequency i mod K, or pair i mod R. It ends after len(source) // batch_size
    batches, the same on every process; a source smaller than one batch is repeated to fill one.

    `num_workers` processes decode and augment; 0 means threads of this process.
    Raises UserError for a batch size that the processes cannot share and for more frequencies than stored.
    """
    if batch_size % process_count:
        raise UserError(f"config.batch_size={batch_size} must be a multiple of the {process_count} processes")
    stored = len(source.statistics.scales)
    if not 1 <= num_frequencies <= stored:
        raise UserError(f"config.num_frequencies={num_frequencies}: data set {source.name!r} holds 1 to {stored}")
    dataset = grain.MapDataset.source(source).seed(seed)
    if train:
        dataset = dataset.shuffle()
    dataset = dataset.repeat().map_with_index(_numbered)
    dataset = dataset.random_map(functools.partial(_READERS[kind], _Reading(num_frequencies, train, augment)))
    dataset = dataset.batch(batch_size // process_count, drop_remainder=True)
    if not train:
        dataset = dataset[: max(1, len(source) // batch_size) * process_count]
    dataset = dataset[start_step * process_count + process_index :: process_count]
    batches = dataset.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=PREFETCHED))
    if num_workers:
        flags.FLAGS.mark_as_parsed()  # Grain's worker processes read its own absl flags; its defaults are meant
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers), _ignore_ctrl_c)
    return iter(batches)


def _ignore_ctrl_c(worker: int, count: int) -> None:
    """A terminal sends it to all processes; the run still needs its workers until it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _numbered(index: int, raw: dict) -> tuple[int, dict]:
    """Drops what only evaluation reads, so that no time goes into decoding it."""
    return index, {name: value for name, value in raw.items() if name not in TRUTH}


@dataclass(frozen=True)
class _Reading:
    """How a stored example becomes one element of a batch."""

    num_frequencies: int
    random: bool
    augment: bool

    def choose(self, count: int, index: int, rng: np.random.Generator) -> int:
        return int(rng.integers(count)) if self.random else index % count


def _read_slice(reading: _Reading, numbered: tuple[int, dict], rng: np.random.Generator) -> Batch:
    index, raw = numbered
    frequency = reading.choose(reading.num_frequencies, index, rng)
    image, name, values = _read_frequencies(reading, raw, (frequency,), rng)
    return {"image": image, name: values[0], "frequency": np.int32(frequency)}


def _read_volume(reading: _Reading, numbered: tuple[int, dict], rng: np.random.Generator) -> Batch:
    _, raw = numbered
    image, name, values = _read_frequencies(reading, raw, range(reading.num_frequencies), rng)
    return {"image": image, name: values}


def _read_pair(reading: _Reading, numbered: tuple[int, dict], rng: np.random.Generator) -> Batch:
    index, raw = numbered
    chosen = reading.choose(len(raw["target_frames"]), index, rng)
    streams = {name: raw[name][chosen : chosen + 1] for name in ("target_frames", "target_flows", "target_times")}
    example = codec.decode_example(raw | streams, frequencies=(), pairs=True)
    image, target = _to_float(example["image"]), _to_float(example["target_frames"][0])
    motion, weight = example["target_flows"][0], example["motion_weight"].astype(np.float32)
    if reading.augment:
        geometry = augmentation.random_geometry(rng, *weight.shape)
        maps = np.concatenate([image, target, weight[..., None]], axis=-1)
        maps, motion = augmentation.transform(geometry, maps=maps, vectors=motion)
        colour = augmentation.random_colour(rng, maps[..., :3])
        image, target, weight = colour(maps[..., :3]), colour(maps[..., 3:6]), maps[..., 6] * np.float32(geometry.scale)
    return {"image": image, "target": target, "motion": motion, "weight": weight}


def _read_frequencies(
    reading: _Reading, raw: dict, frequencies: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, str, np.ndarray]:
    """Picture [h, w, 3], and "spectrum" with [k, h, w, 4] or "latents" with [k, h/4, w/4, c], of `frequencies`."""
    if "latents" not in raw:
        image, spectrum = _read_spectrum(reading, raw, frequencies, rng)
        return image, "spectrum", spectrum
    image = codec.decode_image(raw["image"])
    return _to_float(image), "latents", np.stack([raw["latents"][k] for k in frequencies])


def _read_spectrum(
    reading: _Reading, raw: dict, frequencies: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Picture [h, w, 3] and spectrum [k, h, w, 4] of `frequencies`, augmented with one geometry where asked for."""
    example = codec.decode_example(raw, frequencies=frequencies, pairs=False)
    image, spectrum = _to_float(example["image"]), example["spectrum"]
    if not reading.augment:
        return image, spectrum
    count, height, width, _ = spectrum.shape
    geometry = augmentation.random_geometry(rng, height, width)
    vectors = spectrum.transpose(1, 2, 0, 3).reshape(height, width, -1)
    image, vectors = augmentation.transform(geometry, maps=image, vectors=vectors)
    spectrum = vectors.reshape(height, width, count, 4).transpose(2, 0, 1, 3)
    return augmentation.random_colour(rng, image)(image), spectrum


def _to_float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255)


_READERS = {"slices": _read_slice, "volumes": _read_volume, "pairs": _read_pair}
