"""When libtpu is asked: on machines with a TPU, and by who compiles for one. Elsewhere it prints errors."""

import importlib.util
import os
import re
from pathlib import Path

NOT_A_LIBRARY = __file__
WITHOUT_A_TPU = {  # else it asks the machine what it is, and complains of the answer
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def leave_alone() -> None:
    """Keeps JAX, as long as it has no devices yet, from trying libtpu on a machine without a TPU.

    JAX has no setting that leaves out one platform and keeps all others; a library that cannot be loaded does. Nothing
    changes for who names platforms, or anything of TPUs, in the environment.
    """
    spec = importlib.util.find_spec("libtpu")
    if spec is None or spec.origin is None:
        return
    own = {
        "TPU_LIBRARY_PATH": str(Path(spec.origin).with_name("libtpu.so")),
        "TPU_SKIP_MDS_QUERY": "1",
    }  # JAX sets them
    named = [name for name in os.environ if re.match("TPU_|JAX_PLATFORMS$|JAX_FORCE_TPU_INIT$", name)]
    if all(os.environ[name] == own.get(name) for name in named) and not _may_have_tpu():
        os.environ["TPU_LIBRARY_PATH"] = NOT_A_LIBRARY


def ask() -> None:
    """Prepares the environment for compiling, on any machine."""
    if os.environ.get("TPU_LIBRARY_PATH") == NOT_A_LIBRARY:
        del os.environ["TPU_LIBRARY_PATH"]
    for name, value in WITHOUT_A_TPU.items():
        os.environ.setdefault(name, value)


def _may_have_tpu() -> bool:
    """A TPU's device file, or a device of Google's on the PCI bus that is neither storage nor network."""
    files = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    devices = [path for path in Path("/sys/bus/pci/devices").glob("*") if _read(path / "vendor") == "0x1ae0"]
    return bool(files) or any(not _read(path / "class").startswith(("0x01", "0x02")) for path in devices)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
