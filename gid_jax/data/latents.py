"""The VAE's latents of a data set, computed once (`config.cache_latents`), for stages 2 and 3 in place of spectra.

A folder for each split, VAE and data set holds files of `PER_FILE` examples, float32 [n, k, h/4, w/4, c]. A file gets
its name once it is whole; what is missing is computed, so that an interrupted run goes on.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from gid_jax.data import codec
from gid_jax.data.source import INFO_FILE, Source
from gid_jax.errors import UserError
from gid_jax.progress import progress
from gid_jax.trees import Tree, path_name

PER_FILE = 256  # examples

Encode = Callable[[np.ndarray], Any]  # spectrum [k, h, w, 4] in px -> latents [k, h/4, w/4, c], not whitened


class LatentSource:
    """A split whose examples also have `latents`, float32 [k, h/4, w/4, c]. Pickles as its place."""

    def __init__(self, spectra: Source, folder: Path):
        self._spectra, self._folder = spectra, folder
        self.name, self.statistics = spectra.name, spectra.statistics
        self._file = functools.cache(lambda number: np.load(_path(folder, number), mmap_mode="r"))

    def __len__(self) -> int:
        return len(self._spectra)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, place = divmod(int(index), PER_FILE)
        return {**self._spectra[index], "latents": self._file(number)[place]}

    def __reduce__(self) -> tuple:
        return LatentSource, (self._spectra, self._folder)

    def __repr__(self) -> str:
        return f"LatentSource({self._spectra!r}, {str(self._folder)!r})"


def with_latents(spectra: Source, root: str, encode: Encode, encoder: Tree, num_frequencies: int) -> LatentSource:
    """The split with latents under `root`. Those that are missing are computed first, a share by each process.

    `encoder` is all that they depend on beside the data, arrays and names: those of another one lie in another folder.
    Raises UserError where they cannot be written.
    """
    folder = Path(root).absolute() / f"{spectra.split}-{_fingerprint(spectra, encoder, num_frequencies)}"
    numbers = range(-(-len(spectra) // PER_FILE))
    # Its own share first; then what is still missing, which is everything of others where the folder is not shared.
    for mine in (numbers[jax.process_index() :: jax.process_count()], numbers):
        missing = [number for number in mine if not _path(folder, number).exists()]
        for number in progress(missing, name=f"latents, {spectra.split}", unit="file") if missing else ():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _write(_path(folder, number), spectra, number, encode, num_frequencies)
            except OSError as error:
                message = f"cannot be written ({error.strerror}); make room or choose another folder"
                raise UserError(f"config.cache_latents={root}: {message}") from error
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"latents {folder.name}")
    return LatentSource(spectra, folder)


def _write(path: Path, spectra: Source, number: int, encode: Encode, num_frequencies: int) -> None:
    latents = []
    for index in range(number * PER_FILE, min((number + 1) * PER_FILE, len(spectra))):
        example = codec.decode_example(spectra[index], frequencies=range(num_frequencies), pairs=False)
        latents.append(encode(example["spectrum"]))  # which goes on while the next one is decoded
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, np.stack(jax.device_get(latents)).astype(np.float32))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _fingerprint(spectra: Source, encoder: Tree, num_frequencies: int) -> str:
    """Of everything that the latents depend on."""
    content = hashlib.sha256((spectra.directory / INFO_FILE).read_bytes())
    content.update(f"{spectra.directory.name} {spectra.split} {len(spectra)} {num_frequencies}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(encoder):
        content.update(path_name(path).encode())
        content.update(leaf.encode() if isinstance(leaf, str) else np.ascontiguousarray(leaf).tobytes())
    return content.hexdigest()[:16]
