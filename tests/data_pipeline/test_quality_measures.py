"""What is measured of a clip's motion, against fields whose camera, drift and light are known."""

import numpy as np
import pytest

from data_pipeline import quality_measures

TIME = np.arange(60)
SWING = np.sin(2 * np.pi * TIME / 20)


def similarity(shift: float, turn: float, zoom: float, width: int = 128, height: int = 80) -> np.ndarray:
    """[60, h, w, 2] of a picture that swings as a whole; px at a width of 256 (shift), rad, share."""
    y, x = np.mgrid[:height, :width]
    z = (x - x.mean()) + 1j * (y - y.mean())
    whole = shift * width / 256 + (zoom + 1j * turn) * z
    motion = SWING[:, None, None] * whole
    return np.stack([motion.real, motion.imag], axis=-1).astype(np.float32)


EVERYWHERE = np.ones((80, 128), bool)


@pytest.mark.parametrize(("shift", "turn", "zoom"), [(3, 0, 0), (0, 0.02, 0), (0, 0, 0.03), (2, 0.01, -0.01)])
def test_the_camera_is_found_behind_what_moves(shift, turn, zoom):
    trajectories = similarity(shift, turn, zoom)
    expected = 2 * np.linalg.norm(trajectories[1:], axis=-1).mean()
    trajectories[:, :, :32] += np.cos(TIME / 3)[:, None, None, None] * 2 + 3  # a bush
    camera = quality_measures.camera(trajectories, EVERYWHERE)
    assert camera.camera_motion == pytest.approx(expected, rel=0.05)
    assert camera.camera_share == pytest.approx(0.75, abs=0.05)
    assert camera.camera_told == 1 and camera.camera_sides == 4 and camera.camera_steady < 0.3


def test_a_steady_camera_however_much_moves():
    trajectories = np.zeros((60, 80, 128, 2), np.float32)
    trajectories[:, :, :56, 0] = 3 * SWING[:, None, None]
    camera = quality_measures.camera(trajectories, EVERYWHERE)
    assert camera.camera_motion < 0.1 and camera.camera_least == 0


@pytest.mark.parametrize("kind", ["pan", "zoom"])
def test_a_camera_on_its_way_does_not_come_back_whatever_sways_before_it(kind):
    generator = np.random.default_rng(0)
    phases, speeds = generator.uniform(0, 6.3, (80, 128)), generator.uniform(0.1, 0.4, (80, 128))
    trajectories = np.zeros((60, 80, 128, 2), np.float32)
    trajectories[..., 0] = 2 * np.sin(phases + speeds * TIME[:, None, None])
    swaying = quality_measures.camera(trajectories, EVERYWHERE)
    assert swaying.camera_drift < 0.5 and swaying.camera_least > 1 and swaying.camera_drifting < 0.1
    y, x = np.mgrid[:80, :128]
    way = np.stack([x - 63.5, y - 39.5], axis=-1) * 0.15 if kind == "zoom" else np.array([6.0, 0])
    trajectories += TIME[:, None, None, None] / 60 * way
    gone = quality_measures.camera(trajectories, EVERYWHERE)
    assert gone.camera_drift == pytest.approx(2 * np.linalg.norm(way, axis=-1).mean(), rel=0.1)
    assert gone.camera_steady > 0.9 and gone.camera_drifting > 0.75 and gone.camera_share < 0.3


def test_what_noise_feigns_is_half_as_much_motion_and_a_swing_all_of_it():
    noise = np.random.default_rng(0).normal(0, 0.4, (60, 20, 256, 2)).astype(np.float32)
    length = np.linalg.norm(noise, axis=-1).mean()
    assert quality_measures.motion_percentiles(noise)[50] == pytest.approx(length / 5**0.5, rel=0.05)
    assert quality_measures.motion_percentiles(np.broadcast_to(noise[:1], noise.shape))[99] < 1e-5
    swing = np.zeros((60, 20, 256, 2), np.float32)
    swing[..., 0] = SWING[:, None, None]
    assert quality_measures.motion_percentiles(swing)[99] > 0.9 * np.abs(SWING).mean()


def test_only_texture_in_two_directions_tells_motion():
    picture = np.full((80, 128), 120.0, np.float32)
    picture[:, :40] += np.random.default_rng(0).normal(0, 20, (80, 40))
    picture[:, 80:] += 60  # an edge, along which motion does not show
    told = quality_measures.find_texture(picture)
    assert told[:, :38].all() and not told[8:-8, 50:].any()


def test_trend_of_a_ramp_a_sine_and_rest():
    field = np.zeros((60, 10, 16, 2), np.float32)
    assert quality_measures.trend(field) == 0
    field[..., 0] = TIME[:, None, None] * 0.1
    assert quality_measures.trend(field) == pytest.approx(1)
    field[:, :, 8:, 1] = 50 * SWING[:, None, None]  # much more motion that returns
    assert quality_measures.trend(field) < 0.2
    field[..., 0], field[..., 1] = np.sin(2 * np.pi * TIME / 60)[:, None, None], 0
    assert quality_measures.trend(field) == pytest.approx(6 / np.pi**2, abs=0.02)


def moving_picture() -> tuple[np.ndarray, np.ndarray]:
    """A texture that swings: luma [60, 80, 128] and its motion."""
    wide = np.random.default_rng(0).integers(80, 160, (80, 148)).astype(np.float32)
    shift = np.round(6 * SWING).astype(int)
    motion = np.zeros((60, 80, 128, 2), np.float32)
    motion[..., 0] = shift[:, None, None]
    return np.stack([wide[:, 10 - s : 138 - s] for s in shift]), motion


@pytest.mark.parametrize("exposure", [1.0, 0.25])
def test_light_that_all_of_the_picture_shares(exposure):
    luma, motion = moving_picture()
    luma = luma * exposure  # in a dark picture the same light is as strong
    assert max(quality_measures.common_light(luma, motion)) < 1e-4
    flicker = luma * (1 + 0.08 * SWING[:, None, None])
    assert quality_measures.common_light(flicker, motion) == pytest.approx((0.08 * SWING.std(),) * 2, rel=0.05)
    phase = 2 * np.pi * (np.arange(80) / 80 + TIME[:, None] / 9)
    bands = luma * (1 + 0.08 * np.sin(phase)[:, :, None])
    common, rows = quality_measures.common_light(bands, motion)
    assert common < 0.025 and rows == pytest.approx(0.057, rel=0.1)


def test_black_blocks_say_nothing_about_light():
    luma, motion = moving_picture()
    luma[:, :, 48:] = 10 + 8 * SWING[:, None, None]  # a sensor's black, and what a flame adds to it
    assert max(quality_measures.common_light(luma, motion)) < 1e-4
    luma[:, :, 16:48] = luma[:, :1, 48:80]
    luma[:, 32:, :16] = luma[:, :48, 48:64]
    assert quality_measures.common_light(luma, motion) == (0.0, 0.0)


def test_what_the_flow_missed_and_shading_that_turns_with_a_cloth_are_no_flicker():
    luma, motion = moving_picture()
    spots = luma.copy()
    spots[TIME % 2 == 1, ::2, ::2] = 255
    assert max(quality_measures.common_light(spots, motion)) < 0.01
    y, x = np.mgrid[:80, :128]
    waves = 30 * np.sin(2 * np.pi * (x / 34 + y / 47 - TIME[:, None, None] / 20))
    assert max(quality_measures.common_light(luma + waves, motion)) < 0.035


def test_a_light_on_what_stands_still():
    luma, motion = moving_picture()
    luma[:, :, 40:], motion[:, :, 40:] = luma[:1, :, 40:], 0
    assert quality_measures.local_light(luma, motion) < 0.01
    lit = luma.copy()
    lit[:, 20:60, 60:110] += 5 * SWING[:, None, None]
    assert quality_measures.local_light(lit, motion) == pytest.approx(5 * SWING.std(), rel=0.1)
    assert quality_measures.local_light(lit, motion + 3 * SWING[:, None, None, None]) == 0  # nothing stands still


def test_a_shadow_that_sways_on_a_blank_wall_is_no_light():
    luma, motion = np.full((60, 80, 128), 180, np.float32), np.zeros((60, 80, 128, 2), np.float32)
    x = np.arange(128)
    for t, swing in enumerate(SWING):
        luma[t] -= 80 * np.exp(-(((x - 64 - 8 * swing) / 9) ** 2))
    motion[:, :, 40:88, 0] = 8 * SWING[:, None, None]  # flow sees its edges
    assert quality_measures.local_light(luma, motion) < 0.4


def test_what_passes_before_a_blank_wall_is_no_light():
    luma, motion = np.full((60, 80, 128), 180, np.float32), np.zeros((60, 80, 128, 2), np.float32)
    shift = np.round(24 * SWING).astype(int)
    motion[:, 20:60, 40:60, 0] = shift[:, None, None]
    for t, s in enumerate(shift):
        luma[t, 20:60, 40 + s : 60 + s] = 60
    assert quality_measures.local_light(luma, motion) < 0.01
