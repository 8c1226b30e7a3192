"""The variance-preserving noise schedule: z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps (PAPER.md, eq. 3)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """abar_t for t = 0 ... num_steps - 1, float64: the share of the signal's variance left after t + 1 steps."""

    alphas_cumprod: np.ndarray

    @property
    def num_steps(self) -> int:
        return len(self.alphas_cumprod)

    def coefficients(self, t: Int[Array, " *b"], ndim: int) -> tuple[Array, Array]:
        """(sqrt(abar_t), sqrt(1 - abar_t)) in float32, shaped to broadcast against an array of `ndim` axes."""
        signal = jnp.asarray(np.sqrt(self.alphas_cumprod), jnp.float32)[t]
        noise = jnp.asarray(np.sqrt(1 - self.alphas_cumprod), jnp.float32)[t]
        shape = (*jnp.shape(t), *(1,) * (ndim - jnp.ndim(t)))
        return signal.reshape(shape), noise.reshape(shape)

    def add_noise(
        self, clean: Float[Array, "*z"], noise: Float[Array, "*z"], t: Int[Array, " *b"]
    ) -> Float[Array, "*z"]:
        """z_t of clean latents; `t` has the leading axes of the latents, one step each."""
        signal, sigma = self.coefficients(t, clean.ndim)
        return signal * clean + sigma * noise

    def to_clean(
        self, noisy: Float[Array, "*z"], noise: Float[Array, "*z"], t: Int[Array, " *b"]
    ) -> Float[Array, "*z"]:
        """z_0 that the prediction `noise` implies for z_t."""
        signal, sigma = self.coefficients(t, noisy.ndim)
        return (noisy - sigma * noise) / signal


def scaled_linear(beta_start: float = 0.0015, beta_end: float = 0.0195, num_steps: int = 1000) -> Schedule:
    """Latent diffusion's schedule: square roots of beta are linear in t."""
    betas = np.linspace(beta_start**0.5, beta_end**0.5, num_steps, dtype=np.float64) ** 2
    return Schedule(np.cumprod(1 - betas))
