"""Motion that a picture is given by others than the model."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gid_jax.data import codec
from gid_jax.data.source import Source
from gid_jax.metrics import lpips
from gid_jax.motion.spectrum import PERIOD
from gid_jax.progress import progress
from gid_jax.render import accumulation
from gid_jax.render.splatting import importance
from gid_jax.render.warp import backward_warp

BATCH = 8  # pictures that VGG sees at once


def swaying(mean_map: np.ndarray, bands: np.ndarray, seed: int) -> np.ndarray:
    """Spectrum [k, h, w, 4] with the amplitudes `bands` [k] that is the same everywhere but for its strength, which is
    that of `mean_map` [h, w]: the picture sways in step, at phases drawn for each frequency and direction.

    The mean of complex spectra would say nothing, since phases of clips cancel.
    """
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (len(bands), 2))
    waves = np.concatenate([np.cos(phases), np.sin(phases)], axis=-1) * bands[:, None] / np.sqrt(2)
    strength = mean_map / max(float(np.sqrt(np.mean(np.square(mean_map)))), 1e-12)
    return (waves[:, None, None] * strength[..., None]).astype(np.float32)


def nearest(train: Source, among: Sequence[int], images: Iterator[np.ndarray]) -> list[int]:
    """For each of `images` (uint8 [h, w, 3]) the example, `among` those of `train`, whose picture is most like it: by
    the cosine of VGG16's last features at every position, mean over positions."""
    wanted = np.concatenate(list(_features(images)))
    best, found = np.full(len(wanted), -np.inf), np.zeros(len(wanted), np.int64)
    pictures = (codec.decode_image(train[i]["image"]) for i in progress(among, name="training pictures"))
    first = 0
    for features in _features(pictures):
        likeness = wanted @ features.T
        better = likeness.max(axis=1) > best
        best[better] = likeness.max(axis=1)[better]
        found[better] = np.asarray(among)[first + likeness.argmax(axis=1)[better]]
        first += len(features)
    return found.tolist()


def _features(images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """[n, positions * channels] of up to `BATCH` pictures at a time."""
    images = iter(images)
    while taken := [image for _, image in zip(range(BATCH), images, strict=False)]:
        filled = np.stack([*taken, *[taken[-1]] * (BATCH - len(taken))])
        yield np.asarray(lpips.unit_features(filled.astype(np.float32) / 255))[: len(taken)]


def velocity(spectrum: np.ndarray, period: int = PERIOD) -> np.ndarray:
    """dF/dt at t = 0, px per frame, [h, w, 2], of a spectrum [k, h, w, 4]: its series differentiated term by term."""
    rates = (-2 / period * 2 * np.pi / period) * np.arange(len(spectrum))
    return np.einsum("k,khwc->hwc", rates, spectrum[..., 2:]).astype(np.float32)


@jax.jit
def carried(velocities: Float[Array, "h w 2"]) -> tuple[Float[Array, "t h w 2"], Float[Array, "t h w 2"]]:
    """Where a constant velocity field carries each pixel in 0 ... P - 1 frames, and in -P ... -1: Euler steps along the
    velocity at the place that it has reached (Holynski et al. 2021, eq. 2)."""

    def steps(field: Array) -> Array:
        def step(moved: Array, _: None) -> tuple[Array, Array]:
            return moved + backward_warp(field, moved), moved

        last, before = jax.lax.scan(step, jnp.zeros_like(field), None, length=PERIOD)
        return jnp.concatenate([before, last[None]])

    forward, backward = steps(velocities), steps(-velocities)
    return forward[:-1], backward[:0:-1]


@jax.jit
def splatted_symmetrically(
    image: Float[Array, "h w 3"],
    forward: Float[Array, "h w 2"],
    backward: Float[Array, "h w 2"],
    weight: Float[Array, "h w"],
    share: Float[Array, ""],
) -> Float[Array, "h w 3"]:
    """The picture carried `forward`, counting 1 - `share`, and `backward`, counting `share`, splatted into one frame
    (ibid., eq. 5): where one leaves holes the other fills them, and the clip is a loop. Where neither arrives the
    picture shows."""
    images = jnp.stack([image, image])
    weights = importance(jnp.stack([weight, weight])) * jnp.stack([1 - share, share])[:, None, None]
    summed, total = accumulation.accumulate(images, weights, jnp.stack([forward, backward]))
    summed, total = summed.sum(axis=0), total.sum(axis=0)[..., None]
    arrived = total > 0
    return jnp.where(arrived, summed / jnp.where(arrived, total, 1), image)
