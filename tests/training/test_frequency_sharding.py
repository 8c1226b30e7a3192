"""Stage 3 with more chips than volumes: what the compiled step sends between devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from gid_jax import placement
from gid_jax.training import compiled, sharding


def compile_step(mesh, batch_size=2):
    """The program's state shapes and placements, and its compiled text."""
    config = tiny.load_config("coordinated", batch_size=batch_size)
    config.mesh = ConfigDict(mesh)
    devices = jax.devices()[: mesh["data"] * mesh["fsdp"] * mesh["freq"]]
    program, lowered = compiled.lower_step(config, sharding.make_mesh(mesh, devices))
    return program, lowered.compile().as_text()


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 6], ids=["one volume a share", "three volumes a share"])
def test_slices_are_exchanged_for_positions_kernels_gathered_and_nothing_else_moves(batch_size):
    """Per frequency attention one all-to-all there and one back, in the forward and in the backward pass."""
    config = tiny.load_config("coordinated")
    blocks = config.model.unet.blocks_per_level
    levels = len(config.model.unet.multipliers)
    layers = levels * blocks + 2 + levels * (blocks + 1)
    program, text = compile_step({"data": 2, "fsdp": 1, "freq": 4}, batch_size)
    found = compiled.collectives(text)
    assert "collective-permute" not in found
    assert found["all-to-all"]["count"] <= 4 * layers
    leaves = zip(jax.tree.leaves(program.shapes), jax.tree.leaves(program.shardings), strict=True)
    split = {leaf.shape for leaf, place in leaves if not place.is_fully_replicated}
    gathered = re.findall(r"= \w+\[([\d,]+)\]\S* all-gather", text)
    assert gathered and {tuple(map(int, sizes.split(","))) for sizes in gathered} <= split


@pytest.mark.slow
def test_without_sharing_of_slices_only_gradients_are_summed():
    _, text = compile_step({"data": 2, "fsdp": 1, "freq": 1})
    assert compiled.collectives(text).keys() == {"all-reduce"}


def test_joined_slices_stay_where_they_are_and_come_back():
    mesh = sharding.make_mesh({"data": 2, "fsdp": 1, "freq": 4})
    x = np.arange(6 * 8 * 5).reshape(6, 8, 5)
    plain = placement.join(jnp.asarray(x))
    np.testing.assert_array_equal(plain, x.reshape(48, 5))
    with jax.set_mesh(mesh):
        place = jax.jit(lambda x: placement.constrain(x, placement.VOLUMES))
        joined = jax.jit(placement.join)(place(x))
        back = jax.jit(placement.split, static_argnums=1)(joined, 8)
        text = jax.jit(placement.join).lower(place(x)).compile().as_text()
    np.testing.assert_array_equal(back, x)
    assert sorted(np.asarray(joined)[:, 0].tolist()) == sorted(x[..., 0].reshape(-1).tolist())
    assert not compiled.collectives(text)


@pytest.mark.parametrize("count", [4, 3], ids=["shared", "not divided"])
def test_a_function_of_our_own_sees_its_device_s_part_or_all(count):
    mesh = sharding.make_mesh({"data": 2, "fsdp": 1, "freq": 4})
    seen = []

    def double(x):
        seen.append(x.shape)
        return 2 * x

    x = jnp.arange(3 * count).reshape(count, 3)
    with jax.set_mesh(mesh):
        doubled = jax.jit(placement.per_device(double, placement.BATCH))(x)
    np.testing.assert_array_equal(doubled, 2 * x)
    assert seen == [(count // 2 if count == 4 else count, 3)]
