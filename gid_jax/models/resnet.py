"""ResNet-34 as a feature pyramid, in torchvision's layout, batch norms in inference form.

A frozen batch norm is a scale and a bias per channel: scale = weight / sqrt(running_var + eps), bias = bias -
running_mean * scale. The layer that torchvision has not is `full`, the features at the picture's own size.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers

STAGES = (3, 4, 6, 3)


class Affine(nnx.Module):
    """A folded batch norm."""

    def __init__(self, channels: int, scale: float = 1.0):
        self.scale = nnx.Param(jnp.full(channels, scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * layers.per_channel(self.scale[...], x) + layers.per_channel(self.bias[...], x)


class ConvNorm(nnx.Module):
    """Convolution without bias, then its folded batch norm."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        *,
        scale: float = 1.0,
        dtype: layers.DType,
        rngs: layers.Draws,
    ):
        self.conv = layers.Conv(inputs, outputs, size, stride, bias=False, gain=2, dtype=dtype, rngs=rngs)
        self.norm = Affine(outputs, scale)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions around a shortcut; untrained, the second one's scale is 0 and the block its shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, dtype: layers.DType, rngs: layers.Draws):
        self.first = ConvNorm(inputs, outputs, 3, stride, dtype=dtype, rngs=rngs)
        self.second = ConvNorm(outputs, outputs, 3, scale=0.0, dtype=dtype, rngs=rngs)
        same = inputs == outputs and stride == 1
        self.downsample = None if same else ConvNorm(inputs, outputs, 1, stride, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        shortcut = x if self.downsample is None else self.downsample(x)
        return nnx.relu(self.second(nnx.relu(self.first(x))) + shortcut)


class FeaturePyramid(nnx.Module):
    """Features at full, 1/2, 1/4 ... size, `widths` channels each: (w, w, w, 2 w, 4 w, 8 w)[:levels]; w = 64 is
    ResNet-34."""

    def __init__(self, *, width: int, levels: int, dtype: layers.DType, rngs: layers.Draws):
        if not 1 <= levels <= 6:
            raise ValueError(f"a ResNet pyramid has 1 to 6 levels, not {levels}")
        self.widths = (width, width, width, 2 * width, 4 * width, 8 * width)[:levels]
        self.full = ConvNorm(3, width, 3, dtype=dtype, rngs=rngs)
        self.stem = ConvNorm(3, width, 7, 2, dtype=dtype, rngs=rngs) if levels > 1 else None
        stages, inputs = [], width
        for stage, outputs in enumerate(self.widths[2:]):
            blocks = []
            for block in range(STAGES[stage]):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(inputs, outputs, stride, dtype=dtype, rngs=rngs))
                inputs = outputs
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)

    @property
    def reach(self) -> int:
        """How far, in pixels, a picture can matter to the features of one place."""
        seen, stride = (1, 1) if self.stem is None else (3, 2)
        for index, stage in enumerate(self.stages):
            seen += stride  # of the pool, or of the convolution that halves
            stride *= 2
            seen += (2 * len(stage) - (1 if index else 0)) * stride
        return seen

    def __call__(self, image: jax.Array) -> list[jax.Array]:
        """Normalised pictures [b, h, w, 3], sizes multiples of 2^(levels - 1) -> features, finest first."""
        pyramid = [nnx.relu(self.full(image))]
        if self.stem is None:
            return pyramid
        x = nnx.relu(self.stem(image))
        pyramid.append(x)
        for index, stage in enumerate(self.stages):
            if index == 0:
                x = max_pool(x)
            for block in stage:
                x = block(x)
            pyramid.append(x)
        return pyramid


def max_pool(x: jax.Array) -> jax.Array:
    """Largest of 3 x 3, stride 2, of values that are not negative."""
    return nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
