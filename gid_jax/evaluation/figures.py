"""One distance between features of real and of made clips, with all that belongs to it."""

from collections.abc import Sequence

import jax
import numpy as np

from gid_jax.metrics import distances, i3d, inception
from gid_jax.metrics.frechet import Normal

INTERVAL = 1.96  # standard errors
SINGULAR = {inception.NAME: inception.DIMENSIONS, i3d.NAME: i3d.DIMENSIONS}
"""Vectors below which a network's covariance is singular and the figure mostly tells how many there are."""

Clips = Sequence[np.ndarray | jax.Array]  # features [n, d] of each clip, video or subject: what a bootstrap draws


def between(network: str, real: Clips | Normal, fake: Clips, *, kernel: bool = False, paired: bool = False) -> dict:
    """The Frechet distance, or with `kernel` KID, of the features of `network`.

    value; error, low, high: the standard error by bootstrap and the 95 % interval, None for fewer than three clips;
    resamples; n of both sides; and `warning` where there are few. `paired` as in `distances.bootstrap_frechet`.
    """
    made = np.concatenate(fake)
    if isinstance(real, Normal):
        value, spread = distances.fid(real, made), distances.bootstrap_frechet(real, fake)
        counts = {"real": real.count, "fake": len(made)}
    else:
        true = np.concatenate(real)
        distance, bootstrap = (
            (distances.kid, distances.bootstrap_kernel) if kernel else (distances.fid, distances.bootstrap_frechet)
        )
        value, spread = distance(true, made), bootstrap(real, fake, paired=paired)
        counts = {"real": len(true), "fake": len(made)}
    error = spread.error if spread else None
    figure: dict = {
        "value": value,
        "error": error,
        "low": None if error is None else value - INTERVAL * error,
        "high": None if error is None else value + INTERVAL * error,
        "resamples": spread.resamples if spread else 0,
        "n": counts,
    }
    if not kernel and min(counts.values()) < SINGULAR.get(network, 0):
        figure["warning"] = (
            f"{min(counts.values())} vectors, under {SINGULAR[network]}: the figure mostly tells how many there are; "
            "compare it with the halves and with sets of the same size only"
        )
    return figure


def over_time(
    real: Clips, fake: Clips, real_parts: Sequence[slice | list[int]], fake_parts: Sequence[slice | list[int]]
) -> list[float]:
    """The Frechet distances of those vectors of each clip that each of the parts picks, one after another."""
    return [
        distances.fid(np.concatenate([clip[i] for clip in real]), np.concatenate([clip[j] for clip in fake]))
        for i, j in zip(real_parts, fake_parts, strict=True)
    ]
