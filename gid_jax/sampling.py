"""From pictures' features and noise to spectral volumes: the one place where motion is sampled (PAPER.md, sampling).

Works inside `jax.jit`, on a mesh too, and outside, where only the networks are compiled and each step can be shown.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from gid_jax import placement
from gid_jax.diffusion import guidance, samplers
from gid_jax.diffusion.guidance import Denoise
from gid_jax.diffusion.preconditioning import predicted_noise
from gid_jax.diffusion.prediction import Prediction
from gid_jax.diffusion.schedule import Schedule
from gid_jax.models.denoiser import Denoiser
from gid_jax.models.network import Network, Params
from gid_jax.models.vae import VAE
from gid_jax.motion import loops
from gid_jax.motion.normalization import Normalization, denormalize


@dataclasses.dataclass(frozen=True, eq=False)
class MotionModel:
    """The trained parts that turn noise into motion, as a bundle or a training run has them.

    `latent_mean` and `latent_std` whiten latents per channel [c] or per frequency and channel [k, c]; `scales` are s_k
    in px.
    """

    denoiser: Network[Denoiser]
    denoiser_params: Params
    vae: Network[VAE]
    vae_params: Params
    schedule: Schedule
    prediction: Prediction
    latent_mean: Float[ArrayLike, "*k c"]
    latent_std: Float[ArrayLike, "*k c"]
    scales: Float[ArrayLike, " k"]
    normalization: Normalization

    def encode_image(self, images: Float[Array, "b H W 3"]) -> Float[Array, "b h w f"]:
        """Features of pictures in [0, 1], at the latents' size."""
        return _encode_image(self.denoiser, self.denoiser_params, images)


class Motion:
    """The motion of some pictures, all K slices of each, as the model knows it: what guidance is made of.

    Latents z are whitened, [b * k, h/4, w/4, c] as `placement.join` orders slices. All three functions can be
    differentiated.
    """

    def __init__(self, model: MotionModel, features: Float[Array, "b h w f"], num_slices: int):
        self._model, self._num_slices = model, num_slices
        frequency = jnp.arange(num_slices, dtype=jnp.int32)
        self._frequency = placement.join(jnp.broadcast_to(frequency, (len(features), num_slices)))
        features = placement.spread(features, num_slices)
        self.conditional: Denoise = self._denoise(features)
        """eps(z_t, t), given the pictures."""
        self.null: Denoise = self._denoise(jnp.zeros_like(features))
        """eps(z_t, t) under the null condition."""
        self.schedule = model.schedule

    def spectra(self, z: Float[Array, "n h w c"]) -> Float[Array, "b k H W 4"]:
        """Spectra in px of clean latents z_0: whitening undone, decoded, normalisation undone."""
        model, k = self._model, self._num_slices
        mean, std = (self._per_slice(jnp.asarray(x)) for x in (model.latent_mean, model.latent_std))
        values = placement.split(_decode(model.vae, model.vae_params, z * std + mean), k)
        return denormalize(values, model.scales, model.normalization)

    def _denoise(self, features: Array) -> Denoise:
        model = self._model
        given = (model.denoiser, self._num_slices, model.denoiser_params, features, self._frequency)
        return predicted_noise(functools.partial(_predict, *given), model.prediction, model.schedule, _variance(*given))

    def _per_slice(self, statistic: Array) -> Array:
        """Whitening statistics as [b * k, 1, 1, c]."""
        of_all = jnp.broadcast_to(statistic, (self._num_slices, statistic.shape[-1]))
        return of_all[self._frequency][:, None, None, :]


Guidance = Callable[[Motion], Denoise]  # what the sampler follows


def classifier_free(scale: float) -> Guidance:
    """eps = (1 + w) eps_c - w eps_0; with w = 0 the picture's prediction as it is."""
    return lambda motion: guidance.classifier_free(motion.conditional, motion.null, scale)


def looping(scale: float, strength: float, through_network: bool) -> Guidance:
    """`classifier_free` that also seeks motion without a seam; see `guidance.downhill` and `loops.seam_loss`."""

    def guided(motion: Motion) -> Denoise:
        free = guidance.classifier_free(motion.conditional, motion.null, scale)

        def loss(clean: Array) -> Array:
            return loops.seam_loss(motion.spectra(clean)).sum()

        return guidance.downhill(free, loss, motion.schedule, strength, through_network)

    return guided


def sample_spectra(
    model: MotionModel,
    features: Float[Array, "b h w f"],
    noise: Float[Array, "b k h w c"],
    *,
    num_steps: int,
    method: samplers.Method,
    guided: Guidance,
    recurrences: int = 0,
    key: Key[Array, ""] | None = None,
    scan: Callable[..., tuple[Any, Any]] = jax.lax.scan,
) -> Float[Array, "b k H W 4"]:
    """Spectral volumes in px of the pictures that `MotionModel.encode_image` gave `features` of.

    `noise` is standard normal, of the latents' shape. The K slices of a volume are denoised together, all steps along
    what `guided` makes of the model. `recurrences`, their `key` and `scan`: see `samplers.sample`.
    """
    motion = Motion(model, features, noise.shape[1])
    z = placement.join(noise)
    given = guided(motion), z, model.schedule, num_steps, method
    return motion.spectra(samplers.sample(*given, key=key, recurrences=recurrences, scan=scan))


# Each compiled by itself, once for any number of steps, where nothing around it is.


@functools.partial(jax.jit, static_argnums=0)
def _encode_image(denoiser: Network[Denoiser], params: Params, images: Array) -> Array:
    return denoiser.bind(params).encode_image(images)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _variance(
    denoiser: Network[Denoiser], num_slices: int, params: Params, features: Array, frequency: Array
) -> Array | None:
    """Of the clean latents beforehand, [n, h, w, 1]; None where the network has no head for it."""
    bound = denoiser.bind(params)
    return None if bound.variance_head is None else jnp.exp(bound.log_variance(features, frequency))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _predict(
    denoiser: Network[Denoiser], num_slices: int, params: Params, features: Array, frequency: Array, z: Array, t: Array
) -> Array:
    steps = jnp.broadcast_to(t, frequency.shape)
    return denoiser.bind(params)(z, features, steps, frequency, num_slices)


@functools.partial(jax.jit, static_argnums=0)
def _decode(vae: Network[VAE], params: Params, latents: Array) -> Array:
    return vae.bind(params).decode(latents)
