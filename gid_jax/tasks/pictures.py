"""The pictures that a training run shows: panels side by side, a row for each example. Pure functions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gid_jax import placement
from gid_jax.motion.spectrum import PERIOD, from_rest, mean_magnitude, to_trajectories
from gid_jax.render import colour
from gid_jax.render.splatting import splat_picture

EXAMPLES = 4  # rows
FREQUENCIES = 4  # of a volume whose coefficients are shown
GAP, GREY = 2, 0.6  # px between panels, and their colour


def of_motion(images: jax.Array, true: jax.Array, ours: jax.Array) -> dict[str, jax.Array]:
    """`motion`: picture, true motion map and ours, in the colours of `colour.magnitude` on the scale of the true one.
    `xt_slices`: the row of pixels that truly moves most, over the frames of a clip (downwards), with true motion and
    with ours.

    `images` [b, h, w, 3], `true` and `ours` spectra [b, k, h, w, 4] in px. Frames are splatted, without a network.
    """
    images, true, ours = shown((images, true, ours))
    maps = mean_magnitude(true), mean_magnitude(ours)
    liveliest = jnp.argmax(jnp.sum(maps[0], axis=2), axis=1)
    slices = [jax.lax.map(_row_over_time, (images, spectra, liveliest)) for spectra in (true, ours)]
    largest = _largest(maps[0])
    return {"motion": grid([images, *(colour.magnitude(x, largest) for x in maps)]), "xt_slices": grid(slices)}


def of_coefficients(true: jax.Array, ours: jax.Array) -> dict[str, jax.Array]:
    """`coefficients`: Re S of some frequencies, lowest to highest, each true and ours, in the colours of
    `colour.direction` on the scale of the true one. Spectra [b, k, h, w, 4] in px.
    """
    true, ours = shown((true, ours))
    count = true.shape[1]
    chosen = sorted({round(k) for k in np.linspace(0, count - 1, min(FREQUENCIES, count))})
    panels = []
    for k in chosen:
        largest = _largest(jnp.linalg.norm(true[:, k, ..., :2], axis=-1))
        panels += [colour.direction(spectra[:, k, ..., :2], largest) for spectra in (true, ours)]
    return {"coefficients": grid(panels)}


def shown(batch: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """The first examples of a batch, on every device."""
    return placement.constrain(tuple(x[:EXAMPLES] for x in batch), placement.REPLICATED)


def grid(columns: Sequence[jax.Array]) -> jax.Array:
    """Columns of panels, each [b, h, w, 3] in [0, 1], as one picture [H, W, 3] uint8."""
    gaps = ((0, 0), (0, GAP), (0, GAP), (0, 0))
    rows = jnp.concatenate([jnp.pad(x, gaps, constant_values=GREY) for x in columns], axis=2)
    picture = rows.reshape(-1, *rows.shape[2:])[:-GAP, :-GAP]
    return jnp.round(255 * jnp.clip(picture, 0, 1)).astype(jnp.uint8)


def _largest(lengths: jax.Array) -> jax.Array:
    """Of each map [b, h, w] what all but the last half per cent stay below."""
    return jnp.quantile(lengths.reshape(len(lengths), -1), 0.995, axis=1)


def _row_over_time(arguments: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    """Row `row` of the frames of a clip, [t, w, 3], of a picture [h, w, 3] moved by a spectrum [k, h, w, 4]."""
    image, spectrum, row = arguments
    spectrum = from_rest(spectrum)
    weight, motion = mean_magnitude(spectrum), to_trajectories(spectrum, PERIOD)
    return jax.lax.map(lambda frame: splat_picture(image, frame, weight)[row], motion)
