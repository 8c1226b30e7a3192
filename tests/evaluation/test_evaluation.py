"""The evaluation as a whole, with models whose right answer is known."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from configs.eval import get_config
from gid_jax.data import codec
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError
from gid_jax.evaluation import baselines, examples, motion, rendering, run
from gid_jax.evaluation.rows import Sampled
from gid_jax.motion.spectrum import mean_magnitude
from gid_jax.streams import LAST_SEED

W, H, K = 48, 32, 4


def scene(number):
    """A bright blob that swings, at a place of its own: image [h, w, 3] and spectrum [k, h, w, 4]."""
    rng = np.random.default_rng(number)
    x, y = np.meshgrid(np.arange(W), np.arange(H))
    centre_x, centre_y = rng.uniform(6, W - 6), rng.uniform(6, H - 6)
    blob = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / 40)
    waves = rng.normal(size=(K, 4)) * np.array([60, 40, 20, 10])[:, None]
    waves[0, 2:] = 0
    image = np.stack([0.2 + 0.7 * blob, 0.3 + 0.1 * np.sin(x), np.full_like(blob, 0.4)], -1)
    return np.round(image * 255).astype(np.uint8), (blob[None, :, :, None] * waves[:, None, None]).astype(np.float32)


class Memory:
    """A source of stored examples in memory: two start frames of each video."""

    name, statistics = (
        "procedural_exact",
        DatasetStatistics(
            scales=np.ones(5, np.float32),
            mean_power=np.array([1800, 800, 200, 50, 10], np.float32),
            num_examples=6,
            width=W,
            height=H,
            fps=30.0,
            num_frames=150,
        ),
    )

    def __init__(self, split, numbers, exact=True):
        self.split, self.examples = split, [self.stored(n, start, exact) for n in numbers for start in (0, 10)]

    def stored(self, number, start, exact):
        image, spectrum = scene(number)
        rng = np.random.default_rng(1000 + number + start)
        estimated = spectrum * rng.uniform(0.8, 1.2)
        shifts = rng.integers(-2, 3, (2, 2))
        return codec.encode_example(
            image=image,
            spectrum=estimated,
            motion_weight=np.asarray(mean_magnitude(estimated)),
            target_frames=np.stack([np.roll(image, tuple(shift), (0, 1)) for shift in shifts]),
            target_flows=np.stack([np.full((H, W, 2), shift[::-1], np.float32) for shift in shifts]),
            target_times=[5, 9],
            exact_spectrum=spectrum if exact else None,
            visibility=np.ones((150, H, W), bool) if exact else None,
            video_id=f"clip <{number}>",
            start=start,
            fps=30.0,
            scale=1.0,
            flow_error=np.zeros(2, np.float32),
        )

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        example = self.examples[index]
        return example | {"video_id": example["video_id"].encode()}


class FromPicture:
    """Knows from the picture where things move, and renders perfectly by rolling whole pictures."""

    width, height, num_frequencies = W, H, K

    def predict(self, images, seeds):
        blob = (images[..., 0] - 0.2) / 0.7
        waves = np.sqrt(Memory.statistics.mean_power[:K])
        return np.stack([blob[:, None] * waves[:, None, None]] * 4, -1).astype(np.float32)

    def render(self, image, motions, weight):
        rolls = np.round(motions[:, 0, 0]).astype(int)
        return np.stack([np.roll(image, (dy, dx), (0, 1)) for dx, dy in rolls])


class Blind(FromPicture):
    """Always the same motion."""

    def predict(self, images, seeds):
        return np.stack([scene(0)[1]] * len(images))


@pytest.fixture(autouse=True)
def no_weights(tmp_path_factory, monkeypatch):
    """Whatever this machine has."""
    monkeypatch.setenv("GID_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def cheap_lpips(monkeypatch):
    """For tests that are of something else: VGG takes most of their time."""
    monkeypatch.setattr(rendering, "lpips", lambda x, y: np.abs(x - y).mean((1, 2, 3)))
    monkeypatch.setattr(baselines.lpips, "unit_features", lambda x: x.reshape(len(x), -1))


@pytest.fixture
def config():
    config = get_config("test")
    config.num_examples, config.scenes, config.crop.width = 100, 3, 40
    return config


@pytest.fixture(scope="module")
def sources():
    return Memory("train", range(8)), Memory("test", range(100, 105))


def test_a_model_that_sees_beats_every_baseline(sources, config, tmp_path):
    metrics = run.evaluate(FromPicture(), *sources, config, tmp_path)
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    summary = metrics["summary"]
    assert summary["truth"] == "exact" and summary["beats_mean_spectrum"] and summary["beats_shuffled"]
    assert summary["map_correlation"]["model"] > 0.99
    exact = metrics["motion"]["exact"]["map_correlation"]
    assert exact["model"]["n"] == 10 and exact["model"]["groups"] == 5
    assert exact["shuffled"]["mean"] < 0.5 and exact["repeat_i0"]["mean"] == 0
    assert exact["stored"]["mean"] == pytest.approx(1, abs=1e-3) and exact["real"]["mean"] > 0.99
    amplitude = metrics["motion"]["exact"]["amplitude_error_db"]
    assert "repeat_i0" not in amplitude and amplitude["stored"]["mean"] < 2
    assert metrics["renderer"]["psnr"]["model"]["mean"] == rendering.HIGHEST_PSNR
    assert metrics["renderer"]["psnr"]["model_minus_repeat_i0"]["low"] > 10
    assert metrics["renderer"]["ssim"]["splat"]["mean"] > metrics["renderer"]["ssim"]["repeat_i0"]["mean"]
    lpips = metrics["renderer"]["lpips"]
    assert lpips["model"]["mean"] == pytest.approx(0, abs=1e-5) and lpips["model_minus_repeat_i0"]["high"] < -0.01
    coherence = metrics["naturalness"]["phase_coherence"]
    assert coherence["stored"]["mean"] == pytest.approx(coherence["exact"]["mean"], abs=0.02)  # equal up to strength
    assert coherence["model"]["mean"] == pytest.approx(1)  # every band in phase
    assert set(metrics["distributions"]) >= {"FID", "KID", "FVD", "FVD32", "DTFVD", "DTFVD32"}
    for row in metrics["distributions"].values():
        assert "missing weights" in row["missing"] and row["value"] is None
        assert "gid_jax.weights" in row["missing"]
    assert exact["nearest"]["mean"] < 0.9 < exact["eulerian"]["mean"]  # which of the model's motion keeps the place
    assert exact["model_minus_nearest"]["n"] == 10 and "uncoordinated" not in exact
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and not re.search(r"(src|href)='https?:", page)
    assert "clip <" not in re.sub(r"base64,[^']*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "report.html"}


def test_a_blind_model_does_not(sources, config, tmp_path, cheap_lpips):
    metrics = run.evaluate(Blind(), *sources, config, tmp_path)
    summary = metrics["summary"]
    assert not summary["beats_mean_spectrum"] and not summary["beats_shuffled"]
    assert metrics["motion"]["stored"]["map_correlation"]["model_minus_shuffled"]["mean"] == 0


def test_real_videos_have_no_exact_motion(config, tmp_path, cheap_lpips):
    config.num_examples = 1
    train, test = Memory("train", [0], exact=False), Memory("test", [9], exact=False)
    metrics = run.evaluate(FromPicture(), train, test, config, tmp_path)
    assert set(metrics["motion"]) == {"stored"} and metrics["summary"]["truth"] == "stored"
    assert metrics["protocol"]["examples"] == 1 and metrics["protocol"]["examples_in_split"] == 2
    assert metrics["summary"]["beats_mean_spectrum"] is None  # one video: no interval
    assert "shuffled" not in metrics["motion"]["stored"]["map_correlation"]


def test_the_last_small_batch_changes_nothing(sources, config, tmp_path, cheap_lpips):
    config.scenes = 1
    results = []
    for size in (4, 5):
        config.batch_size = size
        results.append(run.evaluate(FromPicture(), *sources, config, tmp_path)["examples"])
    assert results[0] == results[1] and len(results[0]) == 10


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 64}, "64 x 32"),
        ({"num_frequencies": 6}, "5 frequencies"),
    ],
)
def test_what_does_not_fit_is_refused(sources, config, tmp_path, change, match):
    model = FromPicture()
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(UserError, match=match):
        run.evaluate(model, *sources, config, tmp_path)
    config.crop.width = 200
    with pytest.raises(UserError, match="crop 200"):
        run.check(FromPicture(), sources[1], config)
    config.crop.width, config.seed = 40, -1
    with pytest.raises(UserError, match=r"--config\.seed=-1 is no seed"):
        run.check(FromPicture(), sources[1], config)


def test_seeds_of_examples_stay_seeds(sources, config):
    """The last seed and an example's number after it."""
    config.seed, asked = LAST_SEED, []
    model = SimpleNamespace(predict=lambda images, seeds: asked.extend(seeds) or images)
    Sampled(model, config, 2)([SimpleNamespace(image=np.zeros(1), index=index) for index in (0, 1)])
    assert asked[:2] == [LAST_SEED, 0]


def test_spread_others_and_siblings():
    assert examples.spread(10, 3) == [0, 4, 9] and examples.spread(2, 100) == [0, 1]
    videos = ["a", "a", "b", "a", "c"]
    assert examples.others(videos) == [2, 2, 3, 4, 0]
    assert examples.others(["a", "a"]) == [1, 0] and examples.others(["a"]) == [None]
    assert examples.siblings(videos, [0, 30, 0, 10, 0]) == [1, 0, None, 1, None]


def test_description_of_a_known_swing():
    spectrum = np.zeros((3, 4, 5, 4), np.float32)
    spectrum[1, ..., 0] = 75.0  # 2 / 150 * 75 = 1 px amplitude: mean |cos| = 2 / pi
    described = motion.describe(spectrum)
    np.testing.assert_allclose(described.map, 2 / np.pi, rtol=1e-3)
    np.testing.assert_allclose(described.bands, [0, 75, 0], atol=1e-4)
    assert described.coherence == 0
    assert motion.describe(spectrum[:2]).coherence is None


def test_centre_crop():
    images = np.arange(6 * 8).reshape(1, 6, 8, 1)
    np.testing.assert_array_equal(rendering.centre_crop(images, (4, 2)), images[:, 2:4, 2:6])


@pytest.mark.parametrize("preset", ["paper", "demo", "test"])
def test_presets(preset):
    assert get_config(preset).is_locked and get_config(preset).preset == preset
