"""From a photo to its spectral volume, and from both to frames (PAPER.md, sampling; DESIGN's conventions for units)."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt8

from gid_jax import rendering
from gid_jax.diffusion.samplers import METHODS, Method
from gid_jax.diffusion.schedule import scaled_linear
from gid_jax.errors import UserError
from gid_jax.inference.bundle import Bundle
from gid_jax.inference.photo import resize
from gid_jax.motion import loops
from gid_jax.motion.spectrum import at_times, from_rest, splatting_weight
from gid_jax.progress import progress
from gid_jax.sampling import MotionModel, classifier_free, looping, sample_spectra
from gid_jax.streams import stream_key

NUM_STEPS = 50
GUIDANCE = 0.0
LATENT_STRIDE = 4
CHUNK = 25  # motions computed at once

Loop = Literal["closed", "latents", "network"]
LOOPS: tuple[Loop, ...] = get_args(Loop)
"""Ways to motion without a seam: the closed form; guidance of the clean latents; guidance through the network."""
_GUIDED = {"latents": (20.0, 0), "network": (200.0, 2)}  # u of eq. 5, recurrences of DDIM


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
    loop: Loop | None = None,
) -> Float[np.ndarray, "k H W 4"]:
    """A spectral volume of the picture `image` ([0, 1], any size), in pixels of the resolution `model_size`. With
    `loop` its motion has no seam.

    Raises UserError for settings that do not work (`check_sampling`) and for a prediction that is not finite.
    """
    image = np.asarray(image, np.float32)
    image = resize(image, *model_size(bundle, *image.shape[:2]))
    volume = _predict(bundle, jnp.asarray(image)[None], [seed], num_steps, guidance, method, loop, show=True)[0]
    return loops.close(volume) if loop == "closed" else volume


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
    (up to float32 rounding). Raises ValueError unless there are as many seeds as pictures, UserError as
    `predict_spectrum`.
    """
    images = jnp.asarray(images, jnp.float32)
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} pictures need as many seeds, not {len(seeds)}")
    return _predict(bundle, images, seeds, num_steps, guidance, method, None, show=False)


def _predict(
    bundle: Bundle,
    images: Array,
    seeds: Sequence[int],
    num_steps: int,
    guidance: float,
    method: Method,
    loop: Loop | None,
    *,
    show: bool,
) -> np.ndarray:
    check_sampling(bundle, num_steps=num_steps, guidance=guidance, method=method)
    guided, recurrences = classifier_free(guidance), 0
    if loop in _GUIDED:
        strength, recurrences = _GUIDED[loop]
        guided = looping(guidance, strength, through_network=loop == "network")
    model = motion_model(bundle)
    latent = (*(side // LATENT_STRIDE for side in images.shape[1:3]), bundle.latent_mean.shape[-1])
    shape = (bundle.num_frequencies, *latent)
    noise = jnp.stack([jax.random.normal(stream_key(seed, "latents", 0), shape) for seed in seeds])
    spectra = sample_spectra(
        model,
        model.encode_image(images),
        noise,
        num_steps=num_steps,
        method=method,
        guided=guided,
        recurrences=recurrences if method == "ddim" else 0,
        key=stream_key(seeds[0], "recurrence", 0),
        scan=functools.partial(_scan, show),
    )
    if not jnp.isfinite(spectra).all():
        raise UserError(
            "the predicted motion is not finite, nothing is made of it: try guidance 0, other steps or the other "
            "method; if it stays so, the bundle's networks are broken: train or export them again"
        )
    return np.asarray(spectra)


def check_sampling(
    bundle: Bundle, *, num_steps: int = NUM_STEPS, guidance: float = GUIDANCE, method: Method = "ddim"
) -> None:
    """Raises UserError for settings with which the bundle cannot be sampled."""
    total = scaled_linear(**bundle.schedule).num_steps
    if not 1 <= num_steps <= total:
        raise UserError(f"{num_steps} sampling steps: the bundle's schedule has {total}, so ask for 1 to {total}")
    if not np.isfinite(guidance):
        raise UserError(f"guidance {guidance}: give a number, such as 0 for none or 1.75")
    if method not in METHODS:
        raise UserError(f"sampling method {method!r} does not exist; there are {', '.join(METHODS)}")


def motion_model(bundle: Bundle) -> MotionModel:
    """What of a bundle samples motion."""
    return MotionModel(
        denoiser=bundle.networks.denoiser,
        denoiser_params=bundle.params["denoiser"],
        vae=bundle.networks.vae,
        vae_params=bundle.params["vae"],
        schedule=scaled_linear(**bundle.schedule),
        prediction=bundle.prediction,
        latent_mean=bundle.latent_mean,
        latent_std=bundle.latent_std,
        scales=bundle.scales,
        normalization=bundle.normalization,
    )


def _scan(show: bool, step: Callable, carry: Any, inputs: Any) -> tuple[Any, None]:
    """`lax.scan` as a loop: only the network is compiled, once for any number of steps, and a bar can show them."""
    leaves, structure = jax.tree.flatten(inputs)
    rows = zip(*(np.asarray(leaf) for leaf in leaves), strict=True)
    for row in progress(rows, name="predicting motion", total=len(leaves[0]), unit="step") if show else rows:
        carry, _ = step(carry, jax.tree.unflatten(structure, map(jnp.asarray, row)))
        if show:
            jax.block_until_ready(carry)
    return carry, None


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
