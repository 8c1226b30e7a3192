"""Flow errors and exact motion of a crop, against closed forms."""

import numpy as np
import pytest

from data_pipeline import trajectories
from data_pipeline.video import Crop


def shifted(shift: float, height: int = 32, width: int = 48) -> np.ndarray:
    """A smooth picture whose content has moved by `shift` px to the right, uint8 [h, w, 3]."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return (128 + 60 * np.stack([np.sin((x - shift) / 4 + c) * np.cos(y / 5) for c in range(3)], -1)).astype(np.uint8)


def estimator(scale: float):
    """Says that everything moved right by twice the frame number, `scale` times too far, and back likewise."""

    def estimate(source, targets, preset):
        direction = 2 if len(targets) > 1 else -4
        steps = np.arange(1, len(targets) + 1) * direction * scale
        motion = np.zeros((len(targets), *source.shape[:2], 2), np.float32)
        motion[..., 0] = steps[:, None, None]
        return motion

    return estimate


def test_trajectories_start_at_rest():
    pictures = np.stack([shifted(2 * t) for t in range(4)])
    motion = trajectories.estimate_trajectories(pictures, "fast", estimator(1.0))
    assert motion.shape == (4, 32, 48, 2) and motion.dtype == np.float32
    np.testing.assert_array_equal(motion[:, 0, 0, 0], [0, 2, 4, 6])


def test_flow_error_vanishes_for_right_motion_and_shows_wrong_motion():
    pictures = np.stack([shifted(2 * t) for t in range(4)])
    right = trajectories.estimate_trajectories(pictures, "fast", estimator(1.0))
    round_trip, photometric = trajectories.flow_error(pictures, right, [2], "fast", estimator(1.0))
    assert round_trip == pytest.approx(0, abs=1e-5) and photometric < 1
    round_trip, photometric = trajectories.flow_error(pictures, 1.5 * right, [2], "fast", estimator(1.0))
    assert round_trip == pytest.approx(2.0, abs=1e-4) and photometric > 5


def test_cropped_motion_is_that_of_the_cropped_picture():
    """A field linear in position, whose crop and resize is known exactly away from the border."""
    y, x = np.mgrid[:72, :128].astype(np.float32)
    field = np.stack([0.1 * x, 0.2 * y, -0.3 * x, 0.4 * y], -1)
    crop = Crop.cover((128, 72), (64, 40))
    result = trajectories.crop_motion(field, crop)
    scale = 40 / 72
    assert crop.scale == pytest.approx(scale)
    x_source = crop.left + (np.arange(64) + 0.5) / scale - 0.5
    y_source = crop.top + (np.arange(40) + 0.5) / scale - 0.5
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(result[..., 0][inner], np.tile(0.1 * x_source * scale, (40, 1))[inner], atol=0.01)
    np.testing.assert_allclose(
        result[..., 3][inner], np.tile(0.4 * y_source[:, None] * scale, (1, 64))[inner], atol=0.02
    )


def test_cropped_mask():
    mask = np.zeros((72, 128), bool)
    mask[:36] = True
    result = trajectories.crop_mask(mask, Crop.cover((128, 72), (64, 36)))
    assert result.dtype == bool and result[:18].all() and not result[18:].any()
