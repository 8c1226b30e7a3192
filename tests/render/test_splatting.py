"""Splatting against a loop written out in float64, its gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from gid_jax.render.pyramid import motion_pyramid, weight_pyramid
from gid_jax.render.splatting import splat
from gid_jax.render.warp import backward_warp


def splat_by_loop(features, motion, weight, mode, alpha):
    height, width, channels = features.shape
    total, mass = np.zeros((height, width, channels)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            importance = {
                "softmax": np.exp(max(alpha * (weight[y, x] - weight.max()), -60.0)),
                "linear": weight[y, x],
                "average": 1.0,
            }[mode]
            px, py = x + float(motion[y, x, 0]), y + float(motion[y, x, 1])
            for qy in (int(np.floor(py)), int(np.floor(py)) + 1):
                for qx in (int(np.floor(px)), int(np.floor(px)) + 1):
                    share = max(0.0, 1 - abs(px - qx)) * max(0.0, 1 - abs(py - qy)) * importance
                    if 0 <= qx < width and 0 <= qy < height:
                        total[qy, qx] += share * features[y, x]
                        mass[qy, qx] += share
    return total, mass


@pytest.mark.parametrize("mode", ["softmax", "linear", "average"])
@pytest.mark.parametrize("reach", [1.5, 20.0])
def test_splat_equals_the_loop(mode, reach):
    rng = np.random.default_rng(int(reach))
    features = rng.uniform(size=(24, 40, 3)).astype(np.float32)
    motion = rng.uniform(-reach, reach, (24, 40, 2)).astype(np.float32)
    weight = rng.uniform(0.05, 3, (24, 40)).astype(np.float32)
    total, mass = splat_by_loop(features.astype(np.float64), motion, weight.astype(np.float64), mode, 2.0)
    warped, holes = splat(jnp.asarray(features), jnp.asarray(motion), jnp.asarray(weight), mode=mode, alpha=2.0)
    arrived = mass > 1e-9
    expected = total[arrived] / mass[arrived][:, None]
    assert np.abs(np.asarray(warped)[arrived] - expected).max() < 2e-5
    np.testing.assert_array_equal(np.asarray(holes)[mass == 0, 0], 1.0)
    np.testing.assert_array_equal(np.asarray(holes)[arrived, 0], 0.0)
    assert not np.asarray(warped)[mass == 0].any()


def test_no_motion_is_the_identity_and_batches_are_separate():
    features = jax.random.uniform(jax.random.key(0), (2, 3, 6, 9, 4))
    warped, holes = splat(features, jnp.zeros((2, 3, 6, 9, 2)), jnp.ones((2, 3, 6, 9)))
    np.testing.assert_allclose(warped, features, atol=1e-6)
    assert not np.asarray(holes).any()


def test_large_motion_wins_over_small():
    features = jnp.zeros((1, 8, 1)).at[0, 2, 0].set(1.0)
    motion = jnp.zeros((1, 8, 2)).at[0, 2, 0].set(3.0)
    weight = jnp.zeros((1, 8)).at[0, 2].set(3.0)
    warped, holes = splat(features, motion, weight, alpha=4.0)
    assert warped[0, 5, 0] > 0.99
    np.testing.assert_array_equal(np.asarray(holes)[0, :, 0], np.eye(8)[2])


def test_far_and_huge_displacements_leave_the_picture():
    features = jnp.ones((4, 4, 1))
    for value in (1e9, -1e9, 4.0, -4.0):
        _, holes = splat(features, jnp.full((4, 4, 2), value), jnp.ones((4, 4)))
        assert np.asarray(holes).all()


@pytest.mark.parametrize("mode", ["softmax", "average"])
def test_gradients_equal_finite_differences(mode):
    rng = np.random.default_rng(3)
    features = jnp.asarray(rng.uniform(size=(6, 7, 2)), jnp.float32)
    motion = jnp.asarray(rng.uniform(-2, 2, (6, 7, 2)), jnp.float32)
    weight = jnp.asarray(rng.uniform(0, 0.5, (6, 7)), jnp.float32)
    probe = jnp.asarray(rng.normal(size=(6, 7, 2)), jnp.float32)

    def value(features, motion):
        return jnp.sum(probe * splat(features, motion, weight, mode=mode, alpha=1.0)[0])

    by_features, by_motion = jax.grad(value, argnums=(0, 1))(features, motion)
    for array, gradient, position in ((features, by_features, 0), (motion, by_motion, 1)):
        for index in [(0, 1, 0), (2, 3, 1), (5, 6, 0), (4, 2, 1)]:
            step = 2e-3
            arguments = [[features, motion], [features, motion]]
            arguments[0][position] = array.at[index].add(step)
            arguments[1][position] = array.at[index].add(-step)
            numeric = (value(*arguments[0]) - value(*arguments[1])) / (2 * step)
            np.testing.assert_allclose(gradient[index], numeric, atol=5e-3, rtol=1e-2)


def test_backward_warp_equals_scipy():
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(9, 12, 3)).astype(np.float32)
    motion = rng.uniform(-4, 4, (9, 12, 2)).astype(np.float32)
    y, x = np.mgrid[:9, :12]
    expected = np.stack(
        [
            map_coordinates(image[..., c], [y + motion[..., 1], x + motion[..., 0]], order=1, mode="nearest")
            for c in range(3)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(backward_warp(jnp.asarray(image), jnp.asarray(motion)), expected, atol=1e-5)


def test_pyramids_halve_size_and_motion():
    motion = motion_pyramid(jnp.full((1, 16, 24, 2), 8.0), 4)
    assert [level.shape for level in motion] == [(1, 16, 24, 2), (1, 8, 12, 2), (1, 4, 6, 2), (1, 2, 3, 2)]
    np.testing.assert_allclose([level[0, 0, 0, 0] for level in motion], [8, 4, 2, 1])
    assert weight_pyramid(jnp.ones((1, 4, 4)), 2)[1].shape == (1, 2, 2)
    with pytest.raises(ValueError, match="even"):
        motion_pyramid(jnp.zeros((1, 6, 6, 2)), 3)
