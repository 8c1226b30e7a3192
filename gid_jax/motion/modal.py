"""Interactive dynamics: every frequency is a damped oscillator, its coefficients the mode's shape (PAPER.md, eq. 6).

    F_t(p) = Re sum_k S_k(p) q_k(t),    q'' + g q' + w^2 q = f / m,    w = 2 pi k fps / T,    g = a + b w^2.

Without force the oscillator has an exact solution, used here for any step length, whether the mode is under-,
critically or over-damped. The paper integrates with an explicit Euler step, kept as `method="euler"` for parity.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from gid_jax.motion.spectrum import PERIOD

DAMPING_CONSTANT = 0.4  # a, 1 / s
DAMPING_SQUARED = 0.08  # b, s


def complex_modes(spectrum: Float[ArrayLike, "k h w 4"]) -> Complex[Array, "k h w 2"]:
    """Mode shapes (x, y) as complex numbers."""
    spectrum = jnp.asarray(spectrum)
    return spectrum[..., :2] + 1j * spectrum[..., 2:]


def release(
    spectrum: Float[ArrayLike, "k h w 4"], force: Float[ArrayLike, " 2"], point: tuple[int, int]
) -> Complex[Array, " k"]:
    """Modal coordinates q_k(0) at the moment of release, complex, without unit.

    The grabbed pixel `point` = (x, y) was pulled by `force`, a displacement in pixels. The paper sets q_k to the
    conjugate of d . S_k(p) with the force's direction d. Here d is replaced by the one real vector for which the
    point starts exactly where it was pulled to, in x and in y: the coordinates of least norm that do so. A direction
    in which the point hardly moves (under 1 % of its main direction) is not reached. k = 0 is no mode.
    """
    x, y = point
    shapes = complex_modes(spectrum)[1:, y, x, :]
    mobility = jnp.real(jnp.einsum("ki,kj->ij", shapes, jnp.conj(shapes)))
    direction = jnp.linalg.pinv(mobility, rtol=1e-4, hermitian=True) @ jnp.asarray(force, mobility.dtype)
    coordinates = jnp.conj(shapes @ direction.astype(shapes.dtype))
    return jnp.concatenate([jnp.zeros(1, coordinates.dtype), coordinates])


def decay(
    times: Float[ArrayLike, " t"],
    num_frequencies: int,
    fps: float = 30.0,
    period: int = PERIOD,
    damping: tuple[float, float] = (DAMPING_CONSTANT, DAMPING_SQUARED),
    stiffness: float = 1.0,
) -> Float[np.ndarray, "t k"]:
    """q_k(t) / q_k(0) of modes released from rest, at `times` in seconds: the exact solution.

    `stiffness` multiplies every angular frequency's square.
    """
    t = np.asarray(times, np.float64)[:, None]
    angular = 2 * np.pi * np.arange(num_frequencies)[None, :] * fps / period * np.sqrt(stiffness)
    half = 0.5 * (damping[0] + damping[1] * angular**2)
    gap = angular**2 - half**2
    rate = np.sqrt(np.abs(gap))
    safe = np.where(rate > 1e-9, rate, 1.0)
    under = np.exp(-half * t) * (np.cos(rate * t) + half / safe * np.sin(rate * t))
    # cosh and sinh written with decaying exponentials: no overflow, however stiff the mode. The slow root is
    # w^2 / (half + rate), since half - rate would cancel.
    slow, fast = angular**2 / np.where(half + rate > 0, half + rate, 1.0), half + rate
    over = 0.5 * ((1 + half / safe) * np.exp(-slow * t) + (1 - half / safe) * np.exp(-fast * t))
    critical = np.exp(-half * t) * (1 + half * t)
    response = np.where(rate <= 1e-9, critical, np.where(gap > 0, under, over))
    response[:, 0] = 0.0
    return response.astype(np.float32)


def simulate(
    spectrum: Float[ArrayLike, "k h w 4"],
    force: Float[ArrayLike, " 2"],
    point: tuple[int, int],
    times: Float[ArrayLike, " t"],
    *,
    method: Literal["exact", "euler"] = "exact",
    fps: float = 30.0,
    period: int = PERIOD,
    damping: tuple[float, float] = (DAMPING_CONSTANT, DAMPING_SQUARED),
    stiffness: float = 1.0,
) -> Float[Array, "t h w 2"]:
    """Displacements in pixels at `times` (seconds, >= 0) after pixel `point` was pulled by `force` (pixels) and let go.

    `method="euler"` integrates with the paper's explicit step of one frame, 1 / fps, and takes the nearest step.
    """
    shapes = complex_modes(spectrum)
    amplitude = release(spectrum, force, point)
    num_frequencies = shapes.shape[0]
    if method == "exact":
        response = decay(times, num_frequencies, fps, period, damping, stiffness)
    elif method == "euler":
        response = _euler(times, num_frequencies, fps, period, damping, stiffness)
    else:
        raise ValueError(f"method is 'exact' or 'euler', not {method!r}")
    coordinates = jnp.asarray(response) * amplitude[None, :]
    return jnp.real(jnp.einsum("tk,khwc->thwc", coordinates, shapes))


def _euler(times, num_frequencies, fps, period, damping, stiffness) -> np.ndarray:
    angular = 2 * np.pi * np.arange(num_frequencies) * fps / period * np.sqrt(stiffness)
    friction = damping[0] + damping[1] * angular**2
    wanted = np.rint(np.asarray(times, np.float64) * fps).astype(int)
    position, velocity, step = np.ones(num_frequencies), np.zeros(num_frequencies), 1.0 / fps
    course = [position]
    for _ in range(int(wanted.max(initial=0))):
        acceleration = -friction * velocity - angular**2 * position
        position, velocity = position + step * velocity, velocity + step * acceleration
        course.append(position)
    response = np.stack(course)[wanted]
    response[:, 0] = 0.0
    return response.astype(np.float32)
