"""How pictures are brought to a network's size. The distance depends on it, so each way is exactly somebody's."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

Resize = Literal["clean", "legacy", "corners"]
"""`clean`: bicubic and antialiased as Pillow does it in float, cut to [0, 255] (clean-fid). `legacy`: bilinear as
TensorFlow 1 did it, source = target * in / out, no antialiasing. `corners`: bilinear, the corners on the corners."""


def resize(pictures: Shaped[np.ndarray, "n h w 3"], size: int, how: Resize) -> Float[jax.Array, "n s s 3"]:
    """uint8 pictures of any size at `size` x `size`, float32 in [0, 255]; those of that size already as they are.

    Raises ValueError for pictures that are not uint8.
    """
    if pictures.dtype != np.uint8:
        raise ValueError(f"pictures are uint8, 0 to 255, not {pictures.dtype}")
    height, width = pictures.shape[1:3]
    if (height, width) == (size, size):
        return jnp.asarray(pictures, jnp.float32)
    resized = _apply(pictures, matrix(height, size, how), matrix(width, size, how))
    return jnp.clip(resized, 0, 255) if how == "clean" else resized


@jax.jit
def _apply(pictures: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("float32"):
        narrowed = jnp.einsum("xw,nhwc->nhxc", columns, pictures.astype(jnp.float32))
        return jnp.einsum("yh,nhxc->nyxc", rows, narrowed)


@functools.cache
def matrix(inputs: int, outputs: int, how: Resize) -> Float[np.ndarray, "o i"]:
    """What each of `outputs` pixels takes of each of `inputs`, along one axis; every row sums to 1."""
    if how == "clean":
        return _bicubic(inputs, outputs)
    step = inputs / outputs if how == "legacy" else (inputs - 1) / max(outputs - 1, 1)
    position = np.arange(outputs) * step
    first = np.minimum(np.floor(position).astype(int), inputs - 1)
    share = position - first
    weights = np.zeros((outputs, inputs))
    np.add.at(weights, (np.arange(outputs), first), 1 - share)
    np.add.at(weights, (np.arange(outputs), np.minimum(first + 1, inputs - 1)), share)
    return weights.astype(np.float32)


def _bicubic(inputs: int, outputs: int) -> np.ndarray:
    """Keys' cubic, a = -1/2, widened by the reduction; taps outside the picture are left out."""
    scale = inputs / outputs
    wide = max(scale, 1.0)
    centre = (np.arange(outputs)[:, None] + 0.5) * scale
    first, last = np.floor(centre - 2 * wide + 0.5), np.floor(centre + 2 * wide + 0.5)
    position = np.arange(inputs)[None]
    x = np.abs((position - centre + 0.5) / wide)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0)) * ((position >= first) & (position < last))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
