"""What takes long to compute, kept by what it was computed from."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from gid_jax.files import written


def load(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of `keep`; None where there is no such file or a damaged one."""
    try:
        with np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def keep(file: Path, **arrays: np.ndarray) -> None:
    """Raises UserError where it cannot be written."""
    with written(file, "GID_JAX_CACHE") as partial:
        np.savez(partial, **arrays)  # type: ignore[arg-type]


def digest(*parts: str | bytes) -> str:
    """32 hexadecimal digits that stand for `parts`, in their order."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:32]
