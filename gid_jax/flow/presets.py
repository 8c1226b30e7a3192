"""The two settings that `estimate` offers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Numbers of the energy (docstring of `solver`) and of its minimisation. Motion in pixels, pictures in [0, 1]."""

    alpha: float
    gamma: float
    zeta: float
    data_epsilon: float
    smooth_epsilon: float
    edge: float
    blur: float
    """px; Gaussian taken over the pictures before the pyramid is built"""
    ratio: float
    """from one level of the pyramid to the next coarser one"""
    smallest: int
    """px; the shorter side of the coarsest level is at least this"""
    warps: int
    """at every level"""
    sweeps: int
    """Chebyshev-Jacobi sweeps per warp"""
    radius: float


ACCURATE = Preset(
    alpha=1.5, gamma=3.0, zeta=0.02, data_epsilon=0.1, smooth_epsilon=0.001, edge=0.0,
    blur=0.5, ratio=0.75, smallest=14, warps=5, sweeps=40, radius=0.99,
)
FAST = Preset(
    alpha=1.5, gamma=3.0, zeta=0.02, data_epsilon=0.1, smooth_epsilon=0.003, edge=0.0,
    blur=0.5, ratio=0.5, smallest=10, warps=4, sweeps=16, radius=0.98,
)
PRESETS = {"accurate": ACCURATE, "fast": FAST}
