"""Flow against exact motion: analytic band-limited textures are sampled where the motion says, never resampled."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.procedural import render_clip
from gid_jax import flow
from gid_jax.flow import coarse_to_fine, following, solver

HEIGHT, WIDTH = 40, 64
PRESETS = ("fast", "accurate")


class Texture:
    """A colour picture defined at every real position: a sum of plane waves of periods up to 40 px."""

    def __init__(self, seed: int, shortest: float = 6, waves: int = 40):
        random = np.random.default_rng(seed)
        period, angle = random.uniform(shortest, 40, waves), random.uniform(0, 2 * np.pi, waves)
        self.wave = 2 * np.pi / period * np.stack([np.cos(angle), np.sin(angle)])
        self.phase = random.uniform(0, 2 * np.pi, waves)
        self.colour = random.normal(0, 0.5 / np.sqrt(waves), (waves, 3))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        phase = x[..., None] * self.wave[0] + y[..., None] * self.wave[1] + self.phase
        return np.clip(0.5 + np.sin(phase) @ self.colour, 0, 1).astype(np.float32)


def grid(height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.meshgrid(np.arange(height, dtype=float), np.arange(width, dtype=float), indexing="ij")
    return x, y


def bend(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """A smooth sway, at most 1.6 `strength` px."""
    dx = strength * np.sin(2 * np.pi * y / 50) * np.cos(2 * np.pi * x / 90)
    return np.stack([dx, 0.6 * strength * np.cos(2 * np.pi * (x + y) / 80)], axis=-1)


def deformed(texture: Texture, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and the exact motion: the target is the texture, the source looks up where each pixel goes."""
    x, y = grid()
    motion = bend(x, y, strength)
    return texture(x + motion[..., 0], y + motion[..., 1]), texture(x, y), motion


def error(estimated: jax.Array, exact: np.ndarray, margin: int = 0) -> float:
    distance = np.linalg.norm(np.asarray(estimated) - exact, axis=-1)
    return float(distance[..., margin : distance.shape[-2] - margin, margin : distance.shape[-1] - margin].mean())


@pytest.mark.parametrize("preset", PRESETS)
def test_still_picture_does_not_move(preset):
    picture = Texture(0)(*grid())
    assert np.abs(flow.estimate(picture, np.stack([picture] * 2), preset)).max() < 0.02


@pytest.mark.parametrize("preset", PRESETS)
def test_translations(preset):
    x, y = grid()
    texture = Texture(1)
    shifts = np.array([[0.3, -0.2], [2.4, 1.3]])
    motion = flow.estimate(texture(x, y), np.stack([texture(x - dx, y - dy) for dx, dy in shifts]), preset)
    for estimated, shift in zip(motion, shifts, strict=True):
        assert error(estimated, shift, margin=4) < 0.05


@pytest.mark.parametrize("preset", PRESETS)
def test_smooth_deformations(preset):
    texture = Texture(2)
    for strength in (0.5, 1.5):
        source, target, exact = deformed(texture, strength)
        motion = flow.estimate(source, np.stack([target] * 2), preset)
        assert error(motion[0], exact) < 0.1


@pytest.mark.parametrize("preset", PRESETS)
def test_large_translation_is_found_through_the_pyramid(preset):
    x, y = grid()
    texture = Texture(3, shortest=14)
    motion = flow.estimate(texture(x, y), np.stack([texture(x - 8, y), texture(x + 8, y - 2)]), preset)
    assert error(motion[0, 6:-6, 6:-14], np.array([8, 0])) < 0.15
    assert error(motion[1, 6:-6, 14:-6], np.array([-8, 2])) < 0.15


@pytest.mark.parametrize("preset", PRESETS)
def test_moving_square_leaves_its_background_alone(preset):
    x, y = grid()
    back, front = Texture(4), Texture(5)

    def scene(shift: float) -> np.ndarray:
        square = (np.abs(x - 30 - shift) <= 10) & (np.abs(y - 20) <= 10)
        return np.where(square[..., None], front(x - shift, y), back(x, y))

    motion = np.asarray(flow.estimate(scene(0), np.stack([scene(3)] * 2), preset)[0])
    inside = (np.abs(x - 30) <= 7) & (np.abs(y - 20) <= 7)
    far = (np.abs(x - 30) > 16) | (np.abs(y - 20) > 13)
    assert np.abs(motion[inside] - [3, 0]).mean() < 0.15
    assert np.linalg.norm(motion[far], axis=-1).mean() < 0.02
    ring = (np.abs(x - 30) <= 14) & (np.abs(y - 20) <= 14)
    exact = np.where((np.abs(x - 30) <= 10) & (np.abs(y - 20) <= 10), 3.0, 0.0)
    wrong = np.abs(motion[..., 0] - exact) > 1.0
    assert wrong[ring].mean() < 0.2


def test_targets_are_solved_independently():
    texture = Texture(2)
    pairs = [deformed(texture, s) for s in (0.5, 2.0)]
    x, y = grid()
    source = texture(x, y)
    targets = np.stack([pairs[0][0], pairs[1][0]])
    together = flow.estimate(source, targets, "fast")
    again = flow.estimate(source, targets[::-1].copy(), "fast")
    np.testing.assert_allclose(together, again[::-1], atol=2e-3)


def test_parts_for_cores_keep_order_and_number(monkeypatch):
    monkeypatch.setattr(coarse_to_fine, "CACHE_PIXELS", 2 * 3 * 4)
    targets = jnp.arange(7 * 3 * 4 * 3, dtype=jnp.float32).reshape(7, 3, 4, 3)
    sizes = []

    def solve(part):
        sizes.append(part.shape[0])
        return 2 * part[..., :2]

    np.testing.assert_array_equal(coarse_to_fine._on_cores(solve, [targets]), 2 * targets[..., :2])
    assert sizes == [2, 2, 2, 2]


def test_chunks_keep_order_and_number(monkeypatch):
    monkeypatch.setattr(coarse_to_fine, "DEVICE_PIXELS", 2 * 3 * 4)
    targets = jnp.arange(7 * 3 * 4, dtype=jnp.float32).reshape(7, 3, 4)
    sizes = []

    def refine(field, part):
        sizes.append(part[0].shape[0])
        return field[0] + part[0], field[1] - part[0]

    u, v = coarse_to_fine._by_chunks(refine, (targets, targets), (targets,))
    assert set(sizes) == {2}
    np.testing.assert_array_equal(u, 2 * targets)
    np.testing.assert_array_equal(v, 0 * targets)


def test_devices_share_the_targets():
    """Four devices hold two targets each, and find what one device finds."""
    texture = Texture(2)
    x, y = grid()
    targets = np.stack([deformed(texture, s)[0] for s in np.linspace(0.2, 1.6, 8)])
    devices = jax.devices()[:4]
    motion = flow.estimate(texture(x, y), targets, "fast", devices=devices)
    shards = motion.addressable_shards
    assert [s.device for s in shards] == devices and {s.data.shape for s in shards} == {(2, HEIGHT, WIDTH, 2)}
    assert [s.index[0] for s in shards] == [slice(2 * i, 2 * i + 2) for i in range(4)]
    np.testing.assert_allclose(motion, flow.estimate(texture(x, y), targets, "fast"), atol=2e-3)
    seven = flow.estimate(texture(x, y), targets[:7], "fast", devices=devices)
    np.testing.assert_allclose(seven, motion[:7], atol=1e-5)


def test_initial_motion_finds_what_the_search_cannot():
    """Waves of 5 px, all alike, moved by two of them: lost from rest, found from near by."""
    x, y = grid()
    fine = Texture(8)
    fine.wave *= 2 * np.pi / 5 / np.linalg.norm(fine.wave, axis=0)
    shift = np.array([9.0, -4.0])
    source, targets = fine(x, y), fine(x - shift[0], y - shift[1])[None]
    near = np.broadcast_to(shift + [0.6, -0.5], (1, HEIGHT, WIDTH, 2)).astype(np.float32)
    inner = np.s_[:, 6:-2, 2:-12]
    assert error(flow.estimate(source, targets, "fast", near)[inner], shift) < 0.05
    assert error(flow.estimate(source, targets, "fast")[inner], shift) > 2


def test_consistency_is_the_distance_to_oneself():
    forward = jnp.zeros((1, 12, 16, 2)).at[..., 0].set(2.0)
    backward = jnp.zeros((1, 12, 16, 2)).at[..., 0].set(-1.5)
    np.testing.assert_allclose(flow.consistency(forward, backward), 0.5, atol=1e-6)
    assert flow.consistency(forward, -forward).max() < 1e-6


def test_consistency_follows_the_motion():
    forward = jnp.zeros((1, 12, 16, 2)).at[0, 5, 4].set(jnp.array([3.0, 2.0]))
    backward = jnp.zeros((1, 12, 16, 2)).at[0, 7, 7].set(jnp.array([-3.0, -2.0]))
    distance = flow.consistency(forward, backward)
    assert distance[0, 5, 4] < 1e-6 and distance[0, 7, 7] == pytest.approx(np.sqrt(13))


def test_occlusion_marks_what_disappears():
    forward, backward = np.zeros((1, 12, 32, 2), np.float32), np.zeros((1, 12, 32, 2), np.float32)
    forward[0, :, 8:16, 0] = 6  # columns 8-15 move onto 14-21 and hide 16-21
    backward[0, :, 14:22, 0] = -6
    hidden = np.asarray(flow.occlusion(forward, backward))[0]
    assert hidden[:, 16:22].all() and not hidden[:, :14].any() and not hidden[:, 22:].any()
    outward = np.zeros((1, 12, 32, 2), np.float32)
    outward[..., 0] = 4
    assert np.asarray(flow.occlusion(outward, -outward))[0, :, 28:].all()


def test_forward_and_backward_agree_on_a_deformation():
    source, target, _ = deformed(Texture(7), 2.0)
    forward = flow.estimate(source, np.stack([target] * 2), "fast")
    backward = flow.estimate(target, np.stack([source] * 2), "fast")
    distance = np.asarray(flow.consistency(forward, backward))
    assert np.median(distance) < 0.1
    assert np.asarray(flow.occlusion(forward, backward))[:, 6:-6, 6:-6].mean() < 0.02


def test_procedural_scene_against_its_exact_trajectories():
    """Foliage at 64 x 40: thin leaves, occlusion. Half of the pixels within 0.1 px, moving ones beat zero motion."""
    clip = render_clip(0, width=WIDTH, height=HEIGHT, num_frames=10)
    pictures, times = clip.frames.astype(np.float32) / 255, [4, 9]
    distance = np.linalg.norm(flow.estimate(pictures[0], pictures[times], "fast") - clip.trajectories[times], axis=-1)
    length, seen = np.linalg.norm(clip.trajectories[times], axis=-1), clip.visibility[times]
    assert np.median(distance[seen]) < 0.1
    moving = seen & (length > 0.5)
    assert distance[moving].mean() < 0.5 * length[moving].mean()


def test_a_clip_is_followed_where_the_search_is_lost():
    """Waves of 5 px, all alike, drift by two of them; one frame shows something else, and is not handed on."""
    x, y = grid()
    fine = Texture(8)
    fine.wave *= 2 * np.pi / 5 / np.linalg.norm(fine.wave, axis=0)
    shift = np.outer(np.arange(1, 13), [0.8, -0.35])
    targets = np.stack([fine(x - dx, y - dy) for dx, dy in shift])
    inner = np.s_[-1:, 8:-4, 4:-14]
    assert error(flow.estimate(fine(x, y), targets[-1:], "fast")[inner], shift[-1]) > 2
    motion = flow.follow(fine(x, y), targets, "fast")
    assert error(motion[inner], shift[-1]) < 0.1


def test_following_a_clip_leaves_what_the_search_found():
    """A sway that the search finds, with a flash of another picture in between."""
    texture, other = Texture(2), Texture(5)
    x, y = grid()
    source, strengths = texture(x, y), 1.2 * np.sin(np.arange(12) / 2)
    frames = [deformed(texture, strength) for strength in strengths]
    targets = np.stack([frame[0] for frame in frames])
    targets[5] = other(x, y)
    alone, followed = (np.asarray(f(source, targets, "fast")) for f in (flow.estimate, flow.follow))
    kept = np.delete(np.linalg.norm(followed - alone, axis=-1), 5, axis=0)
    assert kept.mean() < 0.01 and np.quantile(kept, 0.99) < 0.1


@pytest.mark.slow
def test_middlebury_pairs(shared, monkeypatch):
    """The mean end-point errors that docs/flow.md promises at 256 x 160."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    flow_accuracy = importlib.import_module("flow_accuracy")
    folders = sorted(p.parent for p in (shared / "flow").glob("*/flow10.flo"))
    if not folders:
        pytest.skip(f"no flow pairs in {shared / 'flow'}")
    pairs = [flow_accuracy.read_pair(folder) for folder in folders]
    for preset, limit in (("fast", 0.145), ("accurate", 0.133)):
        errors = [np.linalg.norm(flow.estimate(a, b[None], preset)[0] - f, axis=-1) for a, b, f in pairs]
        assert np.mean([np.nanmean(e) for e in errors]) < limit


@pytest.mark.parametrize(
    ("source", "targets", "preset"),
    [
        ((40, 64), (2, 40, 64, 3), "fast"),
        ((40, 64, 3), (40, 64, 3), "fast"),
        ((40, 64, 3), (2, 40, 60, 3), "fast"),
        ((40, 64, 4), (2, 40, 64, 4), "fast"),
        ((4, 64, 3), (2, 4, 64, 3), "fast"),
        ((40, 64, 3), (0, 40, 64, 3), "fast"),
    ],
)
def test_bad_shapes(source, targets, preset):
    with pytest.raises(ValueError, match=r"h, w, 3|at least"):
        flow.estimate.__wrapped__(np.zeros(source, np.float32), np.zeros(targets, np.float32), preset)
    with pytest.raises(ValueError, match=r"h, w, 3|at least"):
        flow.follow.__wrapped__(np.zeros(source, np.float32), np.zeros(targets, np.float32), preset)


def test_bad_initial():
    pictures = np.zeros((2, 40, 64, 3), np.float32)
    with pytest.raises(ValueError, match="initial must be"):
        flow.estimate.__wrapped__(pictures[0], pictures, "fast", np.zeros((1, 40, 64, 2), np.float32))


def test_unknown_preset():
    with pytest.raises(ValueError, match="accurate, fast"):
        flow.estimate.__wrapped__(np.zeros((40, 64, 3)), np.zeros((1, 40, 64, 3)), "best")


@pytest.mark.parametrize("size", [(21, 34), (40, 27)])
def test_warp_without_gathers_is_the_same(size):
    """Within reach, also where the motion leaves the picture; the TPU's program, run here."""
    random = np.random.default_rng(0)
    picture = tuple(jnp.asarray(random.normal(size=(2, *size)), jnp.float32) for _ in range(2))
    far = solver.reach(*size)
    field = tuple(jnp.asarray(random.uniform(-far, far, (2, *size)), jnp.float32) for _ in range(2))
    for ours, gathered in zip(solver._fetch_within_reach(picture, field), solver.fetch(picture, field), strict=True):
        np.testing.assert_allclose(ours, gathered, atol=2e-5)
    beyond = solver._fetch_within_reach(picture, (field[0] * 0 + far + 3.0, field[1]))
    within = solver._fetch_within_reach(picture, (field[0] * 0 + far, field[1]))
    np.testing.assert_array_equal(beyond, within)


def test_program_of_a_tpu_has_no_gathers_and_no_host_calls():
    source, targets = jnp.zeros((HEIGHT, WIDTH, 3)), jnp.zeros((2, HEIGHT, WIDTH, 3))
    fast = flow.PRESETS["fast"]
    for traced in (
        coarse_to_fine._estimate.trace(source, jnp.int32(8), targets, preset=fast),
        following._follow.trace(source, targets, targets[..., :2], preset=fast),
    ):
        programs = {platform: traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "tpu")}
        assert "stablehlo.gather" in programs["cpu"]
        for forbidden in ("gather", "callback", "infeed", "outfeed"):
            assert forbidden not in programs["tpu"]
