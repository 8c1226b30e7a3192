"""Largest values and means over small windows, along one axis after the other.

XLA's reduce_window costs a CPU several times what the maxima of shifted slices cost.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Padding = Literal["SAME", "VALID"]


def max_pool(x: jax.Array, size: Sequence[int], stride: Sequence[int], padding: Padding) -> jax.Array:
    """Largest of each window of [b, *positions, c]; padding, as TensorFlow pads, never is the largest."""
    pads = jax.lax.padtype_to_pads(x.shape[1:-1], size, stride, padding)
    for axis, (length, step, pad) in enumerate(zip(size, stride, pads, strict=True), start=1):
        if length > 1 or step > 1:
            widths = [(0, 0)] * x.ndim
            widths[axis] = pad
            padded = jnp.pad(x, widths, constant_values=-math.inf) if sum(pad) else x
            count = (padded.shape[axis] - length) // step + 1
            x = _shifted(padded, axis, 0, step, count)
            for offset in range(1, length):
                x = jnp.maximum(x, _shifted(padded, axis, offset, step, count))
    return x


def mean_of_neighbours(x: jax.Array) -> jax.Array:
    """Mean of 3 x 3 pixels of [b, h, w, c], at the edges of those that there are."""
    for axis in (1, 2):
        length, others = x.shape[axis], [i for i in range(4) if i != axis]
        padded = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)])
        before, here, after = (_shifted(padded, axis, offset, 1, length) for offset in range(3))
        counts = 3 - (np.arange(length) == 0) - (np.arange(length) == length - 1)
        x = (before + here + after) / np.expand_dims(counts.astype(x.dtype), others)
    return x


def _shifted(x: jax.Array, axis: int, offset: int, step: int, count: int) -> jax.Array:
    return jax.lax.slice_in_dim(x, offset, offset + (count - 1) * step + 1, step, axis)
