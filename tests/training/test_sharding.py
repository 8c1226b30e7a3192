"""Specs and shard shapes on eight devices, data x fsdp x freq = 2 x 2 x 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import PartitionSpec as P

from gid_jax.errors import UserError
from gid_jax.training import sharding
from gid_jax.training.batches import Prefetch, to_global
from gid_jax.training.step import compile_for

SIZES = {"data": 2, "fsdp": 2, "freq": 2}
SPLIT = ("fsdp", "freq")


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(SIZES)


def test_mesh_fills_data_and_refuses_what_does_not_fit(mesh):
    assert dict(mesh.shape) == SIZES
    assert dict(sharding.make_mesh({"data": -1, "fsdp": 4, "freq": 1}).shape) == {"data": 2, "fsdp": 4, "freq": 1}
    for wrong in (
        {"data": -1, "fsdp": 3, "freq": 1},
        {"data": 4, "fsdp": 1, "freq": 1},
        {"data": -1, "fsdp": 0, "freq": 1},
    ):
        with pytest.raises(UserError, match="does not fit 8 devices"):
            sharding.make_mesh(wrong)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((3, 3, 64, 32), P(None, None, SPLIT)),
        ((3, 3, 64, 64), P(None, None, None, SPLIT)),
        ((128, 64), P(SPLIT)),
        ((4095, 3), P()),  # nothing divisible
        ((64, 64), P()),  # small
        ((), P()),
    ],
)
def test_large_leaves_are_split_along_their_largest_divisible_axis(mesh, shape, spec):
    assert sharding.fsdp(shape, mesh) == spec


def test_first_matching_rule_wins(mesh):
    shapes = {"a": {"kernel": jax.ShapeDtypeStruct((256, 128), jnp.float32)}}
    rules = ((r"^a/kernel$", sharding.replicate), (r"kernel", sharding.fsdp))
    assert sharding.tree_shardings(shapes, mesh, rules)["a"]["kernel"].spec == P()
    assert sharding.tree_shardings(shapes, mesh, rules[1:])["a"]["kernel"].spec == P(SPLIT)
    with pytest.raises(ValueError, match="no sharding rule matches a/kernel"):
        sharding.tree_shardings(shapes, mesh, ())


def test_the_state_is_created_in_its_shards_and_optimiser_and_average_follow(mesh):
    task, config = tiny.toy()
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        state = program.init(sharding.place(task.inherit(), program.shardings.frozen))
    adam = state.opt_state[1][0]
    for kernel in (state.params["kernel"], state.ema["kernel"], adam.mu["kernel"], adam.nu["kernel"]):
        assert kernel.sharding.spec == P(SPLIT)
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(tiny.HEIGHT * tiny.WIDTH * 3 // 4, 8)}
    for bias in (state.params["bias"], adam.mu["bias"], state.frozen["scales"]):
        assert bias.sharding.is_fully_replicated
    table = sharding.describe(program.shapes.params, program.shardings.params)
    assert table.splitlines()[1].split() == ["kernel", "(7680,", "8)", "(('fsdp',", "'freq'),)"]


def test_batches_are_split_over_data_and_fsdp_and_volumes_over_freq(mesh):
    config = tiny.load_config("coordinated")
    batch = to_global(tiny.random_batch("volumes", config), "volumes", mesh)
    assert batch["spectrum"].sharding.spec == P(("data", "fsdp"), "freq")
    assert batch["spectrum"].addressable_shards[0].data.shape == (1, 2, tiny.HEIGHT, tiny.WIDTH, 4)
    assert batch["image"].addressable_shards[0].data.shape == (1, tiny.HEIGHT, tiny.WIDTH, 3)
    assert sharding.process_share(mesh) == (0, 1)


def test_batches_that_the_mesh_cannot_share_are_refused(mesh):
    def check(kind, **settings):
        sharding.check_batch(kind, tiny.load_config("coordinated", **settings), mesh)

    check("volumes", batch_size=8, microbatches=2)
    with pytest.raises(UserError, match="batch_size=6 must be a multiple of data x fsdp = 4"):
        check("slices", batch_size=6)
    with pytest.raises(UserError, match=r"batch_size=12 must .* data x fsdp = 4 times config\.microbatches=2"):
        check("slices", batch_size=12, microbatches=2)
    with pytest.raises(UserError, match=r"num_frequencies=5 must be a multiple of config\.mesh\.freq=2"):
        check("volumes", batch_size=4, num_frequencies=5)


def test_prefetch_keeps_the_order_and_passes_errors_on(mesh):
    def batches():
        for number in range(5):
            yield {"image": np.full((4, 1), number, np.float32)}
        raise UserError("disk gone")

    ahead = Prefetch(batches(), "slices", mesh)
    assert [float(next(ahead)["image"][0, 0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="disk gone"):
        next(ahead)
    ahead.close()
