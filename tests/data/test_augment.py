"""Augmentation: picture and motion stay one scene, spectra and trajectories one motion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax.data import augment
from gid_jax.motion.spectrum import to_spectrum, to_trajectories

H, W = 40, 64


def geometries(count, moved=True):
    drawn = (augment.random_geometry(np.random.default_rng(seed), H, W) for seed in range(10**4))
    return [g for g in drawn if not moved or abs(g.forward[0, 1]) > 0][:count]


def positions():
    y, x = np.mgrid[:H, :W].astype(np.float64)
    return x, y


def texture(x, y):
    waves = [0.3 * np.sin(0.2 * x + 0.1 * y), 0.3 * np.cos(0.15 * y), 0.2 * np.sin(0.1 * x)]
    return 0.5 + np.stack(waves, -1)


def input_position(geometry, x, y):
    centre = np.array([(W - 1) / 2, (H - 1) / 2])
    p = np.stack([x, y], -1) - centre
    q = p @ np.linalg.inv(geometry.forward).T + geometry.shift + centre
    return q[..., 0], q[..., 1]


def test_geometry_shows_only_what_exists_and_stays_in_its_bounds():
    drawn = geometries(400, moved=False)
    for geometry in drawn:
        x, y = input_position(geometry, *positions())
        assert x.min() >= -1e-9 and x.max() <= W - 1 + 1e-9 and y.min() >= -1e-9 and y.max() <= H - 1 + 1e-9
        angle = np.degrees(np.arctan2(geometry.forward[1, 0], abs(geometry.forward[0, 0])))
        flipped = np.linalg.det(geometry.forward) < 0
        assert abs(angle) <= 5.0001 or (flipped and abs(180 - abs(angle)) <= 5.0001)
        assert 1 <= geometry.scale < 1.2 * 1.15
    assert 0.4 < np.mean([np.linalg.det(g.forward) < 0 for g in drawn]) < 0.6
    assert 0.4 < np.mean([g.scale == 1 for g in drawn]) < 0.6


def test_resample_is_bilinear_at_the_input_position():
    x, y = positions()
    for geometry in geometries(5):
        maps = np.stack([x, y, 0.5 * x - y], -1)  # linear: bilinear interpolation is exact
        expected_x, expected_y = input_position(geometry, x, y)
        expected = np.stack([expected_x, expected_y, 0.5 * expected_x - expected_y], -1)
        np.testing.assert_allclose(augment.resample(maps, geometry), expected, atol=2e-4)


def test_identity_and_flip_are_exact():
    maps = np.random.default_rng(0).uniform(size=(H, W, 2)).astype(np.float32)
    identity = augment.Geometry(np.eye(2), np.zeros(2))
    np.testing.assert_array_equal(augment.resample(maps, identity), maps)
    flip = augment.Geometry(np.diag([-1.0, 1.0]), np.zeros(2))
    np.testing.assert_array_equal(augment.resample(maps, flip), maps[:, ::-1])
    moved = augment.Geometry(np.diag([-1.0, 1.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(augment.resample(maps, moved)[:-1], maps[1:, ::-1], atol=1e-6)
    upside_down = augment.Geometry(np.diag([1.0, -1.0]), np.zeros(2))
    np.testing.assert_allclose(augment.resample(maps, upside_down), maps[::-1], atol=1e-6)
    np.testing.assert_array_equal(augment.turn(maps, flip), maps * [-1, 1])
    one = np.ones((1, 1, 3), np.float32)
    np.testing.assert_array_equal(augment.resample(one, identity), one)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_spectrum_of_the_augmented_motion_is_the_augmented_spectrum(seed):
    rng = np.random.default_rng(seed)
    geometry = augment.random_geometry(rng, 8, 12)
    trajectories = rng.normal(size=(20, 8, 12, 2)).astype(np.float32)
    spectrum = np.asarray(to_spectrum(trajectories, 6))

    def moved(vectors):  # [n, h, w, c] as the loader does it
        n, h, w, c = vectors.shape
        _, out = augment.transform(
            geometry, maps=np.zeros((h, w, 1), np.float32), vectors=vectors.transpose(1, 2, 0, 3).reshape(h, w, n * c)
        )
        return out.reshape(h, w, n, c).transpose(2, 0, 1, 3)

    np.testing.assert_allclose(moved(spectrum), to_spectrum(moved(trajectories), 6), atol=2e-4)
    np.testing.assert_allclose(
        moved(np.asarray(to_trajectories(spectrum, 20, 20))), to_trajectories(moved(spectrum), 20, 20), atol=1e-5
    )


def test_augmented_pair_is_still_a_pair():
    """I_t(p + F(p)) = I_0(p) before and after: the motion is turned, flipped and scaled like the pictures."""
    x, y = positions()
    flow = np.stack([1.5 + 0.01 * y, -0.8 + 0.02 * x], -1)
    first = texture(x, y)
    # F is linear, so the point that ends at q is found by fixed-point iteration.
    px, py = x.copy(), y.copy()
    for _ in range(20):
        px, py = x - (1.5 + 0.01 * py), y - (-0.8 + 0.02 * px)
    second = texture(px, py)
    for geometry in geometries(8):
        maps, motion = augment.transform(
            geometry, maps=np.concatenate([first, second], -1).astype(np.float32), vectors=flow.astype(np.float32)
        )
        end_x, end_y = x + motion[..., 0], y + motion[..., 1]
        inside = (end_x > 1) & (end_x < W - 2) & (end_y > 1) & (end_y < H - 2)
        fetched = bilinear(maps[..., 3:], end_x, end_y)
        assert np.abs(fetched - maps[..., :3])[inside].max() < 0.01
        unturned = bilinear(maps[..., 3:], x + flow[..., 0], y + flow[..., 1])
        assert np.abs(unturned - maps[..., :3])[inside].mean() > 2 * np.abs(fetched - maps[..., :3])[inside].mean()


def bilinear(maps, x, y):
    x, y = np.clip(x, 0, W - 1.001), np.clip(y, 0, H - 1.001)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = maps[top, left] * (1 - fx) + maps[top, left + 1] * fx
    lower = maps[top + 1, left] * (1 - fx) + maps[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def test_colour_keeps_grey_grey_and_never_leaves_the_range():
    image = np.random.default_rng(0).uniform(size=(6, 7, 3)).astype(np.float32)
    grey = np.repeat(image[..., :1], 3, axis=-1)
    factors = []
    for seed in range(50):
        changed = augment.random_colour(np.random.default_rng(seed), image)(image)
        assert changed.dtype == np.float32 and changed.min() >= 0 and changed.max() <= 1
        greyed = augment.random_colour(np.random.default_rng(seed), grey)(grey)
        np.testing.assert_allclose(greyed, greyed[..., :1].repeat(3, -1), atol=1e-5)
        factors.append(changed.mean() / image.mean())
    assert min(factors) < 0.9 and max(factors) > 1.1


def test_colour_is_the_steps_one_after_another():
    rng = np.random.default_rng(3)
    image = np.random.default_rng(1).uniform(0.4, 0.6, size=(6, 7, 3))
    colour = augment.random_colour(rng, image)
    again = np.random.default_rng(3)
    brightness, contrast, saturation = again.uniform(0.8, 1.2, 3)
    hue = again.uniform(-0.1, 0.1)
    grey = (image @ augment.LUMA)[..., None]
    chroma = saturation * (image - grey)
    axis = np.ones(3) / np.sqrt(3)
    along = (chroma @ axis)[..., None] * axis
    chroma = np.cos(hue) * chroma + np.sin(hue) * np.cross(axis, chroma) + (1 - np.cos(hue)) * along
    expected = brightness * (grey.mean() + contrast * (grey + chroma - grey.mean()))
    assert colour(image) == pytest.approx(expected, abs=1e-5)
