"""Inception-v3 as FID uses it (Szegedy et al. 2015, TensorFlow's file of 2015-12-05), up to the 2,048 pooled features.

Not quite the published architecture, and kept as it is because FID is defined by it: means of 3 x 3 do not count what
lies outside the picture, and the last block takes maxima of 3 x 3 where the one before takes means. Batch norms are
folded into kernels and biases. Names are the file's.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax import placement
from gid_jax.models import layers
from gid_jax.models.pooling import Padding, max_pool, mean_of_neighbours

SIZE = 299
"""Height and width of the pictures that the network was trained on."""


class Unit(nnx.Module):
    """max(0, convolution + bias), the kernel [*size, inputs, outputs]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int] = (1, 1),
        stride: int = 1,
        padding: Padding = "SAME",
        *,
        rngs: layers.Draws,
    ):
        self.stride, self.padding = stride, padding
        self.kernel = nnx.Param(rngs.uniform((*size, inputs, outputs), (2 / (size[0] * size[1] * inputs)) ** 0.5))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = placement.whole(self.kernel[...], x.dtype)
        if kernel.shape[:2] == (1, 1):
            y = x @ kernel[0, 0]
        else:
            strides = (self.stride, self.stride)
            y = jax.lax.conv_general_dilated(
                x, kernel, strides, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        return nnx.relu(y + layers.per_channel(self.bias[...], y))


class Tower(nnx.List):
    """Units one after another, each given as (outputs, *more of `Unit`)."""

    def __init__(self, inputs: int, *units: tuple, rngs: layers.Draws):
        made = []
        for unit in units:
            made.append(Unit(inputs, *unit, rngs=rngs))
            inputs = unit[0]
        super().__init__(made)

    def __call__(self, x: jax.Array) -> jax.Array:
        for unit in self:
            x = unit(x)
        return x


class BlockA(nnx.Module):
    """35 x 35; `pooled` channels come from the mean of 3 x 3."""

    def __init__(self, inputs: int, pooled: int, *, rngs: layers.Draws):
        self.conv = Unit(inputs, 64, rngs=rngs)
        self.tower = Tower(inputs, (48,), (64, (5, 5)), rngs=rngs)
        self.tower_1 = Tower(inputs, (64,), (96, (3, 3)), (96, (3, 3)), rngs=rngs)
        self.tower_2 = Tower(inputs, (pooled,), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        pooled = self.tower_2(mean_of_neighbours(x))
        return jnp.concatenate([self.conv(x), self.tower(x), self.tower_1(x), pooled], axis=-1)


class BlockB(nnx.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, inputs: int, *, rngs: layers.Draws):
        self.conv = Unit(inputs, 384, (3, 3), 2, "VALID", rngs=rngs)
        self.tower = Tower(inputs, (64,), (96, (3, 3)), (96, (3, 3), 2, "VALID"), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([self.conv(x), self.tower(x), halve(x)], axis=-1)


class BlockC(nnx.Module):
    """17 x 17, with 7 x 7 convolutions of `width` channels split into rows and columns."""

    def __init__(self, inputs: int, width: int, *, rngs: layers.Draws):
        row, column = (1, 7), (7, 1)
        self.conv = Unit(inputs, 192, rngs=rngs)
        self.tower = Tower(inputs, (width,), (width, row), (192, column), rngs=rngs)
        self.tower_1 = Tower(inputs, (width,), (width, column), (width, row), (width, column), (192, row), rngs=rngs)
        self.tower_2 = Tower(inputs, (192,), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        pooled = self.tower_2(mean_of_neighbours(x))
        return jnp.concatenate([self.conv(x), self.tower(x), self.tower_1(x), pooled], axis=-1)


class BlockD(nnx.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, inputs: int, *, rngs: layers.Draws):
        self.tower = Tower(inputs, (192,), (320, (3, 3), 2, "VALID"), rngs=rngs)
        self.tower_1 = Tower(inputs, (192,), (192, (1, 7)), (192, (7, 1)), (192, (3, 3), 2, "VALID"), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([self.tower(x), self.tower_1(x), halve(x)], axis=-1)


class BlockE(nnx.Module):
    """8 x 8, with branches that end side by side. `largest`: the pooled branch takes maxima, not means."""

    def __init__(self, inputs: int, largest: bool, *, rngs: layers.Draws):
        row, column = (1, 3), (3, 1)
        self.largest = largest
        self.conv = Unit(inputs, 320, rngs=rngs)
        self.tower_conv = Unit(inputs, 384, rngs=rngs)
        self.tower_mixed_conv = Unit(384, 384, row, rngs=rngs)
        self.tower_mixed_conv_1 = Unit(384, 384, column, rngs=rngs)
        self.tower_1_conv = Unit(inputs, 448, rngs=rngs)
        self.tower_1_conv_1 = Unit(448, 384, (3, 3), rngs=rngs)
        self.tower_1_mixed_conv = Unit(384, 384, row, rngs=rngs)
        self.tower_1_mixed_conv_1 = Unit(384, 384, column, rngs=rngs)
        self.tower_2_conv = Unit(inputs, 192, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        a = self.tower_conv(x)
        b = self.tower_1_conv_1(self.tower_1_conv(x))
        pooled = max_pool(x, (3, 3), (1, 1), "SAME") if self.largest else mean_of_neighbours(x)
        parts = [self.conv(x), self.tower_mixed_conv(a), self.tower_mixed_conv_1(a)]
        parts += [self.tower_1_mixed_conv(b), self.tower_1_mixed_conv_1(b), self.tower_2_conv(pooled)]
        return jnp.concatenate(parts, axis=-1)


class Inception(nnx.Module):
    def __init__(self, *, rngs: layers.Draws):
        self.stem = Tower(
            3,
            (32, (3, 3), 2, "VALID"),
            (32, (3, 3), 1, "VALID"),
            (64, (3, 3)),
            (80,),
            (192, (3, 3), 1, "VALID"),
            rngs=rngs,
        )
        self.mixed = nnx.List(
            [
                *(BlockA(inputs, pooled, rngs=rngs) for inputs, pooled in ((192, 32), (256, 64), (288, 64))),
                BlockB(288, rngs=rngs),
                *(BlockC(768, width, rngs=rngs) for width in (128, 160, 160, 192)),
                BlockD(768, rngs=rngs),
                BlockE(1280, largest=False, rngs=rngs),
                BlockE(2048, largest=True, rngs=rngs),
            ]
        )

    def __call__(self, image: jax.Array) -> jax.Array:
        """Pictures [b, 299, 299, 3] in [-1, 1] -> features [b, 2048], means over all positions."""
        x = image
        for i, unit in enumerate(self.stem):
            x = halve(x) if i == 3 else x
            x = unit(x)
        x = halve(x)
        for block in self.mixed:
            x = block(x)
        return jnp.mean(x, axis=(1, 2))


def halve(x: jax.Array) -> jax.Array:
    """Largest of 3 x 3 wholly inside the picture, every other one."""
    return max_pool(x, (3, 3), (2, 2), "VALID")
