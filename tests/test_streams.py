"""Keys of seeds: all 63 bits count, and the seeds that fit into 32 mean what they always meant."""

import zlib

import jax
import numpy as np
import pytest

from gid_jax.errors import UserError
from gid_jax.streams import LAST_SEED, check_seed, stream_key


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 - 1])
def test_a_seed_of_32_bits_is_jaxs_own(seed):
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"latents")), 3)
    assert key == stream_key(seed, "latents", 3)


def test_every_bit_of_a_seed_counts():
    seeds = [0, 1, *(2**bit for bit in range(1, 63)), 2**32 + 1, LAST_SEED, np.int64(LAST_SEED - 1)]
    keys = {tuple(jax.random.key_data(stream_key(seed, "latents", 0)).tolist()) for seed in seeds}
    assert len(keys) == len(seeds)


def test_steps_may_be_traced():
    assert jax.jit(lambda step: stream_key(2**40, "loss", step))(5) == stream_key(2**40, "loss", 5)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_what_is_no_seed_is_named(seed):
    with pytest.raises(UserError, match=f"config.seed={seed} is no seed"):
        check_seed(seed, "config.seed")
    with pytest.raises(UserError, match=f"seed={seed}"):
        stream_key(seed, "latents", 0)
