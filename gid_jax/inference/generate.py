"""From a photo to its spectral volume, and from both to frames (PAPER.md, sampling; DESIGN's conventions for units)."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt8

from gid_jax import rendering
from gid_jax.diffusion.guidance import Denoise, classifier_free
from gid_jax.diffusion.preconditioning import predicted_noise
from gid_jax.diffusion.samplers import sample
from gid_jax.diffusion.schedule import scaled_linear
from gid_jax.inference.bundle import Bundle, Networks
from gid_jax.inference.photo import resize
from gid_jax.motion.normalization import denormalize
from gid_jax.motion.spectrum import at_times, from_rest, splatting_weight
from gid_jax.progress import progress
from gid_jax.streams import stream_key

NUM_STEPS = 50
GUIDANCE = 0.0
LATENT_STRIDE = 4
CHUNK = 25  # motions computed at once

Method = Literal["ddim", "dpmpp_2m"]


def model_size(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which the motion of a picture is predicted: the picture's aspect, about as many pixels as the
    pictures of training, sides multiples of the U-Net's stride.
    """
    stride = LATENT_STRIDE * 2 ** (len(bundle.models["denoiser"]["unet"]["multipliers"]) - 1)
    scale = (bundle.width * bundle.height / (width * height)) ** 0.5
    return max(stride, stride * round(height * scale / stride)), max(stride, stride * round(width * scale / stride))


def predict_spectrum(
    bundle: Bundle,
    image: Float[ArrayLike, "h w 3"],
    *,
    seed: int = 0,
    num_steps: int = NUM_STEPS,
    guidance: float = GUIDANCE,
    method: Method = "ddim",
) -> Float[np.ndarray, "k H W 4"]:
    """A spectral volume of the picture `image` ([0, 1], any size), in pixels of the resolution `model_size`."""
    image = np.asarray(image, np.float32)
    image = resize(image, *model_size(bundle, *image.shape[:2]))
    return _predict(bundle, jnp.asarray(image)[None], [seed], num_steps, guidance, method, show=True)[0]


def predict_spectra(
    bundle: Bundle,
    images: Float[ArrayLike, "b h w 3"],
    seeds: Sequence[int],
    *,
    num_steps: int = NUM_STEPS,
    guidance: float = GUIDANCE,
    method: Method = "ddim",
) -> Float[np.ndarray, "b k h w 4"]:
    """Spectral volumes of pictures whose sides are multiples of 4, in their own pixels; a seed for each.

    The K slices of a volume are denoised together. A picture's volume depends on its seed, not on its companions
    (up to float32 rounding). Raises ValueError unless there are as many seeds as pictures.
    """
    images = jnp.asarray(images, jnp.float32)
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} pictures need as many seeds, not {len(seeds)}")
    return _predict(bundle, images, seeds, num_steps, guidance, method, show=False)


def _predict(
    bundle: Bundle,
    images: Array,
    seeds: Sequence[int],
    num_steps: int,
    guidance: float,
    method: Method,
    *,
    show: bool,
) -> np.ndarray:
    volumes, slices = len(images), bundle.num_frequencies
    schedule = scaled_linear(**bundle.schedule)
    latent = (*(side // LATENT_STRIDE for side in images.shape[1:3]), bundle.latent_mean.shape[-1])
    noise = jnp.concatenate([jax.random.normal(stream_key(seed, "latents", 0), (slices, *latent)) for seed in seeds])
    features = jnp.repeat(_encode_image(bundle.networks, bundle.params["denoiser"], images), slices, axis=0)
    frequency = jnp.tile(jnp.arange(slices, dtype=jnp.int32), volumes)

    def denoiser(features: Array) -> Denoise:
        given = (bundle.networks, slices, bundle.params["denoiser"], features, frequency)
        known = bundle.models["denoiser"].get("variance_head")
        variance = _variance(bundle.networks, bundle.params["denoiser"], features, frequency) if known else None
        return predicted_noise(functools.partial(_denoise, *given), bundle.prediction, schedule, variance)

    guided = classifier_free(denoiser(features), denoiser(jnp.zeros_like(features)), guidance)
    z = sample(guided, noise, schedule, num_steps=num_steps, method=method, scan=functools.partial(_scan, show))
    mean, std = (_per_slice(x, slices, volumes) for x in (bundle.latent_mean, bundle.latent_std))
    values = _decode(bundle.networks, bundle.params["vae"], z * std + mean)
    values = values.reshape(volumes, slices, *values.shape[1:])
    return np.asarray(denormalize(values, bundle.scales, bundle.normalization))


@functools.partial(jax.jit, static_argnums=0)
def _encode_image(networks: Networks, params: dict, images: Array) -> Array:
    return networks.denoiser.bind(params).encode_image(images)


@functools.partial(jax.jit, static_argnums=0)
def _variance(networks: Networks, params: dict, features: Array, frequency: Array) -> Array:
    return jnp.exp(networks.denoiser.bind(params).log_variance(features, frequency))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _denoise(
    networks: Networks, num_slices: int, params: dict, features: Array, frequency: Array, z: Array, t: Array
) -> Array:
    return networks.denoiser.bind(params)(z, features, jnp.full(len(z), t, jnp.int32), frequency, num_slices)


@functools.partial(jax.jit, static_argnums=0)
def _decode(networks: Networks, params: dict, latents: Array) -> Array:
    return networks.vae.bind(params).decode(latents)


def _scan(show: bool, step: Callable, carry: Any, inputs: Any) -> tuple[Any, None]:
    """`lax.scan` as a loop: only the network is compiled, once for any number of steps, and a bar can show them."""
    leaves, structure = jax.tree.flatten(inputs)
    rows = zip(*(np.asarray(leaf) for leaf in leaves), strict=True)
    for row in progress(rows, name="predicting motion", total=len(leaves[0]), unit="step") if show else rows:
        carry, _ = step(carry, jax.tree.unflatten(structure, map(jnp.asarray, row)))
        if show:
            jax.block_until_ready(carry)
    return carry, None


def _per_slice(statistic: np.ndarray, num_slices: int, batch: int) -> Array:
    """Whitening statistics [c] or [k, c] as [b * k, 1, 1, c]."""
    per_frequency = np.broadcast_to(statistic.reshape(-1, statistic.shape[-1]), (num_slices, statistic.shape[-1]))
    return jnp.asarray(np.tile(per_frequency, (batch, 1))[:, None, None, :])


def render_frames(
    bundle: Bundle,
    image: Float[ArrayLike, "h w 3"],
    spectrum: Float[ArrayLike, "k H W 4"],
    times: Float[ArrayLike, " t"],
    magnify: float = 1.0,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Frames of the picture `image` at `times` (in frames of 1/30 s, any real number), at the picture's own size.

    `spectrum` is in pixels of its own resolution and moves the picture `magnify` times as far; at time 0 nothing is
    displaced. Memory does not grow with the number of frames (`rendering.render`).
    """
    spectrum = magnify * from_rest(spectrum)
    weight = splatting_weight(spectrum, *np.shape(image)[:2])
    times = np.asarray(times, np.float64)
    chunks = (at_times(spectrum, times[i : i + CHUNK]) for i in range(0, len(times), CHUNK))
    motions = itertools.chain.from_iterable(np.asarray(chunk) for chunk in chunks)
    return rendering.render(bundle.networks.renderer, bundle.params["renderer"], image, motions, weight)
