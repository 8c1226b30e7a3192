"""From noise to latents: DDIM (Song et al. 2021) and DPM-Solver++ 2M (Lu et al. 2022)."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from gid_jax.diffusion.guidance import Denoise
from gid_jax.diffusion.schedule import Schedule

Method = Literal["ddim", "dpmpp_2m"]
METHODS: tuple[Method, ...] = ("ddim", "dpmpp_2m")


def timesteps(schedule: Schedule, num_steps: int) -> np.ndarray:
    """Steps visited, from noise to picture: int32 [num_steps], all different, the first the noisiest of all.

    "Trailing" spacing (Lin et al. 2024, table 2): the ends of `num_steps` equal blocks of the schedule, as diffusers
    rounds them. Raises ValueError for more steps than the schedule has.
    """
    total = schedule.num_steps
    if not 1 <= num_steps <= total:
        raise ValueError(f"num_steps is between 1 and {total}, not {num_steps}")
    ends = np.arange(total, 0, -total / num_steps)[:num_steps]  # rounding can leave one too many, near 0
    return np.rint(ends).astype(np.int32) - 1


def sample(
    denoise: Denoise,
    noise: Float[Array, "*z"],
    schedule: Schedule,
    num_steps: int = 250,
    method: Method = "ddim",
    eta: float = 0.0,
    key: Key[Array, ""] | None = None,
    clip: float | None = None,
    recurrences: int = 0,
    scan: Callable[..., tuple[Any, Any]] = jax.lax.scan,
) -> Float[Array, "*z"]:
    """Latents z_0 from `noise` (standard normal, the latents' shape). One `lax.scan`, so it compiles once.

    `denoise(z, t)` predicts eps at the step t, an int32 scalar. `eta` > 0 adds DDIM's noise and needs a `key`. `clip`
    bounds |z_0| at every step. The last step ends at the clean latents, abar = 1. `recurrences` of DDIM: so many times
    each step is taken back, by new noise of the `key`, and taken again, so that guidance takes (Bansal et al. 2023).
    `scan` runs the steps: whoever wants to see them one by one passes a loop in its place. Raises ValueError for an
    unknown method, a missing key or recurrences of another method.
    """
    if method == "ddim":
        return _ddim(denoise, noise, schedule, num_steps, eta, key, clip, recurrences, scan)
    if recurrences:
        raise ValueError(f"recurrences are of 'ddim', not of {method!r}")
    if method == "dpmpp_2m":
        return _dpm_solver(denoise, noise, schedule, num_steps, clip, scan)
    raise ValueError(f"method is 'ddim' or 'dpmpp_2m', not {method!r}")


def _ddim(denoise, noise, schedule, num_steps, eta, key, clip, recurrences, scan):
    if (eta > 0 or recurrences) and key is None:
        raise ValueError("DDIM with eta > 0 or recurrences needs a key")
    steps = timesteps(schedule, num_steps)
    abar = schedule.alphas_cumprod[steps]
    # Each step ends where the next begins; diffusers' DDIM ends total // num_steps earlier, which leaves noise behind
    # wherever num_steps does not divide the total.
    abar_previous = np.append(abar[1:], 1.0)
    sigma = eta * np.sqrt((1 - abar_previous) / (1 - abar) * (1 - abar / abar_previous))
    towards = np.sqrt(np.maximum(1 - abar_previous - sigma**2, 0))
    table = np.stack([np.sqrt(abar), np.sqrt(1 - abar), np.sqrt(abar_previous), towards, sigma], axis=1)

    def once(z, inputs):
        t, (a, s, a_previous, direction, jitter), index = inputs
        eps = denoise(z, t)
        clean = _bounded((z - s * eps) / a, clip)
        if clip is not None:
            eps = (z - a * clean) / s
        z = a_previous * clean + direction * eps
        if eta > 0:
            z = z + jitter * jax.random.normal(jax.random.fold_in(key, index), z.shape, z.dtype)
        return z

    def step(z, inputs):
        _, (a, _, a_previous, *_), index = inputs
        for number in range(recurrences):
            again = jax.random.normal(jax.random.fold_in(key, recurrences * index + number), z.shape, z.dtype)
            share = a / a_previous
            z = share * once(z, inputs) + jnp.sqrt(1 - share**2) * again
        return once(z, inputs), None

    indices = np.arange(num_steps, dtype=np.int32)
    return scan(step, noise, (steps, tuple(table.T.astype(np.float32)), indices))[0]


def _dpm_solver(denoise, noise, schedule, num_steps, clip, scan):
    steps = timesteps(schedule, num_steps)
    alpha = np.append(np.sqrt(schedule.alphas_cumprod[steps]), 1.0)
    sigma = np.append(np.sqrt(1 - schedule.alphas_cumprod[steps]), 0.0)
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha) - np.log(sigma)
    gap = np.diff(log_snr)  # the last is infinite: the step onto the clean latents
    # Second order by the slope of the last two predictions; first order at both ends.
    slope = np.zeros(num_steps)
    slope[1:-1] = gap[1:-1] / (2 * gap[:-2])
    table = np.stack([alpha[:-1], sigma[:-1], sigma[1:] / sigma[:-1], -alpha[1:] * np.expm1(-gap), slope], axis=1)

    def step(carry, inputs):
        z, last = carry
        t, (a, s, shrink, gain, second) = inputs
        clean = _bounded((z - s * denoise(z, t)) / a, clip)
        z = shrink * z + gain * (clean + second * (clean - last))
        return (z, clean), None

    return scan(step, (noise, jnp.zeros_like(noise)), (steps, tuple(table.T.astype(np.float32))))[0][0]


def _bounded(clean, clip):
    return clean if clip is None else jnp.clip(clean, -clip, clip)
