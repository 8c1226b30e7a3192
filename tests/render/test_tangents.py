"""Pictures carried with their slopes: against scipy's spline, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from gid_jax.render.splatting import splat
from gid_jax.render.tangents import REACH, from_planes, spline_slopes, to_planes


def carried(image, motion):
    planes, holes = splat(to_planes(image, spline_slopes(image), motion), motion, mode="average")
    return from_planes(planes), holes


def translation(x: float, y: float, height: int, width: int) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray([x, y], jnp.float32), (height, width, 2))


def test_slopes_are_those_of_the_cubic_spline():
    image = np.random.default_rng(0).uniform(size=(40, 50, 2)).astype(np.float32)
    slopes = np.asarray(spline_slopes(jnp.asarray(image)))
    for axis, start in ((1, 0), (0, 2)):
        expected = CubicSpline(np.arange(image.shape[axis]), image, axis=axis)(np.arange(image.shape[axis]), 1)
        inside = [slice(None), slice(None)]
        inside[axis] = slice(REACH, -REACH)
        np.testing.assert_allclose(slopes[*inside, start : start + 2], expected[*inside], atol=1e-4)


def test_slopes_of_tiny_pictures_are_finite():
    assert np.isfinite(spline_slopes(jnp.ones((1, 1, 1, 3)))).all()
    np.testing.assert_allclose(spline_slopes(jnp.ones((3, 2, 1))), jnp.zeros((3, 2, 2)), atol=1e-6)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.3, -0.7), (2.25, 1.5)])
def test_a_translated_quadratic_is_exact(shift):
    y, x = np.mgrid[:40, :48].astype(np.float32)

    def quadratic(x, y):
        return (0.3 + 0.01 * x - 0.02 * y + 3e-4 * x * x - 2e-4 * x * y + 1e-4 * y * y)[..., None]

    result, _ = carried(jnp.asarray(quadratic(x, y)), translation(*shift, 40, 48))
    inside = np.s_[12:-12, 12:-12]
    np.testing.assert_allclose(result[inside], quadratic(x - shift[0], y - shift[1])[inside], atol=2e-5)


def test_a_fine_grating_keeps_its_contrast():
    """Four pixels long and half a pixel on: shares of colours leave cos(pi / 4) = .71 of its contrast."""
    x = np.broadcast_to(np.arange(64, dtype=np.float32), (32, 64))[..., None]
    motion = translation(0.5, 0.0, 32, 64)
    inside, phase = np.s_[10:-10, 10:-10], 2 * np.pi / 4
    truth = np.sin(phase * (x - 0.5))[inside]
    image = jnp.asarray(np.sin(phase * x))
    plain = np.asarray(splat(image, motion, mode="average")[0])[inside]
    ours = np.asarray(carried(image, motion)[0])[inside]
    np.testing.assert_allclose(plain, np.cos(np.pi / 4) * truth, atol=1e-4)
    assert np.abs(ours - truth).max() < 0.1 * np.abs(plain - truth).max()


def test_what_stands_still_stays_as_it_is_and_holes_are_zero():
    image = jax.random.uniform(jax.random.key(0), (2, 9, 14, 3))
    result, holes = carried(image, jnp.zeros((2, 9, 14, 2)))
    np.testing.assert_allclose(result, image, atol=1e-5)
    assert not np.asarray(holes).any()
    result, holes = carried(image, jnp.full((2, 9, 14, 2), 4.0))
    assert np.asarray(holes[:, :4]).all() and not np.asarray(result[:, :4]).any()


def test_planes_fetched_backwards_are_as_exact():
    y, x = np.mgrid[:32, :32].astype(np.float32)
    image = jnp.asarray((1e-3 * (x * x + y * y - x * y))[..., None])
    planes = to_planes(image, spline_slopes(image), jnp.zeros((32, 32, 2)))
    np.testing.assert_allclose(from_planes(planes), image, atol=1e-5)
    np.testing.assert_allclose(
        from_planes(planes, translation(0.5, 0.25, 32, 32))[10:-10, 10:-10],
        image[10:-10, 10:-10] + (1e-3 * (0.25 * (2 * x - y) + 0.125 * (2 * y - x)))[10:-10, 10:-10, None],
        atol=1e-4,
    )


def test_gradients_equal_finite_differences_in_float64():
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        image = jnp.asarray(rng.uniform(size=(6, 7, 2)))
        motion = jnp.asarray(rng.uniform(-1.4, 1.4, (6, 7, 2)))
        probe = jnp.asarray(rng.normal(size=(6, 7, 2)))
        value = jax.jit(lambda image, motion: jnp.sum(probe * carried(image, motion)[0]))
        gradients = jax.grad(value, argnums=(0, 1))(image, motion)
        arguments = [image, motion]
        for position, gradient in enumerate(gradients):
            for index in [(0, 1, 0), (2, 3, 1), (5, 6, 0), (4, 2, 1)]:
                ends = []
                for step in (1e-5, -1e-5):
                    moved = list(arguments)
                    moved[position] = arguments[position].at[index].add(step)
                    ends.append(value(*moved))
                np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-5, atol=1e-6)
