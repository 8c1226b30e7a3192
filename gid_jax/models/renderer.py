"""The image-based renderer: features of the still picture are splatted along the motion and decoded.

PAPER.md, renderer: a ResNet-34 pyramid of I0; motion and weight W at every level; softmax splatting; a decoder of
modulated convolutions from coarse to fine (co-modulated: a fixed latent and the picture's global features set the
style). The style depends on I0 alone and nothing is random, so that frames of one picture do not flicker.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax import placement
from gid_jax.models import layers
from gid_jax.models.resnet import FeaturePyramid
from gid_jax.render.pyramid import halve, motion_pyramid, weight_pyramid
from gid_jax.render.splatting import splat
from gid_jax.render.tangents import REACH, from_planes, spline_slopes, to_planes
from gid_jax.render.warp import backward_warp

Splatting = Literal["softmax", "average", "learned", "backward"]
SPLATTING: tuple[Splatting, ...] = get_args(Splatting)
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPSILON = 1e-8
PLANES = 9  # numbers that carry a pixel's colour


class Encoded(NamedTuple):
    """What all frames of a picture share, of the padded picture."""

    pyramid: list[jax.Array]  # features, finest first
    pooled: jax.Array  # float32 [b, c], mean of the coarsest
    slopes: jax.Array  # float32 [b, h, w, 6]


class ModulatedConv(nnx.Module):
    """3 x 3 convolution whose input channels are scaled by the style and whose outputs are normalised for it.

    StyleGAN 2's weight demodulation, written as a scale before and after one convolution for the whole batch.
    """

    def __init__(self, inputs: int, outputs: int, style_channels: int, *, dtype: layers.DType, rngs: layers.Draws):
        self.style = layers.Linear(style_channels, inputs, dtype=jnp.float32, rngs=rngs)
        self.conv = layers.Conv(inputs, outputs, bias=False, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array, style: jax.Array, below: jax.Array | None = None) -> jax.Array:
        """[b, h, w, inputs] and style [b, style_channels] -> leaky ReLU of [b, h, w, outputs].

        `below` [b, h/2, w/2, c], doubled, are the first c inputs and `x` the others.
        """
        scale = 1 + self.style(style)
        power = placement.whole(jnp.sum(jnp.square(self.conv.kernel[...]), axis=(0, 1)), jnp.float32)
        demodulation = jax.lax.rsqrt(jnp.square(scale) @ power + EPSILON)
        scale = layers.per_sample(scale).astype(x.dtype)
        if below is None:
            y = self.conv(x * scale)
        else:
            kernel, doubled = placement.whole(self.conv.kernel[...], self.conv.dtype), below.shape[-1]
            y = layers.convolve(x * scale[..., doubled:], kernel[:, :, doubled:], 1, self.conv.padding)
            y += layers.convolve_doubled(below * scale[..., :doubled], kernel[:, :, :doubled])
        y = y * layers.per_sample(demodulation).astype(y.dtype) + layers.per_channel(self.bias[...], y)
        return nnx.leaky_relu(y, 0.2) * 2**0.5


class DecoderLevel(nnx.Module):
    """Two modulated convolutions over what comes from below, the warped features and their holes."""

    def __init__(self, inputs: int, outputs: int, style_channels: int, *, dtype: layers.DType, rngs: layers.Draws):
        self.first = ModulatedConv(inputs, outputs, style_channels, dtype=dtype, rngs=rngs)
        self.second = ModulatedConv(outputs, outputs, style_channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, style: jax.Array, below: jax.Array | None) -> jax.Array:
        return self.second(self.first(x, style, below), style)


class Renderer(nnx.Module):
    """Frame t from frame 0 and the motion between them.

    `width` is the ResNet's (64 in ResNet-34), `decoder_channels` the decoder's widths, finest first, one for each
    of the 1 to 6 levels. Pictures of any size are reflect-padded to multiples of 2^(levels - 1) and cropped back.

    The picture itself is carried with its slopes (`render.tangents`), and the decoder's output is added to it.

    `splatting` is how features are warped: "softmax" by W; for comparison "average" (all pixels alike), "learned" (a
    weight predicted from the features; with one level the "baseline splat" of the paper's Table 2) and "backward"
    (every pixel of frame t fetches from where its own motion in frame 0, reversed, leads).
    """

    def __init__(
        self,
        *,
        width: int = 64,
        decoder_channels: Sequence[int] = (32, 64, 128, 256, 512, 512),
        style_channels: int = 512,
        splatting: Splatting = "softmax",
        dtype: layers.DType = jnp.float32,
        remat: bool = False,
        rngs: layers.Draws,
    ):
        if splatting not in SPLATTING:
            raise ValueError(f"splatting is one of {', '.join(SPLATTING)}, not {splatting!r}")
        self.levels, self.splatting, self.remat, self.dtype = len(decoder_channels), splatting, remat, dtype
        self.pyramid = FeaturePyramid(width=width, levels=self.levels, dtype=dtype, rngs=rngs)
        features = self.pyramid.widths
        self.latent = nnx.Param(rngs.uniform((style_channels,), 1.0))
        self.style = layers.EmbeddingMLP(style_channels + features[-1], style_channels, dtype=jnp.float32, rngs=rngs)
        decoder, below = [], 0
        for level in reversed(range(self.levels)):
            inputs = below + features[level] + 1 + (3 if level == 0 else 0)
            below = decoder_channels[level]
            decoder.append(DecoderLevel(inputs, below, style_channels, dtype=dtype, rngs=rngs))
        self.decoder = nnx.List(decoder)
        self.conv_out = layers.Conv(below, 3, gain=0, dtype=dtype, rngs=rngs)
        learned = splatting == "learned"
        self.importance = layers.Conv(features[0], 1, gain=0, dtype=dtype, rngs=rngs) if learned else None

    @property
    def stride(self) -> int:
        """Pixels of the picture to one of the coarsest level."""
        return 2 ** (self.levels - 1)

    @property
    def reach(self) -> int:
        """How far, in pixels, what was warped can matter to what is decoded, and to the filling of holes."""
        seen = 1  # of `conv_out`
        for level in range(self.levels):
            seen = -(-seen // 2) if level else seen
            seen += 2
        return (seen + 1) * self.stride

    @property
    def features_reach(self) -> int:
        """How far, in pixels, the picture can matter to features and slopes; a multiple of the stride."""
        return -(-max(self.pyramid.reach, REACH) // self.stride) * self.stride

    def encode(self, image: jax.Array) -> Encoded:
        """Pictures [b, h, w, 3] in [0, 1] -> features and slopes: once for all frames."""
        mean, std = jnp.asarray(IMAGE_MEAN), jnp.asarray(IMAGE_STD)
        image = self._pad(image)
        pyramid = self.pyramid((image - layers.per_channel(mean, image)) / layers.per_channel(std, image))
        pooled = jnp.mean(pyramid[-1].astype(jnp.float32), axis=(1, 2))
        return Encoded(pyramid, pooled, spline_slopes(image.astype(jnp.float32)))

    def render(self, encoded: Encoded, image: jax.Array, motion: jax.Array, weight: jax.Array) -> jax.Array:
        """Frame t, float32 [b, h, w, 3], about [0, 1] (not clipped).

        `encoded` is `encode(image)`; `motion` [b, h, w, 2] is F_t in pixels; `weight` [b, h, w] is W, the mean motion
        magnitude over the clip in pixels.
        """
        height, width = image.shape[1:3]
        image, motion, weight = self._pad(image), self._pad(motion), self._pad(weight[..., None])[..., 0]
        pyramid = encoded.pyramid
        motions, weights = motion_pyramid(motion, self.levels), self._weights(pyramid, weight)
        style = self._style(encoded.pooled)
        below = None
        for level, decode in zip(reversed(range(self.levels)), self.decoder, strict=True):
            features = pyramid[level].astype(jnp.float32)
            if level == 0:
                features = jnp.concatenate([features, self._planes(image, encoded.slopes, motion)], axis=-1)
            warped, holes = self._warp(features, motions[level], weights[level])
            if level == 0:
                picture = fill_holes(self._picture(warped[..., -PLANES:], motion), holes, image, self.levels)
                warped = jnp.concatenate([warped[..., :-PLANES], picture], axis=-1)
            x = jnp.concatenate([warped.astype(self.dtype), holes.astype(self.dtype)], axis=-1)
            x = layers.rematerialise(decode, x, style, below) if self.remat else decode(x, style, below)
            below = x
        return (picture + self.conv_out(x).astype(jnp.float32))[:, :height, :width]

    def __call__(self, image: jax.Array, motion: jax.Array, weight: jax.Array) -> jax.Array:
        """`render` of the picture's own features."""
        return self.render(self.encode(image), image, motion, weight)

    def _weights(self, pyramid: list[jax.Array], weight: jax.Array) -> list[jax.Array]:
        """What decides who is in front, at every level."""
        if self.importance is None:
            return weight_pyramid(weight, self.levels)
        levels = [self.importance(pyramid[0]).astype(jnp.float32)]
        for _ in range(self.levels - 1):
            levels.append(halve(levels[-1]))
        return [level[..., 0] for level in levels]

    def _warp(self, features: jax.Array, motion: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Features [b, h, w, c] as frame t sees them, and where it sees none [b, h, w, 1]."""
        if self.splatting == "backward":
            return backward_warp(features, -motion), jnp.zeros((*features.shape[:-1], 1))
        if self.splatting == "average":
            return splat(features, motion, mode="average")
        return splat(features, motion, weight, alpha=None if self.importance is None else 1.0)

    def _planes(self, image: jax.Array, slopes: jax.Array, motion: jax.Array) -> jax.Array:
        backward = self.splatting == "backward"
        return to_planes(image.astype(jnp.float32), slopes, jnp.zeros_like(motion) if backward else motion)

    def _picture(self, planes: jax.Array, motion: jax.Array) -> jax.Array:
        return from_planes(planes, -motion if self.splatting == "backward" else None)

    def _style(self, pooled: jax.Array) -> jax.Array:
        latent = jnp.broadcast_to(self.latent[...][None], (pooled.shape[0], self.latent.shape[0]))
        return nnx.leaky_relu(self.style(jnp.concatenate([latent, pooled], axis=-1)), 0.2)

    def _pad(self, x: jax.Array) -> jax.Array:
        rows, columns = -x.shape[1] % self.stride, -x.shape[2] % self.stride
        return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect") if rows or columns else x


def fill_holes(image: jax.Array, holes: jax.Array, still: jax.Array, levels: int) -> jax.Array:
    """Puts the mean of the nearest filled blocks, 2, 4, ... 2^(levels - 1) pixels wide, into the holes; where the
    largest is empty, that of the same block of `still`, the picture before it moved.

    `image` and `still` [b, h, w, c], sizes multiples of 2^(levels - 1); `holes` [b, h, w, 1], 1 = hole. The rest stays
    as it is.
    """
    valid = 1 - holes
    pyramid = [(image * valid, valid)]
    filled = still.astype(image.dtype)
    for _ in range(levels - 1):
        pyramid.append((halve(pyramid[-1][0]), halve(pyramid[-1][1])))
        filled = halve(filled)
    for level in reversed(range(levels)):
        colour, share = pyramid[level]
        filled = jnp.where(share > 0, colour / jnp.maximum(share, EPSILON), filled)
        filled = layers.double(filled) if level else filled
    return filled
