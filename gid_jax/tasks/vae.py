"""Stage 1: the autoencoder of single frequency slices, on normalised values."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gid_jax import placement
from gid_jax.models.network import Network
from gid_jax.models.vae import VAE
from gid_jax.motion.normalization import denormalize, normalize
from gid_jax.tasks import losses, pictures
from gid_jax.tasks.task import Batch, Metrics, Task, Tree

GRADIENT_WEIGHT = 0.2  # PAPER.md: L1 1, gradient consistency 0.2, KL 1e-6
KL_WEIGHT = 1e-6


class VAETask(Task):
    """L1 + 0.2 multi-scale gradient consistency + 1e-6 KL."""

    kind: ClassVar[Literal["slices"]] = "slices"
    shows: ClassVar[Literal["volumes"]] = "volumes"

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        super().__init__(config, scales)
        model = config.model.to_dict()
        self.vae = Network(lambda rngs: VAE(**model, dtype=self.dtype, remat=config.remat, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        return self.vae.init(key), {"scales": jnp.asarray(self.scales)}

    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        target = normalize(batch["spectrum"], frozen["scales"][batch["frequency"]], self.config.normalization)
        vae = self.vae.bind(params)
        mean, log_variance = vae.encode(target)
        latent = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        result = vae.decode(latent)
        l1, gradient = losses.absolute(result, target), losses.multiscale_gradient(result, target)
        kl = kl_divergence(mean, log_variance)
        loss = l1 + GRADIENT_WEIGHT * gradient + KL_WEIGHT * kl
        return loss, {"loss": loss, "l1": l1, "gradient": gradient, "kl": kl}

    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """The loss; the share of the spectra's energy (px^2) that reconstruction from the mean explains; and the share
        of the posterior's noise in the variance of the noisiest latent channel: 1 is a channel that says nothing.
        """
        _, metrics = self.loss(params, frozen, batch, key)
        spectrum, scales = batch["spectrum"], frozen["scales"][batch["frequency"]]
        kind = self.config.normalization
        vae = self.vae.bind(params)
        mean, log_variance = vae.encode(normalize(spectrum, scales, kind))
        result = denormalize(vae.decode(mean), scales, kind)
        missed = jnp.sum(jnp.square(result - spectrum)) / jnp.maximum(jnp.sum(jnp.square(spectrum)), 1e-12)
        noise = jnp.mean(jnp.exp(log_variance), axis=(0, 1, 2))
        noise_share = jnp.max(noise / (noise + jnp.var(mean, axis=(0, 1, 2))))
        return {**metrics, "energy_explained": 1 - missed, "latent_noise": noise_share}

    def pictures(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Whole volumes, and what comes back of them: `pictures.of_motion` and `pictures.of_coefficients`."""
        spectrum, scales, vae = batch["spectrum"], frozen["scales"], self.vae.bind(params)
        count, kind = spectrum.shape[1], self.config.normalization
        mean, _ = vae.encode(placement.join(normalize(spectrum, scales, kind)))
        ours = denormalize(placement.split(vae.decode(mean), count), scales, kind)
        return pictures.of_motion(batch["image"], spectrum, ours) | pictures.of_coefficients(spectrum, ours)


def kl_divergence(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL from N(mean, variance) to N(0, 1), summed over a latent [h, w, c] and averaged over the batch."""
    terms = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance)
    return jnp.mean(jnp.sum(terms, axis=(1, 2, 3)))
