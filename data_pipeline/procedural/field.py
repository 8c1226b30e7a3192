"""Smooth displacement fields of layers: motions written as formulas, pinned at Chebyshev nodes, and their inverses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial.chebyshev import chebvander

Motion = Callable[[np.ndarray], np.ndarray]
"""Rest positions [n, 2] -> displacements [t, n, 2], both in picture widths."""


@dataclass(frozen=True)
class Grid:
    """Chebyshev nodes of a box and the polynomials that interpolate between them (tensor product)."""

    box: tuple[float, float, float, float]  # x0, y0, x1, y1
    shape: tuple[int, int]  # nodes along x, along y

    @cached_property
    def points(self) -> np.ndarray:
        """Nodes [n, 2]."""
        x0, y0, x1, y1 = self.box
        x, y = (_nodes(n) for n in self.shape)
        grid = np.stack(np.meshgrid(x0 + (x + 1) / 2 * (x1 - x0), y0 + (y + 1) / 2 * (y1 - y0), indexing="ij"), -1)
        return grid.reshape(-1, 2)

    @cached_property
    def _inverses(self) -> list[np.ndarray]:
        return [np.linalg.inv(chebvander(_nodes(n), n - 1)) for n in self.shape]

    def basis(self, points: np.ndarray) -> np.ndarray:
        """Weights [*b, n] of the nodes at points [*b, 2]; a field there is weights @ its values at the nodes.

        Outside the box the field is that of the nearest point inside.
        """
        along_x, along_y = (self.along(axis, points[..., axis]) for axis in (0, 1))
        return (along_x[..., :, None] * along_y[..., None, :]).reshape(*points.shape[:-1], -1)

    def along(self, axis: int, place: np.ndarray) -> np.ndarray:
        """The factor of `basis` that belongs to one axis: place [*b] -> [*b, n]."""
        low, high = self.box[axis], self.box[axis + 2]
        inside = np.clip((place - low) / (high - low) * 2 - 1, -1, 1)
        return chebvander(inside, self.shape[axis] - 1) @ self._inverses[axis]

    def inverse(
        self, displacement: np.ndarray, places: np.ndarray | None = None, tolerance: float = 1e-3
    ) -> np.ndarray:
        """E [*t, n, 2] at places x [n, 2], the nodes by default, with E = D(x - E), for D [*t, m, 2] at the nodes.

        Fixed-point iteration, which converges while |grad D| < 1: a rotation by less than 60 degrees. Where strong wind
        turns things further it begins again with shorter steps, good for another 15.
        """
        places = self.points if places is None else places
        for step in (1.0, 0.6):
            inverse = self.basis(places) @ displacement
            for _ in range(40):
                change = self.basis(places - inverse) @ displacement - inverse
                inverse = inverse + step * change
                if np.abs(change).max(initial=0) < tolerance:
                    return inverse
        return inverse


def _nodes(n: int) -> np.ndarray:
    return -np.cos(np.pi * (np.arange(n) + 0.5) / n)


def beam(root: np.ndarray, tip: np.ndarray, first: np.ndarray, second: np.ndarray) -> Motion:
    """A clamped beam that bends in its first two modes; first, second [t] are deflections of the tip, in widths.

    Cross-sections stay plane and square to the axis (Euler-Bernoulli), so that what is far off the axis also moves
    along it; the tip is drawn in on its arc to second order.
    """
    length = float(np.hypot(*(tip - root)))
    axis = (tip - root) / length
    normal = np.array([-axis[1], axis[0]])

    def motion(points: np.ndarray) -> np.ndarray:
        s = (points - root) @ axis / length
        off = (points - root) @ normal / length
        bend = np.outer(first, s**2 * (3 - s) / 2) + np.outer(second, s**2 * (5 * s - 4))
        slope = np.outer(first, 3 * s - 1.5 * s**2) + np.outer(second, 15 * s**2 - 8 * s)
        shortening = np.outer(first**2, 3 * s**3 - 2.25 * s**4 + 0.45 * s**5) / (2 * length)
        return bend[..., None] * normal - (slope * off + shortening)[..., None] * axis

    return motion


def pendulum(pivot: np.ndarray, length: float, angle: np.ndarray, curl: np.ndarray) -> Motion:
    """Something that hangs: turned about its pivot by angle [t] (radians) and curled, by curl [t] widths at its end."""

    def motion(points: np.ndarray) -> np.ndarray:
        x, y = (points - pivot).T
        s = y / length
        across = np.outer(np.sin(angle), y) + np.outer(np.cos(angle) - 1, x) + np.outer(curl, s**2 - s / 2)
        down = np.outer(np.cos(angle) - 1, y) - np.outer(np.sin(angle), x)
        return np.stack([across, down], -1)

    return motion


def carried(parent: Motion, joint: np.ndarray) -> Motion:
    """The rigid motion of whatever is fixed to `parent` at `joint`: its shift there and its local rotation."""
    step = 1e-4
    shift, right, below = np.moveaxis(parent(joint + np.array([[0.0, 0.0], [step, 0.0], [0.0, step]])), 1, 0)
    angle = ((right - shift)[:, 1] - (below - shift)[:, 0]) / (2 * step)

    def motion(points: np.ndarray) -> np.ndarray:
        x, y = (points - joint).T
        cosine, sine = np.cos(angle) - 1, np.sin(angle)
        turned = np.stack([np.outer(cosine, x) - np.outer(sine, y), np.outer(sine, x) + np.outer(cosine, y)], -1)
        return shift[:, None] + turned

    return motion


def together(*motions: Motion) -> Motion:
    """The sum of several motions."""
    return lambda points: np.sum([motion(points) for motion in motions], axis=0)
