"""The autoencoder of frequency slices: the layout of latent diffusion's KL autoencoder (diffusers' `AutoencoderKL`)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers

EPSILON = 1e-6
LOG_VARIANCE_RANGE = (-30.0, 20.0)
LOG_VARIANCE_START = -6.0
"""of a fresh encoder: with latents lost in noise of variance 1 the decoder learns to ignore a channel, for good"""


class Level(nnx.Module):
    """ResNet blocks of one resolution and the change of resolution that follows them, if any."""

    def __init__(self, blocks: Sequence[layers.ResBlock], resample: nnx.Module | None = None):
        self.blocks = nnx.List(blocks)
        self.resample = resample


class Trunk(nnx.Module):
    """What encoder and decoder share: running their blocks, rematerialised or not."""

    remat: bool

    def run(self, block: nnx.Module, x: jax.Array) -> jax.Array:
        return layers.rematerialise(block, x) if self.remat else block(x)

    def run_level(self, level: Level, x: jax.Array) -> jax.Array:
        for block in level.blocks:
            x = self.run(block, x)
        return x if level.resample is None else level.resample(x)

    def run_middle(self, middle: "Middle", x: jax.Array) -> jax.Array:
        x = self.run(middle.first, x)
        if middle.attention is not None:
            x = self.run(middle.attention, x)
        return self.run(middle.second, x)


class Middle(nnx.Module):
    """Two ResNet blocks with one-headed attention between them."""

    def __init__(self, channels: int, attention: bool, *, norm_groups: int, dtype: layers.DType, rngs: layers.Draws):
        common = {"norm_groups": norm_groups, "epsilon": EPSILON, "dtype": dtype, "rngs": rngs}
        self.first = layers.ResBlock(channels, channels, **common)
        self.attention = layers.SpatialAttention(channels, channels, **common) if attention else None
        self.second = layers.ResBlock(channels, channels, **common)


class Encoder(Trunk):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        blocks_per_level: int,
        mid_attention: bool,
        norm_groups: int,
        *,
        dtype: layers.DType,
        remat: bool,
        rngs: layers.Draws,
    ):
        self.remat = remat
        common = {"norm_groups": norm_groups, "epsilon": EPSILON, "dtype": dtype, "rngs": rngs}
        self.conv_in = layers.Conv(in_channels, widths[0], dtype=dtype, rngs=rngs)
        levels: list[Level] = []
        inputs = widths[0]
        for width in widths:
            blocks = [layers.ResBlock(inputs if i == 0 else width, width, **common) for i in range(blocks_per_level)]
            last = len(levels) == len(widths) - 1
            resample = None if last else layers.Downsample(width, padding=(0, 1), dtype=dtype, rngs=rngs)
            levels.append(Level(blocks, resample))
            inputs = width
        self.down_blocks = nnx.List(levels)
        self.mid_block = Middle(inputs, mid_attention, norm_groups=norm_groups, dtype=dtype, rngs=rngs)
        self.conv_norm_out = layers.GroupNorm(inputs, norm_groups, epsilon=EPSILON, dtype=dtype)
        self.conv_out = layers.Conv(inputs, out_channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = self.run_level(level, x)
        x = self.run_middle(self.mid_block, x)
        return self.conv_out(nnx.silu(self.conv_norm_out(x)))


class Decoder(Trunk):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        blocks_per_level: int,
        mid_attention: bool,
        norm_groups: int,
        *,
        dtype: layers.DType,
        remat: bool,
        rngs: layers.Draws,
    ):
        self.remat = remat
        common = {"norm_groups": norm_groups, "epsilon": EPSILON, "dtype": dtype, "rngs": rngs}
        inputs = widths[-1]
        self.conv_in = layers.Conv(in_channels, inputs, dtype=dtype, rngs=rngs)
        self.mid_block = Middle(inputs, mid_attention, norm_groups=norm_groups, dtype=dtype, rngs=rngs)
        levels: list[Level] = []
        for width in reversed(widths):
            blocks = [
                layers.ResBlock(inputs if i == 0 else width, width, **common) for i in range(blocks_per_level + 1)
            ]
            last = len(levels) == len(widths) - 1
            levels.append(Level(blocks, None if last else layers.Upsample(width, dtype=dtype, rngs=rngs)))
            inputs = width
        self.up_blocks = nnx.List(levels)
        self.conv_norm_out = layers.GroupNorm(inputs, norm_groups, epsilon=EPSILON, dtype=dtype)
        self.conv_out = layers.Conv(inputs, out_channels, dtype=dtype, rngs=rngs)

    def __call__(self, z: jax.Array) -> jax.Array:
        x = self.run_middle(self.mid_block, self.conv_in(z))
        for level in self.up_blocks:
            x = self.run_level(level, x)
        return self.conv_out(nnx.silu(self.conv_norm_out(x)))


class VAE(nnx.Module):
    """Autoencoder with a Gaussian posterior; each multiplier after the first halves the size."""

    def __init__(
        self,
        *,
        base_channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks_per_level: int = 2,
        latent_channels: int = 4,
        in_channels: int = 4,
        mid_attention: bool = True,
        norm_groups: int = 32,
        dtype: layers.DType = jnp.float32,
        remat: bool = False,
        rngs: layers.Draws,
    ):
        self.stride = 2 ** (len(multipliers) - 1)
        widths = [base_channels * multiplier for multiplier in multipliers]
        trunk = (widths, blocks_per_level, mid_attention, norm_groups)
        self.encoder = Encoder(in_channels, 2 * latent_channels, *trunk, dtype=dtype, remat=remat, rngs=rngs)
        self.quant_conv = layers.Conv(2 * latent_channels, 2 * latent_channels, 1, dtype=dtype, rngs=rngs)
        start = jnp.repeat(jnp.asarray([0.0, LOG_VARIANCE_START], jnp.float32), latent_channels)
        self.quant_conv.bias = nnx.Param(start)
        self.post_quant_conv = layers.Conv(latent_channels, latent_channels, 1, dtype=dtype, rngs=rngs)
        self.decoder = Decoder(latent_channels, in_channels, *trunk, dtype=dtype, remat=remat, rngs=rngs)

    def encode(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Slices [b, h, w, 4] -> mean and log variance of the posterior, float32 [b, h/4, w/4, 4] each.

        Raises ValueError when h or w is not a multiple of the stride.
        """
        if x.shape[1] % self.stride or x.shape[2] % self.stride:
            raise ValueError(f"height and width must be multiples of {self.stride}, not {x.shape[1]} x {x.shape[2]}")
        moments = self.quant_conv(self.encoder(x)).astype(jnp.float32)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return mean, jnp.clip(log_variance, *LOG_VARIANCE_RANGE)

    def decode(self, z: jax.Array) -> jax.Array:
        """Latents [b, h/4, w/4, 4] -> slices float32 [b, h, w, 4]."""
        return self.decoder(self.post_quant_conv(z)).astype(jnp.float32)
