"""Procedural clips: what is drawn moves exactly as the trajectories say, and is hidden where the visibility says so."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from data_pipeline.procedural import render_clip, render_motion, scenes
from data_pipeline.procedural.stage import stiffness
from gid_jax.errors import UserError


def _warped(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """frame(p + motion(p)), cubic."""
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    place = [y + motion[..., 1], x + motion[..., 0]]
    channels = [map_coordinates(frame[..., c].astype(float), place, order=3, mode="nearest") for c in range(3)]
    return np.stack(channels, -1)


@pytest.mark.parametrize("scene", [*scenes.TRAIN, *scenes.TEST_ONLY])
def test_frames_follow_the_exact_motion(scene: str) -> None:
    clip = render_clip(5, width=96, height=60, num_frames=41, kinds=(scene,))
    assert clip.frames.shape == (41, 60, 96, 3) and clip.frames.dtype == np.uint8
    assert clip.trajectories.shape == (41, 60, 96, 2) and clip.visibility.shape == (41, 60, 96)
    assert not clip.trajectories[0].any() and clip.visibility[0].all()
    assert ("cloth" in clip.kinds) == (scene in scenes.TEST_ONLY)
    start, end, motion = clip.frames[0].astype(float), clip.frames[-1], clip.trajectories[-1]
    followed, ignored = np.abs(_warped(end, motion) - start).mean(-1), np.abs(end - start).mean(-1)
    visible, moves = clip.visibility[-1], np.hypot(*np.moveaxis(motion, -1, 0)) > 0.4
    assert (moves & visible).sum() > 60
    assert followed[moves & visible].mean() < 0.4 * ignored[moves & visible].mean()
    assert np.median(followed[moves & visible]) < 3
    assert followed[~visible].mean() > 2.5 * followed[visible].mean()
    still = (clip.trajectories == 0).all((0, -1))
    assert still.mean() > 0.15
    unseen = still & clip.visibility.all(0)
    assert np.ptp(clip.frames[:, unseen].astype(int), axis=0).mean() < 8  # but for soft edges that pass over


def test_the_same_scene_at_every_size() -> None:
    small, large = (render_clip(11, width=width, height=width * 5 // 8, num_frames=12) for width in (64, 128))
    pooled = large.frames.reshape(12, 40, 2, 64, 2, 3).mean((2, 4))
    assert np.corrcoef(pooled.ravel(), small.frames.astype(float).ravel())[0, 1] > 0.97
    halved = large.trajectories.reshape(12, 40, 2, 64, 2, 2).mean((2, 4)) / 2
    assert np.corrcoef(halved.ravel(), small.trajectories.ravel())[0, 1] > 0.9


def test_a_seed_gives_one_clip_and_seeds_differ() -> None:
    first, again, other = (render_clip(seed, width=64, height=40, num_frames=3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.trajectories, again.trajectories)
    assert np.abs(first.frames[0].astype(int) - other.frames[0]).mean() > 15


def test_motion_alone_is_that_of_the_clip() -> None:
    clip = render_clip(5, width=64, height=40, num_frames=150)
    first, trajectories = render_motion(5, width=64, height=40)
    np.testing.assert_array_equal(trajectories, clip.trajectories)
    assert np.abs(first.astype(int) - clip.frames[0]).max() <= 1  # rounding


@pytest.mark.parametrize("scene", ["meadow", "laundry"])
def test_other_gusts_blow_over_the_same_scene(scene: str) -> None:
    size = {"width": 96, "height": 60, "kinds": (scene,)}
    pictures, motions = zip(*(render_motion(5, **size, gusts=gusts) for gusts in (0, 1, 2, 1)), strict=True)
    np.testing.assert_array_equal(motions[1], motions[3])
    maps = [np.linalg.norm(motion, axis=-1).mean(axis=0) for motion in motions[:3]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        alike = np.corrcoef(pictures[one].ravel().astype(float), pictures[other].ravel().astype(float))[0, 1]
        assert alike > 0.7  # but for the pose of its first frame
        assert np.corrcoef(maps[one].ravel(), maps[other].ravel())[0, 1] > 0.4
        moving = np.minimum(maps[one], maps[other]) > 0.2
        courses = [motions[number][:, moving, 0] for number in (one, other)]
        pairs = [np.corrcoef(a, b)[0, 1] for a, b in zip(courses[0].T[::7], courses[1].T[::7], strict=True)]
        assert abs(np.mean(pairs)) < 0.7


def test_motion_is_plausible() -> None:
    """A good share moves, by a few pixels at 256 wide, and slow motion is larger than fast motion."""
    shares, swings, bands = [], [], []
    for seed in range(5):
        motion = render_clip(seed, width=48, height=32, num_frames=150).trajectories * 256 / 48
        size = np.hypot(*np.moveaxis(motion, -1, 0)).mean(0)
        shares.append((size > 0.3).mean())
        swings.append(size[size > 0.3].mean())
        bands.append(np.abs(np.fft.rfft(motion, axis=0)).mean((1, 2, 3)))
    assert 0.15 < np.mean(shares) < 0.7
    assert 0.8 < np.mean(swings) < 4
    power = np.mean(bands, axis=0)
    assert power[1:4].mean() > 2 * power[5:8].mean() > 4 * power[13:18].mean()


def test_grass_moves_most_at_its_tips_and_vines_at_their_ends() -> None:
    for scene, hangs in (("corn", False), ("vines", True)):
        clip = render_clip(3, width=64, height=40, num_frames=90, kinds=(scene,))
        size = np.hypot(*np.moveaxis(clip.trajectories, -1, 0)).mean(0)
        rows, _ = np.nonzero(size > 0)
        slope = np.corrcoef(rows, size[size > 0])[0, 1]
        assert slope > 0.3 if hangs else slope < -0.3


def test_long_thin_stems_are_soft_and_slow() -> None:
    frequency, reach = stiffness(0.3, 0.012)
    for length, thickness in ((0.45, 0.012), (0.3, 0.006)):
        slower, further = stiffness(length, thickness)
        assert slower < frequency and further > reach


def test_impossible_requests_name_the_remedy() -> None:
    with pytest.raises(UserError, match="choose from meadow"):
        render_clip(0, width=64, height=40, kinds=("submarine",))
    with pytest.raises(UserError, match="at least 32"):
        render_clip(0, width=16, height=16)
