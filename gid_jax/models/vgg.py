"""VGG16's and VGG19's convolutions (Simonyan and Zisserman 2015), as feature extractor of perceptual metrics and
losses."""

import jax
import jax.numpy as jnp
from flax import nnx

from gid_jax.models import layers

WIDTHS = (64, 128, 256, 512, 512)
"""Output channels of the convolutions of each block; between blocks the size is halved by maxima of 2 x 2."""
CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each block has in the network of so many layers (three of them its classifier)."""


class VGG(nnx.Module):
    def __init__(self, *, depth: int = 16, dtype: layers.DType = jnp.float32, rngs: layers.Draws):
        self.blocks = CONVOLUTIONS[depth]
        inputs, convs = 3, []
        for width, count in zip(WIDTHS, self.blocks, strict=True):
            for _ in range(count):
                convs.append(layers.Conv(inputs, width, dtype=dtype, rngs=rngs))
                inputs = width
        self.convs = nnx.List(convs)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Normalised pictures [b, h, w, 3] -> rectified features at the end of each block, [b, h/2^i, w/2^i, c_i].

        Their usual names are relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 in VGG16, relu3_4 and so on in VGG19. Sizes
        are rounded down.
        """
        features: list[jax.Array] = []
        convs = iter(self.convs)
        for count in self.blocks:
            if features:
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            for _ in range(count):
                x = nnx.relu(next(convs)(x))
            features.append(x)
        return features
