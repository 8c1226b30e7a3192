"""Settings of every test: eight fake devices, shape checks, no silent broadcasting, warnings are errors."""

import os
import signal
import threading
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nearly all of the suite's time is compilation, and tests run each program a few times only.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import pytest
from jaxtyping import install_import_hook

if threading.current_thread() is threading.main_thread():
    # A shell's background jobs, and their children, ignore the Ctrl-C that tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook(
    ["gid_jax.motion", "gid_jax.flow", "gid_jax.diffusion", "gid_jax.render", "gid_jax.metrics"], "beartype.beartype"
)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and flow pairs beside the checkout."""
    if not (SHARED / "clips").is_dir():
        pytest.skip(f"no real clips: {SHARED} is absent")
    return SHARED
