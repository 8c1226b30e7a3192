"""Motion without a seam: the closed form against what it promises, its loss against differences by hand."""

import jax
import numpy as np
import pytest

from gid_jax.metrics.motion import amplitude_error_db, map_correlation, wrap_jump
from gid_jax.motion import loops
from gid_jax.motion.spectrum import from_rest, mean_magnitude, to_spectrum, to_trajectories

PERIOD = 150


def drifting(count: int, seed: int = 0) -> np.ndarray:
    """The spectrum of motion that ends elsewhere than it began: random walks with neighbours alike."""
    steps = np.random.default_rng(seed).normal(size=(PERIOD, 4, 6, 2)).repeat(2, 1).repeat(2, 2)
    return np.asarray(to_spectrum(np.cumsum(steps, axis=0), count))


@pytest.mark.parametrize(("count", "decibels"), [(4, 2.0), (5, 0.5), (8, 0.1), (16, 0.1), (24, 0.1)])
def test_closed_motion_crosses_the_seam_evenly_and_as_strongly(count, decibels):
    spectrum = drifting(count)
    closed = loops.close(spectrum)
    before, after = (np.asarray(to_trajectories(s, PERIOD)) for s in (spectrum, closed))
    assert wrap_jump(before) > 1.5
    assert wrap_jump(after) < 1.1
    steps = np.diff(np.concatenate([after, after[:2]]), axis=0)  # the last three: before, over and after the seam
    typical = np.linalg.norm(steps, axis=-1).mean()
    assert np.abs(steps[-3:-1] - steps[-2:]).max() < 1e-3 * typical
    assert np.abs(amplitude_error_db(closed, spectrum)).max() < decibels
    np.testing.assert_array_equal(closed[0], spectrum[0])
    assert map_correlation(np.asarray(mean_magnitude(closed)), np.asarray(mean_magnitude(spectrum))) > 0.9


def test_what_is_a_loop_already_stays_nearly_as_it_is():
    spectrum = np.zeros((8, 3, 4, 4), np.float32)
    spectrum[2] = np.random.default_rng(0).normal(size=(3, 4, 4))  # one wave: its bend at the seam is all there is
    spectrum[7] = 0.05 * spectrum[2]
    closed = loops.close(spectrum)
    assert wrap_jump(np.asarray(to_trajectories(closed, PERIOD))) < 1.1
    assert np.abs(amplitude_error_db(closed, spectrum)[[2, 7]]).max() < 1


@pytest.mark.parametrize("spectrum", [np.zeros((16, 3, 4, 4)), drifting(3), drifting(1)], ids=["rest", "3", "1"])
def test_where_nothing_can_hasten_nothing_changes(spectrum):
    np.testing.assert_array_equal(loops.close(spectrum), spectrum.astype(np.float32))


def test_the_loss_is_of_positions_and_steps_across_the_seam_and_can_be_differentiated():
    spectrum = drifting(6)
    moved = np.asarray(to_trajectories(spectrum, PERIOD), np.float64)
    gap = np.abs(moved[-1] - moved[0]) + np.abs((moved[-1] - moved[-2]) - (moved[1] - moved[0]))
    assert float(loops.seam_loss(spectrum)) == pytest.approx(256 / 12 * gap.sum(-1).mean(), rel=1e-3)
    assert loops.seam_loss(loops.close(spectrum)) < 0.5 * loops.seam_loss(spectrum)
    slope = np.asarray(jax.grad(lambda s: loops.seam_loss(s))(spectrum))
    assert np.isfinite(slope).all() and np.abs(slope[1:]).min() > 0 and np.abs(slope[0]).max() < 1e-6
    assert np.isfinite(jax.grad(lambda s: loops.seam_loss(s))(np.zeros_like(spectrum))).all()
    assert float(loops.seam_loss(from_rest(spectrum))) == pytest.approx(float(loops.seam_loss(spectrum)), rel=1e-4)
