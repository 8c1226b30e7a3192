"""The ResNet that turns the still picture into the denoiser's condition."""

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers

EPSILON = 1e-5


class ImageEncoder(nnx.Module):
    """Two halvings, each followed by ResNet blocks: features of a quarter of the picture's size."""

    def __init__(
        self,
        *,
        out_channels: int = 16,
        base_channels: int = 64,
        norm_groups: int = 32,
        dtype: layers.DType = jnp.float32,
        rngs: layers.Draws,
    ):
        norm = {"norm_groups": norm_groups, "epsilon": EPSILON, "dtype": dtype}
        wide = 2 * base_channels
        self.conv_in = layers.Conv(3, base_channels, 5, 2, dtype=dtype, rngs=rngs)
        self.half = layers.ResBlock(base_channels, base_channels, **norm, rngs=rngs)
        self.downsample = layers.Conv(base_channels, wide, 3, 2, dtype=dtype, rngs=rngs)
        self.quarter = nnx.List([layers.ResBlock(wide, wide, **norm, rngs=rngs) for _ in range(2)])
        self.norm_out = layers.GroupNorm(wide, norm_groups, epsilon=EPSILON, dtype=dtype)
        self.conv_out = layers.Conv(wide, out_channels, dtype=dtype, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        """Pictures [b, h, w, 3] in [0, 1] -> features float32 [b, h/4, w/4, out_channels], sizes rounded up."""
        x = self.half(self.conv_in(2 * image - 1))
        x = self.downsample(x)
        for block in self.quarter:
            x = block(x)
        return self.conv_out(nnx.silu(self.norm_out(x))).astype(jnp.float32)
