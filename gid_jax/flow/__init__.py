"""Dense optical flow in JAX: one source picture, many targets, one program."""

from gid_jax.flow.coarse_to_fine import consistency, estimate, occlusion
from gid_jax.flow.following import follow
from gid_jax.flow.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset", "consistency", "estimate", "follow", "occlusion"]
