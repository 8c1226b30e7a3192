"""The table of distances: every row's clips are what they are said to be, and are made once."""

import dataclasses
import json
import re

import numpy as np
import pytest
import stand_in_networks
from test_evaluation import FromPicture, H, K, Memory, W, scene

from configs.eval import get_config
from gid_jax.data.clip_codec import encode_clip
from gid_jax.errors import UserError
from gid_jax.evaluation import baselines, rendering, report, run
from gid_jax.evaluation.comparison import Other
from gid_jax.evaluation.movements import Flow, Waves
from gid_jax.evaluation.showcase import ClipShown
from gid_jax.evaluation.subjects import Subjects
from gid_jax.metrics import distances, i3d, inception
from gid_jax.motion.spectrum import PERIOD, at_times, from_rest, to_trajectories

T = 40  # frames of the clips that are kept


class WithClips(Memory):
    """One start frame of each video, and its clip, which moves half as far as `FromPicture` thinks."""

    statistics = dataclasses.replace(Memory.statistics, num_frames=T)

    def __init__(self, split, numbers):
        super().__init__(split, numbers)
        self.examples = self.examples[::2]
        for number, example in zip(numbers, self.examples, strict=True):
            example["reference_clip"] = encode_clip(clip(number))


def clip(number):
    image, _ = scene(number)
    return np.stack([np.roll(image, round(2 * np.sin(t / 4)), 1) for t in range(T)])


class Swaying(FromPicture):
    """Renders by rolling whole pictures as far as what moves most moves."""

    def render(self, image, motions, weight):
        y, x = np.unravel_index(np.argmax(weight), weight.shape)
        rolls = np.round(motions[:, y, x]).astype(int)
        return np.stack([np.roll(image, (dy, dx), (0, 1)) for dx, dy in rolls])


class Counting(Swaying):
    """Counts what it is asked for."""

    def __init__(self):
        self.predicted, self.rendered = [], 0

    def predict(self, images, seeds):
        self.predicted += seeds
        return super().predict(images, seeds)

    def render(self, image, motions, weight):
        self.rendered += len(motions)
        return super().render(image, motions, weight)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """Small ones, and cheap perceptual features."""
    (tmp_path / "cache").mkdir()
    stand_in_networks.install(tmp_path / "cache", monkeypatch)
    monkeypatch.setattr(rendering, "lpips", lambda x, y: np.abs(x - y).mean((1, 2, 3)))
    monkeypatch.setattr(baselines.lpips, "unit_features", lambda x: x.reshape(len(x), -1))


@pytest.fixture
def config():
    config = get_config("test")
    config.num_examples, config.scenes, config.crop.width, config.crop.height = 5, 1, 40, 24
    return config


TEST = range(100, 105)


def evaluated(model, train, test, config, out, **more):
    report.prepare(out)
    return run.evaluate(model, train, test, config, out, **more)


@pytest.fixture
def sources():
    return Memory("train", range(4)), WithClips("test", TEST)


def crop(frames):
    return frames[..., 4:28, 4:44, :]


def features(clips):
    return {
        "FID": [inception.features(crop(frames[::15])) for frames in clips],
        "FVD": [i3d.logits([crop(frames[:16])]) for frames in clips],
        "FVD32": [i3d.logits([crop(frames[:32])]) for frames in clips],
    }


def test_every_row_is_the_distance_of_its_own_clips(networks, sources, config, tmp_path):
    model = Swaying()
    metrics = evaluated(model, *sources, config, tmp_path / "out", independent=model)
    found = metrics["distributions"]
    pictures = [scene(number)[0] for number in TEST]
    spectra = model.predict(np.stack(pictures) / 255, [])
    clips = {
        "real": [clip(number) for number in TEST],
        "model": [Waves(model, s).frames(p / 255, np.arange(T)) for s, p in zip(spectra, pictures, strict=True)],
        "eulerian": [
            Flow(baselines.velocity(s), K).frames((p / 255).astype(np.float32), np.arange(T))
            for s, p in zip(spectra, pictures, strict=True)
        ],
        "repeat_i0": [np.stack([picture] * T) for picture in pictures],
    }
    expected = {name: features(of) for name, of in clips.items()}
    for figure in ("FID", "FVD", "FVD32"):
        rows, real = found[figure]["rows"], expected["real"][figure]
        assert list(rows) == ["real", "model", "uncoordinated", "nearest", "mean_spectrum", "eulerian", "repeat_i0"]
        for name in ("model", "eulerian", "repeat_i0"):
            value = distances.fid(np.concatenate(real), np.concatenate(expected[name][figure]))
            assert rows[name]["value"] == pytest.approx(value, rel=1e-4), (figure, name)
            assert rows[name]["low"] < rows[name]["value"] < rows[name]["high"]
        assert rows["real"]["value"] == pytest.approx(distances.of_halves(real), rel=1e-4)
        assert rows["uncoordinated"] == rows["model"] and found[figure]["value"] == rows["model"]["value"]
        assert rows["nearest"]["value"] != pytest.approx(rows["model"]["value"], rel=1e-3)
    assert found["KID"]["rows"]["repeat_i0"]["value"] == pytest.approx(
        distances.kid(*(np.concatenate(expected[name]["FID"]) for name in ("real", "repeat_i0"))), rel=1e-3
    )
    curve = found["sliding FID"]
    assert curve["starts"] == [0] and curve["frames"] == 30
    first = [np.concatenate([part[:2] for part in expected[name]["FID"]]) for name in ("real", "model")]
    assert curve["rows"]["model"] == pytest.approx([distances.fid(*first)], rel=1e-4)
    assert found["sliding FVD"]["rows"]["model"] == pytest.approx([found["FVD"]["value"]], rel=1e-6)
    assert "i3d-dtdb16" in found["DTFVD"]["missing"] and metrics["protocol"]["examples_with_reference_clip"] == 5
    assert metrics["protocol"]["distances"]["starts"] == {
        "fid-inception": [0, 15, 30],
        "i3d-kinetics400, 16": [0],
        "i3d-kinetics400, 32": [0],
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<video") == 4 and not re.search(r"(src|href)=.https?:", page)
    assert page.index("The table") < page.index("Where things move")


def test_what_was_made_is_not_made_again(networks, sources, config, tmp_path):
    config.num_examples, runs = 2, []
    for identity, seed in (("a", 0), ("a", 0), ("b", 0), ("b", 7)):
        config.seed = seed
        model = Counting()
        metrics = evaluated(model, *sources, config, tmp_path / "out", identity=identity)
        runs.append((metrics, len(model.predicted), model.rendered))
    (first, predicted, rendered), (second, again, anew), (_, *other), (_, reseeded, _) = runs
    assert first == second == json.loads(json.dumps(runs[0][0]))
    assert again == 2 and anew == 2 * PERIOD < rendered  # the pictures of the report alone
    assert other == [predicted, rendered] and reseeded == predicted


def test_samples_of_a_picture_have_seeds_of_their_own(networks, sources, config, tmp_path):
    config.samples, config.num_examples = 2, 3
    model = Counting()
    metrics = evaluated(model, *sources, config, tmp_path / "out")
    assert len(set(model.predicted)) == 6
    row = metrics["distributions"]["FVD"]["rows"]
    assert row["model"]["n"] == {"real": 3, "fake": 6} and row["nearest"]["n"] == {"real": 3, "fake": 3}
    assert len(metrics["distributions"]["sliding FVD"]["rows"]["model"]) == 1


def test_sets_without_clips_say_what_is_missing(networks, sources, config, tmp_path):
    config.num_examples = 2
    metrics = evaluated(FromPicture(), sources[0], Memory("test", [9]), config, tmp_path / "out")
    found = metrics["distributions"]
    assert found["FVD"]["value"] is None and "--config.reference_clips" in found["FVD"]["missing"]
    assert "i3d-dtdb" in found["DTFVD"]["missing"]


def test_subjects_count_once_and_sources_stand_apart(networks, sources, config, tmp_path):
    config.subjects = ("clip <10[0-2]>=garden/rose", "clip <10[34]>=studio")
    metrics = evaluated(FromPicture(), *sources, config, tmp_path / "out")
    each = [row["motion"]["exact"]["shuffled"]["map_correlation"] for row in metrics["examples"]]
    found = metrics["motion"]["exact"]["map_correlation"]["shuffled"]
    assert found["mean"] == pytest.approx(np.mean([np.mean(each[:3]), each[3], each[4]]))
    assert found["n"] == 5 and found["groups"] == 3
    assert [row["subject"] for row in metrics["examples"][:4]] == ["garden/rose"] * 3 + ["studio/clip <103>"]
    assert set(metrics["sources"]) == {"garden", "studio"}
    garden = metrics["sources"]["garden"]
    assert garden["motion"]["exact"]["map_correlation"]["model"]["groups"] == 1
    assert garden["distributions"]["FVD"]["rows"]["model"]["n"] == {"real": 3, "fake": 3}
    assert "garden, 1 subject" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["rose"], "'rose' is not GLOB=SOURCE/SUBJECT"),
        (["=a/b"], "is not GLOB"),
        (["rose=a/"], "is not GLOB"),
        (["tulip*=a", "*=b"], "'tulip*' fits no video"),
        (["rose_1=a"], "no glob fits rose_2"),
    ],
)
def test_subjects_that_fit_nothing_are_refused(texts, said):
    with pytest.raises(UserError, match=r"--config\.subjects") as error:
        Subjects.parse(texts).check(["rose_1", "rose_2"])
    assert said in str(error.value)


def test_the_first_glob_counts_and_one_text_is_a_list():
    subjects = Subjects.parse(["a*=here/one", "*=there"])
    assert subjects.of("ab") == ("here", "here/one") and subjects.of("b") == ("there", "there/b")
    assert Subjects.parse("a=b=here/one").of("a=b") == ("here", "here/one")
    assert Subjects().of("x") == ("", "x")


def test_two_runs_beside_each_other(networks, sources, config, tmp_path):
    class Halved(Swaying):
        def predict(self, images, seeds):
            return super().predict(images, seeds) / 2

    config.num_examples = 3
    theirs = evaluated(Halved(), *sources, config, tmp_path / "a")
    config.num_examples = 5
    other = Other.read(tmp_path / "a" / "metrics.json", run.FORMAT)
    metrics = evaluated(Swaying(), *sources, config, tmp_path / "b", other=other)
    found = metrics["comparison"]
    assert found["examples"] == 3 and found["with"].endswith("a/metrics.json")
    key = "amplitude_error_db"
    by_place = {row["index"]: row["motion"]["exact"]["model"][key] for row in metrics["examples"]}
    pairs = [(by_place[row["index"]], row["motion"]["exact"]["model"][key]) for row in theirs["examples"]]
    assert found["figures"][key]["difference"]["mean"] == pytest.approx(np.mean([a - b for a, b in pairs]))
    assert found["figures"]["psnr"]["difference"]["mean"] == 0
    distance = found["distances"]["FVD"]
    assert distance["other"] == theirs["distributions"]["FVD"]["value"] != distance["this"]
    assert "Beside" in (tmp_path / "b" / "report.html").read_text()

    elsewhere = dataclasses.replace(other, metrics=other.metrics | {"examples": []})
    with pytest.raises(UserError, match="no example in common"):
        elsewhere.compare(metrics, Subjects())


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format": 2}', '{"format": 2, "examples": [1]}'])
def test_what_is_no_evaluation_is_not_compared_with(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match=r"--compare=.*m\.json: no metrics\.json of gid_jax\.eval") as error:
        Other.read(tmp_path / "m.json", run.FORMAT)
    assert "\n" not in str(error.value)


def test_an_older_evaluation_is_to_be_made_again(tmp_path):
    (tmp_path / "m.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match="of format 1, this program writes 2"):
        Other.read(tmp_path / "m.json", run.FORMAT)
    with pytest.raises(UserError, match="No such file"):
        Other.read(tmp_path / "absent.json", run.FORMAT)


def test_the_page_holds_as_many_clips_as_it_may():
    clips = [ClipShown(f"clip <{i}>", bytes(3000)) for i in range(4)]
    page = report._clips(clips, 9000)
    assert page.count("<video") == 2 and "clip &lt;1&gt;" in page
    assert report._clips(clips, 100) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("windows.stride", 0),
        ("windows.frame_step", 0),
        ("windows.fvd", 8),
        ("windows.sliding_fid", 3),
        ("samples", 0),
        ("subjects", ("x",)),
    ],
)
def test_protocols_that_cannot_be_are_refused(sources, config, tmp_path, name, value):
    config.update_from_flattened_dict({name: value})
    with pytest.raises(UserError, match=rf"--config\.{name}"):
        run.evaluate(FromPicture(), *sources, config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_named(sources, config, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GID_JAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="GID_JAX_CACHE="):
        evaluated(FromPicture(), *sources, config, tmp_path / "out", identity="a")


def test_velocity_is_the_derivative_at_the_start():
    spectrum = np.random.default_rng(0).normal(size=(4, 3, 5, 4)).astype(np.float32) * 100
    before, after = np.asarray(at_times(spectrum, np.array([-0.01, 0.01], np.float32)), np.float64)
    np.testing.assert_allclose(baselines.velocity(spectrum), (after - before) / 0.02, rtol=1e-2, atol=2e-3)


def test_a_uniform_flow_carries_all_alike_both_ways():
    forward, backward = map(np.asarray, baselines.carried(np.full((6, 8, 2), (0.25, -0.5), np.float32)))
    steps = np.arange(PERIOD)[:, None] * np.array([0.25, -0.5])
    np.testing.assert_allclose(forward, np.broadcast_to(steps[:, None, None], forward.shape), rtol=1e-5)
    np.testing.assert_allclose(backward, forward - PERIOD * np.array([0.25, -0.5]), rtol=1e-4, atol=1e-4)


def test_flow_bends_where_the_field_turns():
    """Along a vortex pixels keep their distance from its centre, as far as Euler steps go."""
    y, x = np.mgrid[:33, :33].astype(np.float32) - 16
    forward, _ = baselines.carried(np.stack([-y, x], -1) * 0.01)
    moved = np.asarray(forward)[100, 16, 24] + (8, 0)
    assert np.linalg.norm(moved) == pytest.approx(8, rel=0.05)
    assert np.arctan2(*moved[::-1]) == pytest.approx(1, rel=0.02)


def test_symmetric_splatting_begins_with_the_picture_and_fills_holes_from_the_other_side():
    image = np.random.default_rng(0).random((8, 10, 3), np.float32)
    still, right, left = (np.full((8, 10, 2), (dx, 0), np.float32) for dx in (0, 4, -6))
    weight = np.ones((8, 10), np.float32)
    begin = baselines.splatted_symmetrically(image, still, left, weight, np.float32(0))
    np.testing.assert_allclose(begin, image, atol=1e-6)
    middle = np.asarray(baselines.splatted_symmetrically(image, right, left, weight, np.float32(0.4)))
    np.testing.assert_allclose(middle[:, 4:], image[:, :6], atol=1e-6)
    np.testing.assert_allclose(middle[:, :4], image[:, 6:], atol=1e-6)


def test_the_mean_sways_in_step_with_the_amplitudes_of_the_training_set():
    bands = np.array([80.0, 40, 20, 10])
    mean_map = np.random.default_rng(0).random((H, W))
    spectrum = baselines.swaying(mean_map, bands, seed=3)
    described = Waves(FromPicture(), spectrum).describe()
    np.testing.assert_allclose(described.bands, bands, rtol=1e-5)
    assert np.corrcoef(described.map.ravel(), mean_map.ravel())[0, 1] == pytest.approx(1)
    assert not np.allclose(spectrum, baselines.swaying(mean_map, bands, seed=4))


def test_the_nearest_picture_is_the_one_most_like_it(monkeypatch):
    monkeypatch.setattr(baselines, "BATCH", 3)
    train = Memory("train", range(3))
    wanted = [np.clip(scene(n)[0].astype(int) + 3, 0, 255).astype(np.uint8) for n in (2, 0, 1)]
    assert [i // 2 for i in baselines.nearest(train, range(len(train)), iter(wanted))] == [2, 0, 1]
    assert [i // 2 for i in baselines.nearest(train, [0, 4], iter(wanted))][:2] == [2, 0]


def test_frames_of_a_spectrum_begin_at_rest_and_at_whatever_times():
    asked = []

    class Watched(FromPicture):
        def render(self, image, motions, weight):
            asked.append((motions, weight))
            return super().render(image, motions, weight)

    image, spectrum = scene(1)
    Waves(Watched(), spectrum).frames(image / 255, np.array([0, 7, 120]))
    motions, weight = asked[0]
    whole = np.asarray(to_trajectories(from_rest(spectrum), PERIOD))
    np.testing.assert_allclose(motions, whole[[0, 7, 120]], atol=1e-4)
    np.testing.assert_allclose(motions[0], 0, atol=1e-4)
    np.testing.assert_allclose(weight, np.linalg.norm(whole, axis=-1).mean(axis=0), rtol=1e-4, atol=1e-5)
