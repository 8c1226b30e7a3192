"""Sweeps: each file here has a generator `get_points(preset)` of `Point`s, run by `python -m launch.sweep`."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Point:
    """One training run of a sweep.

    `name` is that of its workdir, below the sweep's. `config` is a stage with its preset, as gid_jax.train takes it:
    "configs/vae.py:demo". `overrides` are settings of it by dotted name: {"optimizer.learning_rate": 1e-3}. `needs`
    says which settings are workdirs of points that come earlier in the sweep: {"vae": "k4_vae"}; this point waits for
    them.
    """

    name: str
    config: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
