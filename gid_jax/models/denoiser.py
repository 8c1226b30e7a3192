"""The denoiser as it is trained: image encoder and U-Net."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models.image_encoder import ImageEncoder
from gid_jax.models.layers import Draws, DType
from gid_jax.models.unet import UNet


class Denoiser(nnx.Module):
    """`image_encoder` and `unet` are the keyword arguments of the two networks."""

    def __init__(
        self,
        *,
        image_encoder: Mapping[str, Any],
        unet: Mapping[str, Any],
        dtype: DType = jnp.float32,
        remat: bool = False,
        rngs: Draws,
    ):
        self.image_encoder = ImageEncoder(**image_encoder, dtype=dtype, rngs=rngs)
        self.unet = UNet(**unet, dtype=dtype, remat=remat, rngs=rngs)

    def encode_image(self, image: jax.Array) -> jax.Array:
        """Pictures [b, h, w, 3] in [0, 1] -> features [b, h/4, w/4, 16]. The null condition is a zero feature map."""
        return self.image_encoder(image)

    def __call__(
        self, latents: jax.Array, features: jax.Array, time: jax.Array, frequency: jax.Array, num_slices: int = 1
    ) -> jax.Array:
        """Predicted noise, as `UNet.__call__`; `features` [n, h, w, 16] are one for each slice."""
        return self.unet(latents, features, time, frequency, num_slices)
