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


@pytest.mark.parametrize(("shift", "turn", "zoom"), [(3, 0, 0), (0, 0.02, 0), (0, 0, 0.03), (2, 0.01, -0.01)])
@pytest.mark.parametrize("width", [128, 256])
def test_the_camera_is_found_behind_what_moves(shift, turn, zoom, width):
    trajectories = similarity(shift, turn, zoom, width, width * 5 // 8)
    expected = np.linalg.norm(trajectories[1:], axis=-1).mean() * 256 / width
    trajectories[:, :, : width // 4] += (np.cos(TIME / 3)[:, None, None, None] * 4 + 6) * width / 256  # a bush
    motion, share = quality_measures.camera(trajectories)
    assert motion == pytest.approx(expected, rel=0.05)
    assert share == pytest.approx(0.75, abs=0.05)


def test_a_steady_camera_however_much_moves():
    trajectories = np.zeros((60, 80, 128, 2), np.float32)
    trajectories[:, :, :56, 0] = 3 * SWING[:, None, None]
    motion, _ = quality_measures.camera(trajectories)
    assert motion < 0.1


def test_trend_of_a_ramp_a_sine_and_rest():
    field = np.zeros((60, 10, 16, 2), np.float32)
    assert quality_measures.trend(field) == 0
    field[..., 0] = TIME[:, None, None] * 0.1
    assert quality_measures.trend(field) == pytest.approx(1)
    field[:, :, 8:, 1] = 50 * SWING[:, None, None]  # much more motion that returns
    assert quality_measures.trend(field) < 0.2
    field[..., 0], field[..., 1] = np.sin(2 * np.pi * TIME / 60)[:, None, None], 0
    assert quality_measures.trend(field) == pytest.approx(6 / np.pi**2, abs=0.02)


def test_flicker_is_what_motion_does_not_explain():
    generator = np.random.default_rng(0)
    wide = generator.integers(80, 160, (80, 148, 3))
    shift = np.round(6 * SWING).astype(int)
    pictures = np.stack([wide[:, 10 - s : 138 - s] for s in shift]).astype(np.uint8)
    trajectories = np.zeros((60, 80, 128, 2), np.float32)
    trajectories[..., 0] = shift[:, None, None]
    assert quality_measures.flicker(pictures, trajectories) < 0.01
    light = np.zeros((60, 80, 128))
    light[:, 16:48, 32:64] = 10 * SWING[:, None, None]
    flickering = np.clip(pictures[:1] + light[..., None], 0, 255).astype(np.uint8)
    expected = 10 * SWING.std()
    assert quality_measures.flicker(flickering, 0 * trajectories) == pytest.approx(expected, abs=0.7)
    spots = pictures.copy()
    spots[TIME % 2 == 1, ::2, ::2] = 255  # a quarter of the pixels: what a flow misses of a texture
    assert quality_measures.flicker(spots, trajectories) < 1
