"""The denoiser as it is trained: image encoder and U-Net."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax import placement
from gid_jax.models.image_encoder import ImageEncoder
from gid_jax.models.layers import Conv, Draws, DType
from gid_jax.models.unet import UNet

LOG_VARIANCE_RANGE = (-8.0, 4.0)


class Denoiser(nnx.Module):
    """`image_encoder` and `unet` are the keyword arguments of the two networks.

    With `joint`, the K slices of a volume are the channels of one picture to the U-Net, which then has 4 K channels of
    latents in and out (the paper's ablation "volume prediction").
    With `variance_head`, a linear map of the picture's features gives the variance of the clean latents at each place
    and frequency: how strongly it moves, beforehand.
    """

    def __init__(
        self,
        *,
        image_encoder: Mapping[str, Any],
        unet: Mapping[str, Any],
        joint: bool = False,
        variance_head: bool = False,
        dtype: DType = jnp.float32,
        remat: bool = False,
        rngs: Draws,
    ):
        self.joint = joint
        self.image_encoder = ImageEncoder(**image_encoder, dtype=dtype, rngs=rngs)
        self.unet = UNet(**unet, dtype=dtype, remat=remat, rngs=rngs)
        features, frequencies = self.image_encoder.conv_out.kernel.shape[-1], len(self.unet.frequency_table[...])
        self.variance_head = Conv(features, frequencies, 1, dtype=dtype, rngs=rngs) if variance_head else None

    def encode_image(self, image: jax.Array) -> jax.Array:
        """Pictures [b, h, w, 3] in [0, 1] -> features [b, h/4, w/4, 16]. The null condition is a zero feature map."""
        return self.image_encoder(image)

    def log_variance(self, features: jax.Array, frequency: jax.Array) -> jax.Array:
        """float32 [n, h, w, 1] for features [n, h, w, 16] and frequencies [n]; 0 everywhere without `variance_head`."""
        if self.variance_head is None:
            return jnp.zeros((*features.shape[:-1], 1))
        of_all = jnp.clip(self.variance_head(features).astype(jnp.float32), *LOG_VARIANCE_RANGE)
        return jnp.take_along_axis(of_all, frequency.reshape(-1, 1, 1, 1), axis=-1)

    def __call__(
        self, latents: jax.Array, features: jax.Array, time: jax.Array, frequency: jax.Array, num_slices: int = 1
    ) -> jax.Array:
        """Predicted noise, as `UNet.__call__`; `features` [n, h, w, 16] are one for each slice."""
        if not self.joint:
            return self.unet(latents, features, time, frequency, num_slices)
        volumes = placement.split(latents, num_slices).transpose(0, 2, 3, 1, 4)
        features, time, frequency = (placement.split(x, num_slices)[:, 0] for x in (features, time, frequency))
        predicted = self.unet(volumes.reshape(*volumes.shape[:3], -1), features, time, frequency)
        return placement.join(predicted.reshape(volumes.shape).transpose(0, 3, 1, 2, 4))
