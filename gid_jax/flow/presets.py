"""The two settings that `estimate` offers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Numbers of the energy (docstring of `solver`) and of its minimisation. Motion in pixels, pictures in [0, 1]."""

    alpha: float
    gamma: float
    growth: float
    """alpha and gamma hold at the finest level; a level of scale s takes s^-growth times as much"""
    zeta: float
    data_epsilon: float
    smooth_epsilon: float
    blur: float
    """px; Gaussian taken over the pictures before the pyramid is built"""
    ratio: float
    """from one level of the pyramid to the next coarser one"""
    smallest: int
    """px; the shorter side of the coarsest level is at least this"""
    colour_levels: int
    """so many of the finest levels look at red, green and blue, the others at the luminance"""
    warps: int
    """at the finest level"""
    extra_warps: int
    """more at each coarser level than at the next finer one"""
    sweeps: int
    """Chebyshev-Jacobi sweeps per warp"""
    radius: float


ACCURATE = Preset(
    alpha=0.3,
    gamma=0.3,
    growth=0.5,
    zeta=0.02,
    data_epsilon=0.1,
    smooth_epsilon=0.0005,
    blur=0.5,
    ratio=0.75,
    smallest=10,
    colour_levels=2,
    warps=6,
    extra_warps=1,
    sweeps=40,
    radius=0.995,
)
FAST = Preset(
    alpha=0.14,
    gamma=0.35,
    growth=0.5,
    zeta=0.02,
    data_epsilon=0.15,
    smooth_epsilon=0.002,
    blur=0.5,
    ratio=0.5,
    smallest=10,
    colour_levels=1,
    warps=8,
    extra_warps=1,
    sweeps=16,
    radius=0.99,
)
PRESETS = {"accurate": ACCURATE, "fast": FAST}
