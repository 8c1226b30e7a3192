"""The denoiser's U-Net: block for block that of latent diffusion, with frequency embedding and frequency attention.

Paths and arithmetic are those of diffusers' `UNet2DModel` (`ResnetBlock2D`, `AttnDownBlock2D`, `UNetMidBlock2D`,
`AttnUpBlock2D`). What the paper adds is `frequency_embedding`, whose last layer starts at zero, and the
`frequency_attention` layers, so that converted weights give the converted network.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers

FREQUENCY_ATTENTION = "frequency_attention"  # path component of everything that stage 3 adds
EPSILON = 1e-5


class Block(nnx.Module):
    """ResNet block, then spatial attention, then frequency attention: what rematerialisation repeats as a whole."""

    def __init__(
        self,
        resnet: layers.ResBlock,
        attention: layers.SpatialAttention | None,
        frequency_attention: layers.FrequencyAttention | None,
    ):
        self.resnet, self.attention, self.frequency_attention = resnet, attention, frequency_attention

    def __call__(self, x: jax.Array, embedding: jax.Array, frequency: jax.Array, num_slices: int) -> jax.Array:
        x = self.resnet(x, embedding)
        if self.attention is not None:
            x = self.attention(x)
        if self.frequency_attention is not None:
            x = self.frequency_attention(x, frequency, num_slices)
        return x


class Level(nnx.Module):
    """Blocks of one resolution and the change of resolution that follows them, if any."""

    def __init__(self, blocks: Sequence[Block], resample: nnx.Module | None = None):
        self.blocks = nnx.List(blocks)
        self.resample = resample


class UNet(nnx.Module):
    """Noise prediction for latents of single frequency slices, or of whole volumes with frequency attention.

    `multipliers` times `base_channels` are the widths of the levels, each half the size of the one before (rounded up);
    `attention_levels` names those with spatial attention besides the middle. Heads have `head_channels`, or there are
    `num_heads` of them at every width. `resblock_updown` resamples inside ResNet blocks instead of by convolutions.
    `remat` recomputes every block in the backward pass.
    """

    def __init__(
        self,
        *,
        in_channels: int = 20,
        out_channels: int = 4,
        base_channels: int = 128,
        multipliers: Sequence[int] = (1, 4, 8),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (1, 2),
        head_channels: int = 32,
        num_heads: int = 0,
        resblock_updown: bool = False,
        num_frequencies: int = 16,
        frequency_attention: bool = False,
        norm_groups: int = 32,
        dtype: layers.DType = jnp.float32,
        remat: bool = False,
        rngs: layers.Draws,
    ):
        self.base_channels, self.dtype, self.remat = base_channels, dtype, remat
        widths = [base_channels * multiplier for multiplier in multipliers]
        time_channels = 4 * base_channels
        norm: dict[str, Any] = {"norm_groups": norm_groups, "epsilon": EPSILON}

        def block(inputs: int, width: int, attention: bool) -> Block:
            head = width // num_heads if num_heads else head_channels
            return Block(
                layers.ResBlock(inputs, width, time_channels=time_channels, **norm, dtype=dtype, rngs=rngs),
                layers.SpatialAttention(width, head, **norm, dtype=dtype, rngs=rngs) if attention else None,
                layers.FrequencyAttention(width, head, num_frequencies, **norm, dtype=dtype, rngs=rngs)
                if frequency_attention
                else None,
            )

        def resample(width: int, direction: Literal["down", "up"]) -> nnx.Module:
            if resblock_updown:
                more: dict[str, Any] = {"time_channels": time_channels, "resample": direction, **norm}
                return layers.ResBlock(width, width, **more, dtype=dtype, rngs=rngs)
            return (layers.Downsample if direction == "down" else layers.Upsample)(width, dtype=dtype, rngs=rngs)

        self.conv_in = layers.Conv(in_channels, base_channels, dtype=dtype, rngs=rngs)
        self.time_embedding = layers.EmbeddingMLP(base_channels, time_channels, dtype=dtype, rngs=rngs)
        self.frequency_table = nnx.Param(rngs.uniform((num_frequencies, base_channels), 1.0))
        self.frequency_embedding = layers.EmbeddingMLP(base_channels, time_channels, zero=True, dtype=dtype, rngs=rngs)

        down, skips, inputs = [], [base_channels], base_channels
        for level, width in enumerate(widths):
            attention, last = level in attention_levels, level == len(widths) - 1
            blocks = [block(inputs if i == 0 else width, width, attention) for i in range(blocks_per_level)]
            down.append(Level(blocks, None if last else resample(width, "down")))
            skips += [width] * (blocks_per_level + (not last))
            inputs = width
        self.down_blocks = nnx.List(down)
        self.mid_block = Level([block(inputs, inputs, True), block(inputs, inputs, False)])

        up = []
        for level, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(blocks_per_level + 1):
                blocks.append(block(inputs + skips.pop(), width, level in attention_levels))
                inputs = width
            up.append(Level(blocks, resample(width, "up") if level else None))
        self.up_blocks = nnx.List(up)
        self.conv_norm_out = layers.GroupNorm(inputs, norm_groups, epsilon=EPSILON, dtype=dtype)
        self.conv_out = layers.Conv(inputs, out_channels, gain=0, dtype=dtype, rngs=rngs)

    def __call__(
        self, latents: jax.Array, features: jax.Array, time: jax.Array, frequency: jax.Array, num_slices: int = 1
    ) -> jax.Array:
        """Noise in `latents` [n, h, w, 4] given image features [n, h, w, 16]; float32 [n, h, w, 4].

        `time` and `frequency` are int32 [n]; n = volumes * num_slices, in the order of `placement.join`.
        """
        embedding = self.time_embedding(layers.sinusoids(time, self.base_channels))
        embedding += self.frequency_embedding(jnp.take(self.frequency_table[...], frequency, axis=0))

        def run(block: Block, x: jax.Array) -> jax.Array:
            if self.remat:
                return layers.rematerialise(block, x, embedding, frequency, num_slices=num_slices)
            return block(x, embedding, frequency, num_slices)

        def change(module: Any, x: jax.Array, *size: Any) -> jax.Array:
            return module(x, embedding, *size) if isinstance(module, layers.ResBlock) else module(x, *size)

        x = self.conv_in(jnp.concatenate([latents.astype(self.dtype), features.astype(self.dtype)], axis=-1))
        skips = [x]
        for level in self.down_blocks:
            for block in level.blocks:
                x = run(block, x)
                skips.append(x)
            if level.resample is not None:
                x = change(level.resample, x)
                skips.append(x)
        for block in self.mid_block.blocks:
            x = run(block, x)
        for level in self.up_blocks:
            for block in level.blocks:
                x = run(block, jnp.concatenate([x, skips.pop()], axis=-1))
            if level.resample is not None:
                x = change(level.resample, x, skips[-1].shape[1:3])
        return self.conv_out(nnx.silu(self.conv_norm_out(x))).astype(jnp.float32)
