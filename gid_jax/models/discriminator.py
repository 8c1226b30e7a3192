"""The adversary of the renderer: is this patch of frame t a real one?"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers


class PatchDiscriminator(nnx.Module):
    """A logit for each overlapping patch of a frame, given the still picture: pix2pix's PatchGAN (Isola et al. 2017),
    70 x 70 pixels with the default widths.

    Like LaMa's (Suvorov et al. 2022) it is trained with R1, but has no normalisation, which R1 makes needless
    (Mescheder et al. 2018): pictures of a batch stay independent. `channels` are the widths of 4 x 4 convolutions, all
    but the last of stride 2.
    """

    def __init__(
        self, *, channels: Sequence[int] = (64, 128, 256, 512), dtype: layers.DType = jnp.float32, rngs: layers.Draws
    ):
        inputs, convs = 6, []
        for number, outputs in enumerate(channels, start=1):
            stride = 2 if number < len(channels) else 1
            convs.append(layers.Conv(inputs, outputs, 4, stride, padding=(1, 1), gain=2, dtype=dtype, rngs=rngs))
            inputs = outputs
        self.convs = nnx.List(convs)
        self.conv_out = layers.Conv(inputs, 1, 4, padding=(1, 1), dtype=dtype, rngs=rngs)

    def __call__(self, image: jax.Array, frame: jax.Array) -> jax.Array:
        """Still picture and frame [b, h, w, 3], about [0, 1] -> float32 [b, rows, columns], positive for real."""
        x = 2 * jnp.concatenate([image, frame], axis=-1) - 1
        for conv in self.convs:
            x = nnx.leaky_relu(conv(x), 0.2)
        return self.conv_out(x)[..., 0].astype(jnp.float32)
