"""What a denoiser predicts: the noise (PAPER.md, eq. 3), or the velocity v = sqrt(abar) eps - sqrt(1 - abar) z_0.

Either gives the other at the same z_t. With velocity (Salimans and Ho 2022) an error of z_0 counts at high noise, and
nothing is divided by a vanishing signal: samples of a network are of use after far fewer steps of training.
"""

from typing import Literal

from jaxtyping import Array, Float, Int

from gid_jax.diffusion.schedule import Schedule

Prediction = Literal["noise", "velocity"]
KINDS: tuple[Prediction, ...] = ("noise", "velocity")


def target(
    kind: Prediction, schedule: Schedule, clean: Float[Array, "*z"], noise: Float[Array, "*z"], t: Int[Array, " *b"]
) -> Float[Array, "*z"]:
    """What a perfect denoiser answers for z_t made of `clean` and `noise`; `t` has the leading axes of the latents."""
    if kind == "noise":
        return noise
    signal, sigma = schedule.coefficients(t, clean.ndim)
    return signal * noise - sigma * clean


def to_noise(
    kind: Prediction, schedule: Schedule, predicted: Float[Array, "*z"], noisy: Float[Array, "*z"], t: Int[Array, " *b"]
) -> Float[Array, "*z"]:
    """eps that the answer `predicted` for z_t = `noisy` implies, which is what guidance and samplers take."""
    if kind == "noise":
        return predicted
    signal, sigma = schedule.coefficients(t, noisy.ndim)
    return signal * predicted + sigma * noisy
