"""Stage 3 with more chips than volumes: what the compiled step sends between devices."""

import jax
import pytest
import tiny
from ml_collections import ConfigDict

from gid_jax.training import compiled, sharding


def sent(mesh, **settings):
    config = tiny.load_config("coordinated", batch_size=2, **settings)
    config.mesh = ConfigDict(mesh)
    devices = jax.devices()[: mesh["data"] * mesh["fsdp"] * mesh["freq"]]
    return compiled.collectives(compiled.lower_step(config, sharding.make_mesh(mesh, devices))[1].compile().as_text())


@pytest.mark.slow
def test_slices_are_exchanged_for_positions_and_nothing_else_moves():
    """Per frequency attention one all-to-all there and one back, in the forward and in the backward pass."""
    config = tiny.load_config("coordinated")
    blocks = config.model.unet.blocks_per_level
    levels = len(config.model.unet.multipliers)
    layers = levels * blocks + 2 + levels * (blocks + 1)
    found = sent({"data": 2, "fsdp": 1, "freq": 4})
    assert "collective-permute" not in found
    assert found["all-to-all"]["count"] <= 4 * layers
    assert found.get("all-gather", {"bytes": 0})["bytes"] < 2**16  # no activations


@pytest.mark.slow
def test_without_sharing_of_slices_only_gradients_are_summed():
    assert sent({"data": 2, "fsdp": 1, "freq": 1}).keys() == {"all-reduce"}
