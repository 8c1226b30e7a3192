"""Randomness is a function of (seed, stream name, step): no key is stored, a resumed run draws what it would have."""

import zlib

import jax
import numpy as np

from gid_jax.errors import UserError

LAST_SEED = 2**63 - 1  # seeds are 0 ... LAST_SEED


def check_seed(seed: int, name: str) -> None:
    """Raises UserError, in which the seed is called `name`, unless it is one."""
    if not 0 <= seed <= LAST_SEED:
        raise UserError(f"{name}={seed} is no seed: give a whole number from 0 to {LAST_SEED}")


def stream_key(seed: int, name: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of a named stream; `step` may be traced. Different seeds, names or steps give independent
    keys. Raises UserError for what is no seed.
    """
    check_seed(seed, "seed")
    high, low = divmod(int(seed), 2**32)  # JAX would drop the high bits
    key = jax.random.key(np.uint32(low))
    if high:
        key = jax.random.fold_in(key, high)
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)
