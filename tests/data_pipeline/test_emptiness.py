"""What is empty rests: the dark beside a flame, the sky behind leaves; a plain petal moves with its edges."""

import numpy as np
import pytest
from scipy import ndimage

from data_pipeline.emptiness import find_empty
from data_pipeline.procedural import render_clip
from data_pipeline.trajectories import estimate_trajectories


def scene(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc with a plain middle that swings before black, and where it is in the first picture."""
    y, x = np.mgrid[:80, :128].astype(np.float64)
    pictures = np.zeros((count, 80, 128, 3), np.uint8)
    for t in range(count):
        distance = np.hypot(x - 64 - 6 * np.sin(t / 4), y - 40)
        pictures[t] = (
            np.clip(180 + 60 * np.cos(np.maximum(distance - 8, 0)), 0, 255)[..., None] * (distance < 18)[..., None]
        )
    return pictures, np.hypot(x - 64, y - 40)


def test_the_dark_around_a_thing_rests_and_its_plain_middle_does_not():
    pictures, distance = scene()
    empty = find_empty(pictures)
    assert not empty[distance < 17].any()
    assert empty[distance > 22].mean() > 0.99


def test_texture_and_a_camera_that_moves_leave_nothing_empty():
    generator = np.random.default_rng(0)
    texture = generator.integers(60, 190, (1, 80, 128, 3)).astype(np.uint8)
    assert not find_empty(np.repeat(texture, 10, axis=0)).any()
    y, x = np.mgrid[:80, :200]
    wide = np.repeat((120 + 40 * np.sin(x / 9) * np.cos(y / 11))[..., None], 3, axis=-1).astype(np.uint8)
    assert not find_empty(np.stack([wide[:, t : t + 128] for t in range(40)])).any()


@pytest.mark.parametrize("width", [64, 128])
def test_motion_that_flow_carries_into_the_dark_is_stopped(width):
    clip = render_clip(3, width=width, height=width * 5 // 8, num_frames=40, kinds=["flames"])

    def leak(source, targets, preset):
        return (
            np.repeat(clip.trajectories[1:].mean(axis=(1, 2), keepdims=True), width, axis=2).repeat(
                width * 5 // 8, axis=1
            )
            + clip.trajectories[1:]
        )

    motion = estimate_trajectories(clip.frames, "fast", leak)
    rests = np.linalg.norm(clip.trajectories, axis=-1).max(axis=0) == 0
    stopped = (motion == 0).all(axis=(0, 3))
    assert stopped[rests].mean() > 0.6
    moves = np.linalg.norm(clip.trajectories, axis=-1).mean(axis=0) * 256 / width > 0.5
    assert stopped[moves].mean() < 0.02


@pytest.mark.parametrize("width", [96, 128])
def test_the_rim_of_a_flame_rests(width):
    clip = render_clip(1, width=width, height=width * 5 // 8, num_frames=60, kinds=["flames"])
    rests = np.linalg.norm(clip.trajectories, axis=-1).max(axis=0) == 0
    distance = ndimage.distance_transform_edt(rests)
    rim = rests & (distance <= 1)
    empty = find_empty(clip.frames)
    assert empty[rim].mean() > 0.45
    assert empty[~rests].mean() < 0.002


def swinging(half_width: float, reach: float, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """A plain vertical bar that swings before a plain wall by `reach` px, and which pixels it covers at first."""
    x = np.broadcast_to(np.arange(128.0), (80, 128))
    pictures = []
    for t in range(60):
        cover = np.clip(half_width + 0.5 - np.abs(x - 64 - reach * np.sin(t / 4)), 0, 1)
        pictures.append(np.repeat((140 - contrast * cover)[..., None], 3, axis=-1).round().astype(np.uint8))
    return np.stack(pictures), np.abs(x - 64) <= half_width


@pytest.mark.parametrize("half_width", [0.4, 1, 3])
@pytest.mark.parametrize("reach", [0.5, 3])
@pytest.mark.parametrize("contrast", [20, 80])
def test_thin_and_pale_things_before_a_wall_keep_their_motion(half_width, reach, contrast):
    pictures, bar = swinging(half_width, reach, contrast)
    empty = find_empty(pictures)
    assert not empty[bar].any()
    assert empty[np.abs(np.indices(bar.shape)[1] - 64) > half_width + reach + 4].all()


def test_a_picture_that_is_empty_throughout():
    assert find_empty(np.full((5, 40, 64, 3), 9, np.uint8)).all()
