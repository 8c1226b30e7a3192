"""Colours of motion, at points whose colour is known."""

import colorsys

import numpy as np
import pytest

from gid_jax.render import colour


@pytest.mark.parametrize("degrees", [0, 37, 90, 120, 200, 299, 359])
@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_the_wheel_is_hue_by_direction_and_saturation_by_length(degrees, length):
    angle = np.deg2rad(degrees)
    vectors = np.float32(2 * length * np.array([np.cos(angle), np.sin(angle)])).reshape(1, 1, 2)
    expected = colorsys.hsv_to_rgb(degrees / 360, min(length, 1), 1)
    np.testing.assert_allclose(colour.direction(vectors, 2.0)[0, 0], expected, atol=1e-5)


def test_lengths_go_from_black_to_pale_yellow_each_map_on_its_own_scale():
    found = np.asarray(colour.magnitude(np.float32([[[0, 1, 9]], [[0, 1, 2]]]), np.float32([1, 2])))
    assert (found[:, 0, 0].sum(axis=-1) < 0.02).all()
    np.testing.assert_allclose(found[0, 0, 1], found[1, 0, 2])
    np.testing.assert_allclose(found[0, 0, 1:], [colour.INFERNO[-1]] * 2)
    np.testing.assert_allclose(found[1, 0, 1], colour.INFERNO[128])
    assert np.isfinite(colour.magnitude(np.zeros((2, 2), np.float32), 0.0)).all()
