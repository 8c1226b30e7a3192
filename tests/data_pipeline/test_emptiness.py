"""What is empty rests: the dark beside a flame, the sky behind leaves; a plain petal moves with its edges."""

import numpy as np
import pytest

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
