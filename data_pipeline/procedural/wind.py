"""Turbulent wind and how damped oscillators sway in it, both as sums of sinusoids, so that neither has a beginning."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LOWEST, HIGHEST = 0.14, 4.0  # Hz
LINES = 96


@dataclass(frozen=True)
class Wind:
    """Frozen turbulence carried across the picture: gusts of unit variance with a spectrum about 1/f.

    The force at x (in picture widths) and time t (s) is the one at 0 at t - x / speed. Fast gusts are small and lose
    their coherence: a share 1 - exp(-f / coherence) of the power at f belongs to each place alone.
    """

    times: np.ndarray  # [t], s
    frequencies: np.ndarray  # [n], Hz, jittered, so that the sum has no period
    amplitudes: np.ndarray  # [n], of unit total variance
    phases: np.ndarray  # [n]
    direction: float  # +1 to the right, -1 to the left
    speed: float  # picture widths a second, signed
    strength: float  # near the force asked for, 1
    coherence: float  # Hz
    gusts: int = 0

    @classmethod
    def blowing(cls, rng: np.random.Generator, times: np.ndarray, force: float = 1.0, gusts: int = 0) -> "Wind":
        """`force` times as strong as the usual wind; all else about it is the same.

        Other `gusts` than 0 are another day's: all is drawn anew but the direction, with which plants lean. `rng` is
        left as it would be.
        """
        edges = np.geomspace(LOWEST, HIGHEST, LINES + 1)
        frequencies = rng.uniform(edges[:-1], edges[1:])
        amplitudes = frequencies**-0.15 * (1 + (frequencies / 0.6) ** 2) ** -0.45  # power: f^-1.3, steeper above
        amplitudes *= np.sqrt(2 / np.sum(amplitudes**2))
        direction = rng.choice([-1.0, 1.0])
        wind = cls(
            times,
            frequencies,
            amplitudes,
            rng.uniform(0, 2 * np.pi, LINES),
            direction,
            direction * rng.uniform(0.5, 1.1),
            force * rng.uniform(0.8, 1.25),
            rng.uniform(0.6, 1.2),
        )
        if not gusts:
            return wind
        other = cls.blowing(_another(wind.phases, gusts), times, force)
        speed = wind.direction * abs(other.speed)
        return dataclasses.replace(other, direction=wind.direction, speed=speed, gusts=gusts)

    def sway(self, rng: np.random.Generator, x: float | np.ndarray, natural: float, damping: float) -> np.ndarray:
        """Deflection [*x, t] of oscillators at x, of unit compliance, a natural frequency (Hz) and a damping ratio.

        The steady state of q'' + 2 d w q' + w^2 q = w^2 force: each line of the wind times the complex response
        w^2 / (w^2 - f^2 + 2 i d w f). Never at rest, and not in step with the clip.
        """
        f, shared = self.frequencies, np.exp(-self.frequencies / self.coherence)
        response = natural**2 / (natural**2 - f**2 + 2j * damping * natural * f)
        x = np.asarray(x, np.float64)[..., None]
        own = rng.uniform(0, 2 * np.pi, LINES)
        if self.gusts:
            own = _another(own, self.gusts).uniform(0, 2 * np.pi, LINES)
        carried = np.exp(1j * (self.phases - 2 * np.pi * f * x / self.speed))
        lines = self.amplitudes * response * carried * (np.sqrt(shared) + np.sqrt(1 - shared) * np.exp(1j * own))
        return self.direction * self.strength * (lines @ self._turning).real

    @cached_property
    def _turning(self) -> np.ndarray:
        return np.exp(2j * np.pi * self.frequencies[:, None] * self.times)


def _another(phases: np.ndarray, gusts: int) -> np.random.Generator:
    """The same for the same phases, so that parts which share their gusts go on sharing them."""
    return np.random.default_rng([gusts, int(phases[:1].view(np.uint64)[0])])
