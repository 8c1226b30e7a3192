"""Modal simulation against a fine numerical integration and the statement of the interface."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gid_jax.motion import modal


@pytest.mark.parametrize("damping", [(0.4, 0.08), (0.0, 0.0), (3.0, 0.5)])
def test_exact_step_equals_a_fine_integration(damping):
    times, num_frequencies = np.linspace(0, 3, 16), 26
    response = modal.decay(times, num_frequencies, damping=damping)
    regimes = set()
    for k in range(1, num_frequencies):
        angular = 2 * np.pi * k / 5
        friction = damping[0] + damping[1] * angular**2
        regimes.add(np.sign(angular - friction / 2))
        truth = solve_ivp(
            lambda _, s, g=friction, w=angular: [s[1], -g * s[1] - w**2 * s[0]],
            (0, 3),
            [1.0, 0.0],
            t_eval=times,
            rtol=1e-9,
            atol=1e-11,
        ).y[0]
        np.testing.assert_allclose(response[:, k], truth, atol=2e-6)
    if damping == (0.4, 0.08):  # the paper's constants reach both regimes
        assert regimes == {1.0, -1.0}
    assert not response[:, 0].any(), "k = 0 is no mode"


def test_critical_damping_is_the_limit():
    angular = 2 * np.pi * 3 / 5
    at = modal.decay(np.linspace(0, 2, 9), 4, damping=(2 * angular, 0.0))[:, 3]
    near = modal.decay(np.linspace(0, 2, 9), 4, damping=(2 * angular + 1e-5, 0.0))[:, 3]
    np.testing.assert_allclose(at, near, atol=1e-4)
    np.testing.assert_allclose(
        at, (1 + angular * np.linspace(0, 2, 9)) * np.exp(-angular * np.linspace(0, 2, 9)), atol=1e-5
    )


def test_the_grabbed_point_starts_where_it_was_pulled_to_and_comes_to_rest():
    spectrum = np.random.default_rng(0).normal(size=(16, 6, 8, 4)).astype(np.float32) * 40
    motion = np.asarray(modal.simulate(spectrum, np.array([3.0, -2.0]), (5, 2), np.array([0.0, 1 / 30, 60.0])))
    np.testing.assert_allclose(motion[0, 2, 5], [3.0, -2.0], atol=1e-4)
    assert np.abs(motion[2]).max() < 1e-3
    assert np.linalg.norm(motion[1, 2, 5]) < np.linalg.norm(motion[0, 2, 5])


def test_one_direction_only_and_still_points():
    spectrum = np.zeros((4, 3, 3, 4), np.float32)
    spectrum[2, 1, 1] = [30.0, 0.0, 10.0, 0.0]
    sideways = np.asarray(modal.simulate(spectrum, np.array([2.0, 5.0]), (1, 1), np.array([0.0])))[0]
    np.testing.assert_allclose(sideways[1, 1], [2.0, 0.0], atol=1e-5)
    assert not np.asarray(modal.simulate(spectrum, np.array([2.0, 5.0]), (0, 0), np.array([0.0]))).any()


def test_euler_converges_to_the_exact_motion():
    spectrum = np.random.default_rng(1).normal(size=(5, 2, 2, 4)).astype(np.float32)
    times = np.arange(0, 30) / 3000
    exact = modal.simulate(spectrum, np.array([1.0, 0.5]), (1, 1), times, fps=3000.0, period=15000)
    euler = modal.simulate(spectrum, np.array([1.0, 0.5]), (1, 1), times, method="euler", fps=3000.0, period=15000)
    np.testing.assert_allclose(euler, exact, atol=2e-4)
