"""Optical flow that is kept: the same pictures never cost twice, whatever is changed behind it."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from gid_jax import flow


@dataclasses.dataclass(frozen=True)
class StoredFlow:
    """`flow.follow` whose results lie in `folder`, to 1/1024 of their length, under names made from the pictures."""

    folder: str

    def __call__(self, source: np.ndarray, targets: np.ndarray, preset: str, **options: np.ndarray) -> np.ndarray:
        name = hashlib.sha256(preset.encode())
        for pictures in (source, targets, *options.values()):
            name.update(np.ascontiguousarray(pictures).tobytes())
        path = Path(self.folder) / f"{name.hexdigest()[:24]}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part.npy")
            np.save(partial, np.asarray(flow.follow(source, targets, preset, **options), np.float16))
            partial.rename(path)
        return np.load(path).astype(np.float32)
