"""The parts of the procedural renderer against closed forms: wind, fields, layers."""

import numpy as np
import pytest

from data_pipeline.procedural.canvas import Canvas
from data_pipeline.procedural.compositor import Layer, compose, trace
from data_pipeline.procedural.field import Grid, beam, carried, pendulum, together
from data_pipeline.procedural.wind import Wind


def test_sway_obeys_the_damped_oscillator() -> None:
    """q'' + 2 d w q' + w^2 q = w^2 force, where the force is the sway of something infinitely stiff."""
    step = 1e-3
    wind = Wind.blowing(np.random.default_rng(0), np.arange(0, 3, step))
    natural, damping = 0.8, 0.15
    sway = wind.sway(np.random.default_rng(1), 0.4, natural, damping)
    force = wind.sway(np.random.default_rng(1), 0.4, 1e6, damping)
    omega = 2 * np.pi * natural
    speed, acceleration = np.gradient(sway, step), np.gradient(np.gradient(sway, step), step)
    left, right = acceleration + 2 * damping * omega * speed + omega**2 * sway, omega**2 * force
    np.testing.assert_allclose(left[5:-5], right[5:-5], atol=1e-3 * np.abs(right).max())


def test_gusts_travel_and_do_not_repeat() -> None:
    times = np.arange(0, 200, 0.05)
    wind = Wind.blowing(np.random.default_rng(3), times)
    sway = wind.sway(np.random.default_rng(4), np.array([0.2, 0.5]), 1.0, 0.2)
    lag = np.argmax(np.correlate(sway[1] - sway[1].mean(), sway[0] - sway[0].mean(), "full")) - (len(times) - 1)
    assert abs(lag * 0.05 - 0.3 / wind.speed) < 0.1
    clip = int(5 / 0.05)
    assert np.abs(sway[0, clip:] - sway[0, :-clip]).mean() > 0.5 * sway[0].std()


def test_grid_interpolates_polynomials_exactly() -> None:
    grid = Grid((-2.0, 1.0, 5.0, 3.0), (4, 3))
    points = np.random.default_rng(0).uniform((-2, 1), (5, 3), (50, 2))

    def polynomial(p: np.ndarray) -> np.ndarray:
        return 1 + p[:, 0] ** 3 * p[:, 1] - 2 * p[:, 0] * p[:, 1] ** 2

    np.testing.assert_allclose(grid.basis(points) @ polynomial(grid.points), polynomial(points), rtol=1e-10)


def test_inverse_undoes_the_displacement() -> None:
    grid = Grid((0.0, 0.0, 60.0, 40.0), (5, 5))
    amplitudes = np.random.default_rng(0).normal(0, 2.5, (7, 1, 2))
    displacement = amplitudes * np.sin(grid.points / 14 + [[0.5, 1.0]])
    inverse = grid.inverse(displacement, tolerance=1e-9)
    material = grid.points - inverse
    arrived = material + np.einsum("tnm,tmc->tnc", grid.basis(material), displacement)
    np.testing.assert_allclose(arrived, np.broadcast_to(grid.points, arrived.shape), atol=1e-6)


def test_stems_are_clamped_and_branches_stay_on_them() -> None:
    times = np.linspace(0, 5, 20)
    root, tip, joint, end = (np.array(p) for p in ([0.5, 0.6], [0.52, 0.2], [0.513, 0.34], [0.7, 0.25]))
    stem = beam(root, tip, 0.02 * np.sin(times), 0.003 * np.cos(times))
    assert np.abs(stem(root[None])).max() < 1e-12
    across = np.array([-(tip - root)[1], (tip - root)[0]]) / np.hypot(*(tip - root))
    expected = 0.02 * np.sin(times) + 0.003 * np.cos(times)
    np.testing.assert_allclose(stem(tip[None])[:, 0] @ across, expected, atol=1e-12)
    branch = together(carried(stem, joint), beam(joint, end, 0.01 * np.cos(times), 0 * times))
    np.testing.assert_allclose(branch(joint[None]), stem(joint[None]), atol=1e-12)
    rigid = carried(stem, joint)(np.stack([joint, end])) + np.stack([joint, end])
    length = np.hypot(*(rigid[:, 1] - rigid[:, 0]).T)
    np.testing.assert_allclose(length, np.hypot(*(end - joint)), rtol=1e-12)


def test_a_pendulum_turns_about_its_pivot() -> None:
    pivot, points = np.array([0.3, 0.0]), np.array([[0.3, 0.0], [0.3, 0.4], [0.4, 0.3]])
    moved = points + pendulum(pivot, 0.4, np.array([0.0, 0.2, -0.3]), np.zeros(3))(points)
    distance = np.hypot(*np.moveaxis(points - pivot, -1, 0))
    np.testing.assert_allclose(np.hypot(*np.moveaxis(moved - pivot, -1, 0)), np.tile(distance, (3, 1)), atol=1e-12)
    np.testing.assert_allclose(moved[1, 1] - pivot, 0.4 * np.array([np.sin(0.2), np.cos(0.2)]), atol=1e-12)


def _square(origin: tuple[int, int], size: int, color: float, shifts: list[tuple[float, float]]) -> Layer:
    texture = np.zeros((4, 2 * size + 8, 2 * size + 8), np.float32)
    texture[:, 4:-4, 4:-4] = np.array([color, color, color, 1])[:, None, None]
    left, top = origin[0] - 2, origin[1] - 2
    grid = Grid((left - 20.0, top - 20.0, left + size + 24.0, top + size + 24.0), (2, 2))
    return Layer(texture, (left, top), grid, np.repeat(np.array(shifts, np.float64)[:, None], 4, axis=1))


def test_layers_cover_each_other_and_uncover_the_background() -> None:
    background = np.random.default_rng(0).uniform(0, 1, (24, 32, 3)).astype(np.float32)
    behind = _square((4, 6), 8, 0.25, [(0, 0), (0, 0), (1, 2)])
    before = _square((16, 6), 6, 0.75, [(0, 0), (-7, 0), (9, 0)])
    frames, top = compose(background, [behind, before], 3)
    expected = np.repeat(background[None], 3, axis=0)
    for t, (x, y, left) in enumerate(((4, 6, 16), (4, 6, 9), (5, 8, 25))):
        expected[t, y : y + 8, x : x + 8] = 0.25
        expected[t, 6:12, left : left + 6] = 0.75
    np.testing.assert_array_equal(frames, np.floor(expected * 255 + 0.5).astype(np.uint8))

    trajectories, visibility = trace([behind, before], top, (24, 32), 3)
    owner = top[:, 0].reshape(24, 32)
    assert (owner[6:14, 4:12] == 1).all() and (owner[6:12, 16:22] == 2).all() and (owner > 0).sum() == 100
    np.testing.assert_allclose(trajectories[1][owner == 2], np.tile([-7.0, 0.0], (36, 1)), atol=1e-5)
    np.testing.assert_allclose(trajectories[2][owner == 1], np.tile([1.0, 2.0], (64, 1)), atol=1e-5)
    assert not trajectories[:, owner == 0].any()
    hidden = np.zeros((3, 24, 32), bool)
    hidden[1, 6:12, 9:15] = True  # the nearer square comes over the farther one and over background
    hidden[2, 6:12, 25:31] = owner[6:12, 25:31] == 0
    hidden[2, 8:16, 5:13] |= owner[8:16, 5:13] == 0
    np.testing.assert_array_equal(visibility, ~hidden)


@pytest.mark.parametrize("shift", [0.25, 0.5, -3.25])
def test_fractional_motion_moves_the_centroid_by_as_much(shift: float) -> None:
    canvas = Canvas((12 / 32, 8 / 32, 18 / 32, 14 / 32), 32)
    canvas.disc(np.array([15.2, 11.0]) / 32, 2.7 / 32, (1.0, 1.0, 1.0))
    displacement = np.repeat(np.array([[0.0, 0.0], [shift, 0.0]])[:, None], 4, axis=1)
    layer = Layer(canvas.texture(), canvas.origin, Grid((0.0, 0.0, 32.0, 24.0), (2, 2)), displacement)
    frames, _ = compose(np.zeros((24, 32, 3), np.float32), [layer], 2)
    mass = frames[..., 0].astype(float).sum(1)
    centroid = (mass * np.arange(32)).sum(1) / mass.sum(1)
    assert abs(centroid[1] - centroid[0] - shift) < 0.01
    assert abs(centroid[0] + 0.5 - 15.2) < 0.2  # drawn where asked, to a stroke


def test_what_leaves_the_picture_is_not_visible() -> None:
    layer = _square((2, 8), 6, 1.0, [(0, 0), (-5, 0)])
    _, top = compose(np.zeros((24, 32, 3), np.float32), [layer], 2)
    _, visibility = trace([layer], top, (24, 32), 2)
    assert not visibility[1, 8:14, 2:5].any() and visibility[1, 8:14, 5:8].all()
