"""What the networks are made of. Channel last, kernels HWIO, float32 parameters, `dtype` arithmetic.

Names and arithmetic of the blocks follow diffusers (`ResnetBlock2D`, `Attention`, `Downsample2D`, `Upsample2D`), so
that public weights convert by renaming. Normalisation and softmax are float32 whatever `dtype` is.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax import placement
from gid_jax.models import fused_attention
from gid_jax.models.network import Draws

DType = Any


def per_channel(vector: jax.Array, like: jax.Array) -> jax.Array:
    """[c] as [1, ..., 1, c] in the dtype of `like`."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def per_sample(vector: jax.Array) -> jax.Array:
    """[b, c] as [b, 1, 1, c]."""
    return vector[:, None, None, :]


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Convolution of [b, h, w, i] with [n, n, i, o], `padding` zeros before and after, along both axes."""
    if kernel.shape[:2] == (1, 1) and stride == 1:
        return x @ kernel[0, 0]  # XLA's gradient of the product takes half the time on a CPU
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolve_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3 x 3 convolution of `double(x)`, without making it: [b, h, w, i] -> [b, 2 h, 2 w, o].

    Every output pixel of one parity sees only 2 x 2 different pixels of x, so that four convolutions of 2 x 2, whose
    taps are sums of the kernel's, do the work of one of 3 x 3 at the doubled size with 4/9 of its multiplications.
    """
    batch, height, width, _ = x.shape
    rows = []
    for row in range(2):
        columns = []
        for column in range(2):
            taps = _merge_taps(_merge_taps(kernel, 0, row), 1, column)
            padding = ((1 - row, row), (1 - column, column))
            columns.append(
                jax.lax.conv_general_dilated(x, taps, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
            )
        rows.append(jnp.stack(columns, axis=3))
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, -1)


def _merge_taps(kernel: jax.Array, axis: int, parity: int) -> jax.Array:
    """Three taps along `axis` as the two that a doubled pixel of this parity sees."""
    first, middle, last = jnp.split(kernel, 3, axis=axis)
    pair = (first, middle + last) if parity == 0 else (first + middle, last)
    return jnp.concatenate(pair, axis=axis)


class Linear(nnx.Module):
    def __init__(self, inputs: int, outputs: int, *, gain: float = 1 / 3, dtype: DType, rngs: Draws):
        self.dtype = dtype
        self.kernel = nnx.Param(rngs.uniform((inputs, outputs), (gain / inputs) ** 0.5))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(self.dtype) @ placement.whole(self.kernel[...], self.dtype)
        return y + per_channel(self.bias[...], y)


class Conv(nnx.Module):
    """`size` x `size` convolution; by default padded so that stride 1 keeps the size and stride 2 rounds up."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        *,
        padding: tuple[int, int] | None = None,
        bias: bool = True,
        gain: float = 1 / 3,
        dtype: DType,
        rngs: Draws,
    ):
        self.dtype, self.stride = dtype, stride
        self.padding = (size // 2, size // 2) if padding is None else padding
        self.kernel = nnx.Param(rngs.uniform((size, size, inputs, outputs), (gain / (size * size * inputs)) ** 0.5))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = placement.whole(self.kernel[...], self.dtype)
        return self.add_bias(convolve(x.astype(self.dtype), kernel, self.stride, self.padding))

    def add_bias(self, y: jax.Array) -> jax.Array:
        return y if self.bias is None else y + per_channel(self.bias[...], y)


class GroupNorm(nnx.Module):
    """Group normalisation of [b, h, w, c] with float32 statistics. Raises ValueError if groups do not divide c."""

    def __init__(self, channels: int, groups: int, *, epsilon: float, dtype: DType):
        if channels % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels")
        self.groups, self.epsilon, self.dtype = groups, epsilon, dtype
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, channels = x.shape[0], x.shape[-1]
        x = x.astype(jnp.float32)
        moments = jnp.stack([jnp.mean(x, axis=(1, 2)), jnp.mean(jnp.square(x), axis=(1, 2))])
        moments = jnp.mean(moments.reshape(2, batch, self.groups, -1), axis=-1, keepdims=True)
        mean, square = jnp.broadcast_to(moments, (2, batch, self.groups, channels // self.groups)).reshape(2, batch, -1)
        scale = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0) + self.epsilon) * self.scale[...][None]
        return (x * per_sample(scale) + per_sample(self.bias[...][None] - mean * scale)).astype(self.dtype)


class ResBlock(nnx.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + time))), with a 1 x 1 shortcut where the width changes.

    `resample` "down" or "up" halves (mean of 2 x 2) or doubles both paths before the first convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        time_channels: int | None = None,
        resample: Literal["", "down", "up"] = "",
        norm_groups: int,
        epsilon: float,
        dtype: DType,
        rngs: Draws,
    ):
        self.resample = resample
        self.norm1 = GroupNorm(inputs, norm_groups, epsilon=epsilon, dtype=dtype)
        self.conv1 = Conv(inputs, outputs, dtype=dtype, rngs=rngs)
        self.time_emb_proj = Linear(time_channels, outputs, dtype=dtype, rngs=rngs) if time_channels else None
        self.norm2 = GroupNorm(outputs, norm_groups, epsilon=epsilon, dtype=dtype)
        self.conv2 = Conv(outputs, outputs, gain=0, dtype=dtype, rngs=rngs)
        self.conv_shortcut = Conv(inputs, outputs, 1, dtype=dtype, rngs=rngs) if inputs != outputs else None

    def __call__(
        self, x: jax.Array, embedding: jax.Array | None = None, size: tuple[int, int] | None = None
    ) -> jax.Array:
        """[b, h, w, inputs] and the embedding [b, time_channels] -> [b, h, w, outputs], or resampled.

        Doubled pictures are cropped to `size` where a size was rounded up on the way down.
        """
        h = nnx.silu(self.norm1(x))
        if self.resample == "down":
            h, x = halve(h), halve(x)
        elif self.resample == "up":
            h, x = (double(y) if size is None else double(y)[:, : size[0], : size[1]] for y in (h, x))
        h = self.conv1(h)
        if self.time_emb_proj is not None and embedding is not None:
            h += per_sample(self.time_emb_proj(nnx.silu(embedding)))
        h = self.conv2(nnx.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x)).astype(h.dtype)


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax attention over axis -3 of [..., tokens, heads, channels], scaled by 1 / sqrt(channels)."""
    scores = jnp.einsum("...qhc,...khc->...hqk", query, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores * query.shape[-1] ** -0.5, axis=-1).astype(value.dtype)
    return jnp.einsum("...hqk,...khc->...qhc", weights, value)


class Attention(nnx.Module):
    """Residual self-attention of [..., tokens, channels]; tokens are normalised by the caller."""

    def __init__(self, channels: int, head_channels: int, *, dtype: DType, rngs: Draws):
        if channels % head_channels:
            raise ValueError(f"heads of {head_channels} channels do not divide {channels} channels")
        self.head_channels = head_channels
        self.to_q = Linear(channels, channels, dtype=dtype, rngs=rngs)
        self.to_k = Linear(channels, channels, dtype=dtype, rngs=rngs)
        self.to_v = Linear(channels, channels, dtype=dtype, rngs=rngs)
        self.to_out = Linear(channels, channels, gain=0, dtype=dtype, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        projected = [project(tokens) for project in (self.to_q, self.to_k, self.to_v)]
        if self._fuses(tokens):
            fused = functools.partial(fused_attention.attend, head_channels=self.head_channels)
            return self.to_out(placement.per_device(fused, placement.SLICES)(*projected))
        heads = [x.reshape(*x.shape[:-1], -1, self.head_channels) for x in projected]
        return self.to_out(attend(*heads).reshape(tokens.shape))

    def _fuses(self, tokens: jax.Array) -> bool:
        """On TPUs the scores of pictures [n, tokens, channels] stay on the chip."""
        pictures = tokens.ndim == 3 and placement.on_tpu()
        return pictures and fused_attention.fits(tokens.shape[1], tokens.shape[2], self.head_channels)


class SpatialAttention(nnx.Module):
    """x + attention over all positions of a picture [b, h, w, c]."""

    def __init__(
        self, channels: int, head_channels: int, *, norm_groups: int, epsilon: float, dtype: DType, rngs: Draws
    ):
        self.group_norm = GroupNorm(channels, norm_groups, epsilon=epsilon, dtype=dtype)
        self.attention = Attention(channels, head_channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        tokens = self.group_norm(x).reshape(x.shape[0], -1, x.shape[-1])
        return x + self.attention(tokens).reshape(x.shape)


class FrequencyAttention(nnx.Module):
    """x + attention over the K slices of a volume at every position (PAPER.md, frequency-coordinated denoising).

    The output projection starts at zero: a new layer changes nothing until it is trained. On a mesh the slices of a
    volume are shared over `freq` outside, its positions inside: an all-to-all before and one after.
    """

    def __init__(
        self,
        channels: int,
        head_channels: int,
        num_frequencies: int,
        *,
        norm_groups: int,
        epsilon: float,
        dtype: DType,
        rngs: Draws,
    ):
        self.group_norm = GroupNorm(channels, norm_groups, epsilon=epsilon, dtype=dtype)
        self.position = nnx.Param(rngs.uniform((num_frequencies, channels), 0.5))
        self.attention = Attention(channels, head_channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, frequency: jax.Array, num_slices: int) -> jax.Array:
        """x [volumes * num_slices, h, w, c] as `placement.join` makes it; frequency int32 [volumes * num_slices]."""
        height, width, channels = x.shape[1:]
        tokens = self.group_norm(x)
        tokens += per_sample(jnp.take(self.position[...], frequency, axis=0)).astype(tokens.dtype)
        tokens = placement.split(tokens, num_slices).reshape(-1, num_slices, height * width, channels)
        tokens = placement.constrain(tokens.swapaxes(1, 2), placement.VOLUMES)
        change = placement.constrain(self.attention(tokens), placement.VOLUMES)
        change = placement.constrain(change.swapaxes(1, 2), placement.VOLUMES)
        return x + placement.join(change.reshape(-1, num_slices, height, width, channels))


class Downsample(nnx.Module):
    """Convolution of stride 2: `padding` (1, 1) in the U-Net, (0, 1) in the VAE."""

    def __init__(self, channels: int, *, padding: tuple[int, int] = (1, 1), dtype: DType, rngs: Draws):
        self.conv = Conv(channels, channels, stride=2, padding=padding, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.conv(x)


class Upsample(nnx.Module):
    """Nearest-neighbour doubling, cropped to `size` where a size was rounded up on the way down, then a convolution."""

    def __init__(self, channels: int, *, dtype: DType, rngs: Draws):
        self.conv = Conv(channels, channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, size: tuple[int, int] | None = None) -> jax.Array:
        doubled = (2 * x.shape[1], 2 * x.shape[2])
        if size is not None and size != doubled:
            return self.conv(double(x)[:, : size[0], : size[1]])
        kernel = placement.whole(self.conv.kernel[...], self.conv.dtype)
        return self.conv.add_bias(convolve_doubled(x.astype(self.conv.dtype), kernel))


def double(x: jax.Array) -> jax.Array:
    """[b, h, w, c] -> [b, 2 h, 2 w, c] by repetition."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def halve(x: jax.Array) -> jax.Array:
    """Means of 2 x 2: [b, h, w, c] -> [b, h/2, w/2, c], sizes rounded up by repeating the last row and column."""
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return jnp.mean(x.reshape(batch, -(-height // 2), 2, -(-width // 2), 2, channels), axis=(2, 4), dtype=x.dtype)


def sinusoids(position: jax.Array, channels: int) -> jax.Array:
    """[n] -> [n, channels]: cosines, then sines, of wavelengths 2 pi ... 20,000 pi (latent diffusion's order)."""
    half = channels // 2
    rates = jnp.exp(-jnp.log(10000.0) / half * jnp.arange(half, dtype=jnp.float32))
    phase = position.astype(jnp.float32)[:, None] * rates[None]
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


class EmbeddingMLP(nnx.Module):
    """linear_2(silu(linear_1(x)))."""

    def __init__(self, inputs: int, outputs: int, *, zero: bool = False, dtype: DType, rngs: Draws):
        self.linear_1 = Linear(inputs, outputs, dtype=dtype, rngs=rngs)
        self.linear_2 = Linear(outputs, outputs, gain=0 if zero else 1 / 3, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear_2(nnx.silu(self.linear_1(x)))


def rematerialise(module: nnx.Module, *args: jax.Array | None, **static: Any) -> jax.Array:
    """`module(*args, **static)`, keeping only `args` for the backward pass, where the rest is computed again."""
    graph, state = nnx.split(module)
    return jax.checkpoint(lambda state, *args: nnx.merge(graph, state)(*args, **static))(state, *args)
