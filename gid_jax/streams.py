"""Randomness is a function of (seed, stream name, step): no key is stored, a resumed run draws what it would have."""

import zlib

import jax


def stream_key(seed: int, name: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of a named stream; `step` may be traced. Different names or steps give independent keys."""
    stream = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    return jax.random.fold_in(stream, step)
