"""I3D (Carreira and Zisserman 2017): Inception-v1 inflated to videos, whose logits FVD compares.

Batch norms are folded into kernels and biases. Convolutions and maxima pad as TensorFlow's SAME does: with as much
before as after, or one more after.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax import placement
from gid_jax.models import layers
from gid_jax.models.pooling import max_pool

SIZE = 224
"""Height and width of the pictures that the network was trained on."""
FEWEST_FRAMES = 9
"""Of a video, for two of the last features, one for every eight frames."""
MIXED = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""Output channels of b0, b1a, b1b, b2a, b2b, b3b in the blocks 3b, 3c, 4b ... 4f, 5b, 5c."""
HALVED_BEFORE = {2: 3, 7: 2}
"""Blocks (4b, 5b) before which time and space are halved, by maxima of so many frames and pixels."""


class Unit(nnx.Module):
    """max(0, convolution + bias); the kernel is [n, n, n, inputs, outputs]."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, *, dtype: layers.DType, rngs: layers.Draws
    ):
        self.stride, self.dtype = stride, dtype
        self.kernel = nnx.Param(rngs.uniform((size,) * 3 + (inputs, outputs), (2 / (size**3 * inputs)) ** 0.5))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = convolve(x.astype(self.dtype), placement.whole(self.kernel[...], self.dtype), self.stride)
        return nnx.relu(y + layers.per_channel(self.bias[...], y))


class Mixed(nnx.Module):
    """Four branches side by side, [b, t, h, w, inputs] -> [b, t, h, w, b0 + b1b + b2b + b3b]."""

    def __init__(self, inputs: int, widths: tuple[int, ...], *, dtype: layers.DType, rngs: layers.Draws):
        self.b0 = Unit(inputs, widths[0], dtype=dtype, rngs=rngs)
        self.b1a = Unit(inputs, widths[1], dtype=dtype, rngs=rngs)
        self.b1b = Unit(widths[1], widths[2], 3, dtype=dtype, rngs=rngs)
        self.b2a = Unit(inputs, widths[3], dtype=dtype, rngs=rngs)
        self.b2b = Unit(widths[3], widths[4], 3, dtype=dtype, rngs=rngs)
        self.b3b = Unit(inputs, widths[5], dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        pooled = max_pool(x, (3, 3, 3), (1, 1, 1), "SAME")
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)]
        return jnp.concatenate(branches, axis=-1)


class I3D(nnx.Module):
    """`frames`: how many of the last features (one for every eight frames) the mean before the logits takes, 2 in the
    published network."""

    def __init__(self, *, classes: int = 400, frames: int = 2, dtype: layers.DType = jnp.float32, rngs: layers.Draws):
        self.frames = frames
        self.stem = nnx.List(
            [
                Unit(3, 64, 7, 2, dtype=dtype, rngs=rngs),
                Unit(64, 64, dtype=dtype, rngs=rngs),
                Unit(64, 192, 3, dtype=dtype, rngs=rngs),
            ]
        )
        inputs, mixed = 192, []
        for widths in MIXED:
            mixed.append(Mixed(inputs, widths, dtype=dtype, rngs=rngs))
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.mixed = nnx.List(mixed)
        self.logits = layers.Linear(inputs, classes, dtype=dtype, rngs=rngs)

    def __call__(self, video: jax.Array) -> jax.Array:
        """Videos [b, t, 224, 224, 3] in [-1, 1] -> logits [b, classes], their mean over time."""
        return jnp.mean(self.logits(self.features(video)), axis=1)

    def features(self, video: jax.Array) -> jax.Array:
        """Videos [b, t, 224, 224, 3] in [-1, 1] -> what the logits are a matrix product of, [b, ceil(t / 8) - frames +
        1, 1024]: means over all positions and `frames` steps of time. Raises ValueError for too few frames.
        """
        if video.shape[1] < self.fewest_frames:
            raise ValueError(f"this I3D takes {self.fewest_frames} frames or more, not {video.shape[1]}")
        x = max_pool(self.stem[0](video), (1, 3, 3), (1, 2, 2), "SAME")
        x = max_pool(self.stem[2](self.stem[1](x)), (1, 3, 3), (1, 2, 2), "SAME")
        for i, block in enumerate(self.mixed):
            if i in HALVED_BEFORE:
                x = max_pool(x, (HALVED_BEFORE[i],) * 3, (2, 2, 2), "SAME")
            x = block(x)
        x = jnp.mean(x, axis=(2, 3))
        steps = x.shape[1] - self.frames + 1
        return sum((x[:, i : i + steps] for i in range(self.frames)), jnp.zeros_like(x[:, :steps])) / self.frames

    @property
    def fewest_frames(self) -> int:
        return (FEWEST_FRAMES - 1) * (self.frames - 1) + 1


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[b, t, h, w, i] with [n, n, n, i, o], padded as TensorFlow's SAME: [b, t / stride, ...], rounded up.

    The taps over time are laid side by side as channels of one two-dimensional convolution, which XLA does several
    times faster on a CPU than the three-dimensional one.
    """
    size = kernel.shape[0]
    if size == 1:
        return x @ kernel[0, 0, 0]
    batch, frames = x.shape[:2]
    steps = -(-frames // stride)
    missing = max((steps - 1) * stride + size - frames, 0)
    padded = jnp.pad(x, ((0, 0), (missing // 2, missing - missing // 2), (0, 0), (0, 0), (0, 0)))
    taps = [padded[:, i : i + (steps - 1) * stride + 1 : stride] for i in range(size)]
    pictures = jnp.concatenate(taps, axis=-1).reshape(batch * steps, *x.shape[2:4], size * x.shape[4])
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(size, size, size * x.shape[4], -1)
    y = jax.lax.conv_general_dilated(
        pictures, flat, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(batch, steps, *y.shape[1:])
