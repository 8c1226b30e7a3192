"""Files of weights read as data: safetensors, PyTorch's checkpoints and TorchScript programs, pickles of numpy arrays.

Pickles are read by unpicklers that make arrays and plain containers and run nothing; what else a checkpoint pickles, of
PyTorch Lightning for example, becomes an inert placeholder.
"""

import collections
import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from gid_jax.errors import UserError

_UNREADABLE = (
    *(SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError),
    *(ValueError, TypeError, LookupError, AttributeError),
)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file, a PyTorch checkpoint (its "state_dict" if it has one), a TorchScript program
    or a pickle of nested dicts of numpy arrays; those of nested ones by dotted names. Raises UserError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_tensors(content, path)


def parse_tensors(content: bytes, name: str | Path) -> dict[str, np.ndarray]:
    """`read_tensors` of what a file called `name` holds."""
    try:
        if str(name).endswith(".safetensors"):
            tree: Any = load(content)
        elif zipfile.is_zipfile(io.BytesIO(content)):
            tree = _read_zip(content)
        elif _LEGACY_MAGIC in content[:64]:
            tree = _read_legacy(content)
        elif content.startswith(b"\x80"):
            tree = dict(_named(read_arrays(content)))
        else:
            raise ValueError("neither safetensors nor PyTorch's format")
        if isinstance(tree, _Inert):
            tree = dict(_named(tree.parts))
        while isinstance(tree.get("state_dict"), dict):
            tree = tree["state_dict"]
        arrays = {str(name): value for name, value in tree.items() if isinstance(value, np.ndarray)}
    except _UNREADABLE as error:
        raise UserError(f"{name}: not weights that can be read ({error}); download it again") from error
    if not arrays:
        raise UserError(f"{name}: holds no arrays")
    return arrays


def _named(tree: Any) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        inner = value.parts if isinstance(value, _Inert) else value
        if isinstance(inner, dict):
            yield from ((f"{name}.{rest}", leaf) for rest, leaf in _named(inner))
        else:
            yield str(name), inner


_NUMPY = {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


def read_arrays(content: bytes) -> Any:
    """A pickle of dicts, lists and numpy arrays. Raises pickle.UnpicklingError for one that asks for anything else."""
    return _ArraysOnly(io.BytesIO(content)).load()


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # as it is called since numpy 2
        if (module, name) not in _NUMPY:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return super().find_class(module, name)


_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": jnp.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class _Inert:
    """Stands for an object of a class that is not loaded; of whatever its pickle says it keeps a dict of attributes, as
    TorchScript has its tensors there."""

    parts: dict

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        inert = super().__new__(cls)
        inert.parts = {}
        return inert

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __setstate__(self, state: Any) -> None:
        self.parts = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, item: Any) -> None: ...
    def extend(self, items: Any) -> None: ...


class _TensorReader(pickle.Unpickler):
    """Unpickles what refers to raw arrays by their keys; `storage` gives the one of a key, a dtype and a length."""

    def __init__(self, file: io.BytesIO, storage: Callable[[str, np.dtype, int], np.ndarray]):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_tensor"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _Inert

    def persistent_load(self, key: tuple) -> np.ndarray:
        _, kind, number, _, count = key[:5]
        if any(part is not None for part in key[5:]):
            raise ValueError("a storage that is a part of another")
        return self._storage(str(number), kind if isinstance(kind, np.dtype) else np.dtype(np.uint8), count)


def _read_zip(content: bytes) -> Any:
    """What `torch.save` and `torch.jit.save` write: a pickle that refers to raw arrays beside it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickled = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        if pickled is None:
            raise ValueError("no data.pkl in the archive")
        root = pickled.removesuffix("data.pkl")

        def storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            return np.frombuffer(archive.read(f"{root}data/{key}"), dtype, -1 if dtype == np.uint8 else count)

        return _TensorReader(io.BytesIO(archive.read(pickled)), storage).load()


_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


def _read_legacy(content: bytes) -> Any:
    """What `torch.save` wrote before version 1.6: three pickles of a header, the object's, one of the storages' keys,
    and the storages, each after its length."""
    file = io.BytesIO(content)
    for _ in range(3):
        _ArraysOnly(file).load()
    start = file.tell()
    wanted: dict[str, tuple[np.dtype, int]] = {}

    def note(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        wanted[key] = dtype, count
        return np.broadcast_to(np.zeros((), dtype), count)

    _TensorReader(file, note).load()
    storages = {}
    for key in _ArraysOnly(file).load():
        dtype, count = wanted[key]
        length = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(length * dtype.itemsize), dtype, count)
    file.seek(start)
    return _TensorReader(file, lambda key, *_: storages[key]).load()


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else offset - 1
    if offset < 0 or min(stride, default=0) < 0 or last >= len(storage):
        raise ValueError("an array reaches beyond its storage")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False).copy()
