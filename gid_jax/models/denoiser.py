"""The denoiser as it is trained: image encoder and U-Net."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models.image_encoder import ImageEncoder
from gid_jax.models.layers import Conv, Draws, DType
from gid_jax.models.unet import UNet


class Denoiser(nnx.Module):
    """`image_encoder` and `unet` are the keyword arguments of the two networks.

    With `amplitude_head`, a linear map of the picture's features says how strongly each place moves at each frequency:
    an extra target of training, which sampling does not use.
    """

    def __init__(
        self,
        *,
        image_encoder: Mapping[str, Any],
        unet: Mapping[str, Any],
        amplitude_head: bool = False,
        dtype: DType = jnp.float32,
        remat: bool = False,
        rngs: Draws,
    ):
        self.image_encoder = ImageEncoder(**image_encoder, dtype=dtype, rngs=rngs)
        self.unet = UNet(**unet, dtype=dtype, remat=remat, rngs=rngs)
        features, frequencies = self.image_encoder.conv_out.kernel.shape[-1], len(self.unet.frequency_table[...])
        self.amplitude_head = Conv(features, frequencies, 1, dtype=dtype, rngs=rngs) if amplitude_head else None

    def encode_image(self, image: jax.Array) -> jax.Array:
        """Pictures [b, h, w, 3] in [0, 1] -> features [b, h/4, w/4, 16]. The null condition is a zero feature map."""
        return self.image_encoder(image)

    def predict_amplitude(self, features: jax.Array, frequency: jax.Array) -> jax.Array:
        """float32 [n, h, w] for features [n, h, w, 16] and frequencies [n]; needs `amplitude_head`."""
        assert self.amplitude_head is not None
        of_all = self.amplitude_head(features).astype(jnp.float32)
        return jnp.take_along_axis(of_all, frequency.reshape(-1, 1, 1, 1), axis=-1)[..., 0]

    def __call__(
        self, latents: jax.Array, features: jax.Array, time: jax.Array, frequency: jax.Array, num_slices: int = 1
    ) -> jax.Array:
        """Predicted noise, as `UNet.__call__`; `features` [n, h, w, 16] are one for each slice."""
        return self.unet(latents, features, time, frequency, num_slices)
