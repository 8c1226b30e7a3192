"""What each stage trains and against what; the stages' hand-over; every preset."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gid_jax.checkpoints.checkpoint import Checkpoints
from gid_jax.errors import UserError
from gid_jax.tasks import losses
from gid_jax.tasks.denoiser import full_params, partition
from gid_jax.tasks.vae import kl_divergence
from gid_jax.training import sharding
from gid_jax.training.records import write_config
from gid_jax.training.step import compile_for
from gid_jax.trees import path_name

STAGES = ("vae", "denoiser", "coordinated", "volume", "renderer")
ONE = {"data": 1, "fsdp": 1, "freq": 1}
EIGHT = {"data": 2, "fsdp": 2, "freq": 2}


def shapes_of(tree):
    return {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def steps(name, sizes, count=3):
    """Losses of the first steps, and the states before and after them, from weights without the zeros of a fresh start:
    behind those, no error of a gradient would show.
    """
    config = tiny.load_config(name)
    task = tiny.task_of(config)
    mesh = sharding.make_mesh(sizes, jax.devices()[: int(np.prod(list(sizes.values())))])
    open_batches = tiny.random_batches(task, config)
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        rng = np.random.default_rng(0)
        before = jax.tree.map(
            lambda leaf: (leaf + 0.03 * rng.standard_normal(leaf.shape)).astype(np.float32),
            jax.device_get(jax.jit(task.init)(jax.random.key(5))),
        )
        params, frozen = (
            sharding.place(x, s)
            for x, s in zip(before, (program.shardings.params, program.shardings.frozen), strict=True)
        )
        state = dataclasses.replace(program.init(frozen), params=params)
        before = jax.device_get(dataclasses.replace(state, opt_state=None))
        values = []
        batches = sharding_batches(open_batches("train", 0), task.kind, mesh)
        for _ in range(count):
            state, metrics = program.step(state, next(batches))
            values.append(float(metrics["loss"]))
    return values, before, state


def sharding_batches(batches, kind, mesh):
    from gid_jax.training.batches import to_global

    return (to_global(batch, kind, mesh) for batch in batches)


@pytest.fixture(scope="module")
def coordinated():
    return steps("coordinated", EIGHT)


def test_one_and_eight_devices_agree_on_volumes(coordinated):
    np.testing.assert_allclose(coordinated[0], steps("coordinated", ONE)[0], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "denoiser", "renderer"])
def test_one_and_eight_devices_agree(name):
    np.testing.assert_allclose(steps(name, EIGHT)[0], steps(name, ONE)[0], atol=1e-5, rtol=0)


def test_the_frozen_base_stays_and_has_no_gradient_average_or_optimiser_state(coordinated):
    _, before, state = coordinated
    new_layers = shapes_of(before.params)
    assert new_layers and all("frequency_attention" in path for path in new_layers)
    assert not any("frequency_attention" in path for path in shapes_of(before.frozen["base"]))
    adam = state.opt_state[1][0]
    assert shapes_of(adam.mu) == shapes_of(adam.nu) == shapes_of(state.ema) == new_layers
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.frozen), before.frozen)
    changed = jax.tree.map(lambda x, y: not np.array_equal(x, y), jax.device_get(state.params), before.params)
    assert all(jax.tree.leaves(changed))


def test_the_perceptual_loss_is_zero_for_the_truth_and_moves_the_renderer():
    config = tiny.load_config("renderer", **{"loss.perceptual": 1.0, "batch_size": 1})
    task = tiny.task_of(config)
    params, shapes = task.init(jax.random.key(0))
    frozen = task.inherit()
    assert shapes_of(frozen) == shapes_of(shapes)
    batch = tiny.random_batch("pairs", config)
    still = {**batch, "motion": np.zeros_like(batch["motion"]), "target": batch["image"]}  # untrained: the picture
    loss = jax.jit(jax.value_and_grad(lambda params, batch: task.loss(params, frozen, batch, None), has_aux=True))
    assert float(loss(params, still)[0][1]["perceptual"]) < 1e-3
    (total, terms), gradient = loss(params, batch)
    assert float(total) == pytest.approx(sum(float(terms[name]) for name in ("l1", "gradient", "perceptual")), rel=1e-5)
    assert float(terms["perceptual"]) > 0.1
    assert float(jnp.max(jnp.abs(gradient["conv_out"]["kernel"]))) > 0


def test_distance_of_features_by_hand():
    ours, theirs = [jnp.array([1.0, 3.0]), jnp.array([2.0])], [jnp.array([2.0, 2.0]), jnp.array([4.0])]
    assert float(losses.features(ours, theirs)) == pytest.approx(0.5 + 0.5, rel=1e-5)


def test_parts_of_a_denoiser_make_the_whole_again():
    config = tiny.load_config("coordinated")
    task = tiny.task_of(config)
    whole = jax.eval_shape(task.denoiser.init, jax.random.key(0))
    params, base = partition(whole, "frequency_attention")
    assert shapes_of(full_params(params, {"base": base})) == shapes_of(whole)
    stage_two = tiny.task_of(tiny.load_config("denoiser"))
    assert shapes_of(jax.eval_shape(stage_two.init, jax.random.key(0))[0]) == shapes_of(base)


@pytest.mark.parametrize("preset", ["test", "demo", "paper", "highres"])
@pytest.mark.parametrize("name", STAGES)
def test_every_preset_builds(name, preset):
    config = tiny.load_config(name, preset)
    assert config.preset == preset and config.is_locked
    json.dumps(config.to_dict())
    params, frozen = jax.eval_shape(tiny.task_of(config).init, jax.random.key(0))
    assert frozen["scales"].shape == (config.num_frequencies,)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_the_number_of_frequencies_is_set_once():
    config = tiny.load_config("denoiser", num_frequencies=3)
    assert config.model.unet.num_frequencies == 3


def test_an_unknown_preset_lists_the_presets():
    with pytest.raises(UserError, match="unknown preset 'big'; there are paper, highres, demo, test"):
        tiny.load_config("vae", "big")


def test_a_data_set_of_another_size_is_refused():
    config = tiny.load_config("vae")
    with config.unlocked():
        config.width = 128
    statistics = dataclasses.make_dataclass("Statistics", ["width", "height", "scales"])(64, 40, np.ones(25))
    from gid_jax.tasks import make_task

    with pytest.raises(UserError, match="the data set is 64 x 40, the configuration 128 x 40"):
        make_task(config, statistics)


def test_gradient_consistency_against_a_loop():
    x, y = np.random.default_rng(0).standard_normal((2, 2, 12, 9, 3))
    total, r = 0.0, x - y
    for _ in range(3):
        total += np.abs(np.diff(r, axis=1)).mean() + np.abs(np.diff(r, axis=2)).mean()
        h, w = r.shape[1] // 2, r.shape[2] // 2
        r = np.stack(
            [
                [[r[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((0, 1)) for j in range(w)] for i in range(h)]
                for b in range(2)
            ]
        )
    np.testing.assert_allclose(losses.multiscale_gradient(jnp.asarray(x), jnp.asarray(y)), total, rtol=1e-5)


def test_kl_divergence_is_that_of_gaussians():
    rng = np.random.default_rng(0)
    mean, log_variance = rng.standard_normal((2, 1, 2, 2, 4)).astype(np.float32)
    samples = mean + np.exp(log_variance / 2) * rng.standard_normal((200_000, 1, 2, 2, 4))
    density = -0.5 * ((samples - mean) ** 2 / np.exp(log_variance) + log_variance) + 0.5 * samples**2
    np.testing.assert_allclose(kl_divergence(mean, log_variance), density.mean(0).sum(), rtol=0.01)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(UserError, match=r"config\.prediction='score' does not exist; there are noise, velocity"):
        tiny.task_of(tiny.load_config("denoiser", prediction="score"))


@pytest.mark.parametrize("name", STAGES)
def test_an_unknown_normalization_is_refused(name):
    with pytest.raises(UserError, match=r"config\.normalization='log' does not exist; there are adaptive, size"):
        tiny.task_of(tiny.load_config(name, normalization="log"))


@pytest.mark.parametrize("kind", ["adaptive", "size"])
def test_the_vae_codes_what_the_configuration_calls_normalised(kind, monkeypatch):
    """A perfect autoencoder: its loss is the KL alone, and all energy comes back, in px."""
    task = tiny.task_of(tiny.load_config("vae", normalization=kind))
    batch = tiny.random_batch("slices", task.config)
    scales = task.scales[batch["frequency"]].reshape(-1, 1, 1, 1)
    by_size = batch["spectrum"] / np.asarray([64, 40, 64, 40], np.float32)
    adaptive = np.sign(batch["spectrum"]) * np.sqrt(np.abs(batch["spectrum"]) / scales)

    class Perfect:
        def encode(self, x):
            np.testing.assert_allclose(x, by_size if kind == "size" else adaptive, rtol=1e-5)
            return x, jnp.full_like(x, -80.0)

        def decode(self, x):
            return x

    monkeypatch.setattr(task.vae, "bind", lambda params: Perfect())
    metrics = task.evaluate({}, {"scales": task.scales}, batch, jax.random.key(0))
    np.testing.assert_allclose(metrics["energy_explained"], 1, atol=1e-5)
    np.testing.assert_allclose(metrics["l1"], 0, atol=1e-6)


def test_the_denoiser_codes_what_the_configuration_calls_normalised(monkeypatch):
    task = tiny.task_of(tiny.load_config("denoiser", normalization="size"))
    batch = tiny.random_batch("slices", task.config)
    seen = {}

    class Stub:
        def encode(self, x):
            seen["x"] = x
            return x, x

    monkeypatch.setattr(task.vae, "bind", lambda params: Stub())
    task._encode({"scales": task.scales, "vae": {}}, batch["spectrum"], batch["frequency"])
    np.testing.assert_allclose(seen["x"], batch["spectrum"] / np.asarray([64, 40, 64, 40]), rtol=1e-5)


def test_the_condition_is_dropped_for_all_slices_of_a_volume_together(monkeypatch):
    config = tiny.load_config("coordinated", condition_dropout=0.5, batch_size=6)
    task = tiny.task_of(config)
    seen = {}

    class Stub:
        def encode_image(self, image):
            return jnp.ones((len(image), 10, 16, 16))

        def log_variance(self, features, frequency):
            return jnp.zeros((*features.shape[:-1], 1))

        def __call__(self, latents, features, time, frequency, num_slices):
            seen.update(features=features, time=time, frequency=frequency, num_slices=num_slices)
            return jnp.zeros_like(latents)

    monkeypatch.setattr(task.denoiser, "bind", lambda params: Stub())
    monkeypatch.setattr(task, "_encode", lambda frozen, spectrum, frequency: jnp.zeros((len(spectrum), 10, 16, 4)))
    frozen = {"base": {}, "latent_mean": jnp.zeros(4), "latent_std": jnp.ones(4)}
    loss, _ = task.loss({}, frozen, tiny.random_batch("volumes", config), jax.random.key(3))
    shown = np.asarray(seen["features"]).mean((1, 2, 3)).reshape(6, 4)
    assert (shown == shown[:, :1]).all() and set(shown[:, 0]) == {0.0, 1.0}
    time = np.asarray(seen["time"]).reshape(6, 4)
    assert (time == time[:, :1]).all() and len(np.unique(time[:, 0])) > 1
    np.testing.assert_array_equal(np.asarray(seen["frequency"]).reshape(6, 4), np.tile(np.arange(4), (6, 1)))
    assert seen["num_slices"] == 4
    # Latents are zero, so the velocity is sqrt(abar) noise, all of which predicting zero misses.
    np.testing.assert_allclose(loss, task.schedule.alphas_cumprod[time].mean(), rtol=0.05)


def test_the_variance_is_learned_by_its_likelihood_and_only_so(monkeypatch):
    """The second term of stage 2's loss against torch; the error of the prediction does not move the head."""
    torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
    task = tiny.task_of(config := tiny.load_config("denoiser"))
    params, frozen = task.init(jax.random.key(0))
    latents = np.random.default_rng(0).normal(0, 2, (config.batch_size, 10, 16, 4)).astype(np.float32)
    monkeypatch.setattr(task, "_encode", lambda frozen, spectrum, frequency: jnp.asarray(latents))
    batch, key = tiny.random_batch("slices", config), jax.random.key(1)
    params["variance_head"]["bias"] = jnp.asarray([0.3, -1.0, 2.0, 0.0])
    params["variance_head"]["kernel"] = jnp.zeros_like(params["variance_head"]["kernel"])
    (total, metrics), gradient = jax.jit(jax.value_and_grad(task.loss, has_aux=True))(params, frozen, batch, key)
    variance = np.exp(np.array([0.3, -1.0, 2.0, 0.0])[batch["frequency"]]).reshape(-1, 1, 1, 1) * np.ones_like(latents)
    expected = torch.nn.functional.gaussian_nll_loss(
        torch.zeros(latents.shape), *map(torch.tensor, (latents, variance))
    )
    np.testing.assert_allclose(metrics["surprise"], float(expected), rtol=1e-5)
    np.testing.assert_allclose(total, metrics["loss"] + metrics["surprise"], rtol=1e-6)
    of_surprise = np.zeros(4)
    for k, values, v in zip(batch["frequency"], latents, variance, strict=True):
        of_surprise[k] += 0.5 * (1 - values**2 / v).mean() / len(latents)
    np.testing.assert_allclose(gradient["variance_head"]["bias"], of_surprise, rtol=1e-4, atol=1e-6)


def test_each_frequency_has_its_own_variance():
    denoiser = tiny.task_of(tiny.load_config("denoiser")).denoiser
    params = denoiser.init(jax.random.key(0))
    features = jax.random.normal(jax.random.key(1), (3, 10, 16, 16))
    found = denoiser.bind(params).log_variance(features, jnp.array([2, 0, 2]))
    kernel, bias = (np.asarray(params["variance_head"][name]) for name in ("kernel", "bias"))
    for i, k in enumerate((2, 0, 2)):
        np.testing.assert_allclose(found[i, ..., 0], features[i] @ kernel[0, 0, :, k] + bias[k], atol=1e-5)


@pytest.mark.parametrize("preset", ["paper", "highres"])
def test_large_presets_are_the_papers(preset):
    config = tiny.load_config("denoiser", preset)
    assert config.prediction == "noise" and not config.model.variance_head
    with pytest.raises(UserError, match=r"variance_head needs config\.prediction=\"velocity\""):
        tiny.task_of(tiny.load_config("denoiser", prediction="noise"))


def save_stage(workdir, name, params, frozen, **settings):
    """A checkpoint of a stage that was never trained."""
    config = tiny.load_config(name, **settings)
    state = tiny_state(params, frozen)
    checkpoints = Checkpoints(str(workdir), keep=1)
    checkpoints.save(state, 1)
    checkpoints.close()
    write_config(str(workdir), config)


def tiny_state(params, frozen):
    from gid_jax.checkpoints.state import TrainState

    return TrainState(jnp.int32(1), params, params, {}, frozen)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Workdirs of a VAE and a base with their arrays, numpy."""
    root = tmp_path_factory.mktemp("stages")
    rng = np.random.default_rng(0)

    def random(tree):
        return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), tree)

    vae = random(jax.eval_shape(tiny.task_of(tiny.load_config("vae")).init, jax.random.key(0))[0])
    base, frozen = jax.eval_shape(tiny.task_of(tiny.load_config("denoiser")).init, jax.random.key(0))
    base, frozen = random(base), {**random(frozen), "vae": vae}
    save_stage(root / "vae", "vae", vae, {"scales": frozen["scales"]})
    save_stage(root / "base", "denoiser", base, frozen)
    return root, vae, base, frozen


def test_stage_two_inherits_the_vae_and_its_scales(stages):
    root, vae, _, frozen = stages
    inherited = tiny.task_of(tiny.load_config("denoiser", vae=str(root / "vae"))).inherit()
    jax.tree.map(np.testing.assert_array_equal, inherited["vae"], vae)
    np.testing.assert_array_equal(inherited["scales"], frozen["scales"])


def test_stage_three_inherits_the_base_and_everything_with_it(stages):
    root, _, base, frozen = stages
    task = tiny.task_of(tiny.load_config("coordinated", base=str(root / "base"), vae=str(root / "vae")))
    jax.tree.map(np.testing.assert_array_equal, task.inherit(), {**frozen, "base": base})
    assert task.start_from(jax.eval_shape(task.init, jax.random.key(0))[0]) is None


def test_volume_prediction_needs_the_vae_and_learns_from_scratch(stages):
    root, vae, _, _ = stages
    config = tiny.load_config("volume", vae=str(root / "vae"))
    task = tiny.task_of(config)
    params, frozen = task.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, task.inherit()["vae"], vae)
    batch = tiny.random_batch("volumes", config)
    loss = jax.jit(lambda params, key: task.loss(params, frozen, batch, key)[0])
    assert np.isfinite(float(loss(params, jax.random.key(1))))


def test_an_unfrozen_stage_three_starts_as_the_base(stages):
    root, _, base, frozen = stages
    task = tiny.task_of(tiny.load_config("coordinated", base=str(root / "base"), freeze_base=False))
    params, empty = jax.eval_shape(task.init, jax.random.key(0))
    assert "base" not in empty and shapes_of(params) == shapes_of(jax.eval_shape(task.denoiser.init, jax.random.key(0)))
    jax.tree.map(np.testing.assert_array_equal, task.inherit(), frozen)
    new, old = partition(task.start_from(params), "frequency_attention")
    jax.tree.map(np.testing.assert_array_equal, old, base)
    assert all(leaf is None for leaf in jax.tree.leaves(new, is_leaf=lambda leaf: leaf is None))
    with pytest.raises(UserError, match=r"config\.pretrained is for stages 1, 2 and 4"):
        tiny.task_of(tiny.load_config("coordinated", pretrained="weights.safetensors")).start_from(params)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("denoiser", {}, r"config\.vae is empty"),
        ("denoiser", {"vae": "nowhere"}, "nowhere: no checkpoint of a vae stage"),
        ("denoiser", {"vae": "base"}, "holds stage 'denoiser', needed is 'vae'"),
        ("denoiser", {"vae": "vae", "num_frequencies": 5}, r"config\.num_frequencies is 5, but .* trained with 4"),
        ("coordinated", {"base": "base", "num_frequencies": 3}, r"config\.num_frequencies is 3, but .* trained with 4"),
        ("denoiser", {"vae": "vae", "normalization": "size"}, r"config\.normalization is size, but .* with adaptive"),
        ("denoiser", {"vae": "vae", "vae_model.base_channels": 64}, r"config\.vae_model\.base_channels is 64"),
        (
            "coordinated",
            {"base": "base", "model.unet.blocks_per_level": 2},
            r"config\.model\.unet\.blocks_per_level is 2",
        ),
        ("coordinated", {"base": "vae"}, "holds stage 'vae', needed is 'denoiser'"),
        (
            "coordinated",
            {"base": "base", "prediction": "noise", "model.variance_head": False},
            r"config\.prediction is noise",
        ),
    ],
)
def test_a_stage_that_does_not_fit_is_a_clear_error(stages, name, settings, message):
    for key in ("vae", "base"):
        if key in settings:
            settings = {**settings, key: str(stages[0] / settings[key])}
    with pytest.raises(UserError, match=message):
        tiny.task_of(tiny.load_config(name, **settings)).inherit()


def test_a_vae_of_more_frequencies_serves(stages):
    task = tiny.task_of(tiny.load_config("denoiser", vae=str(stages[0] / "vae"), num_frequencies=3))
    frozen, whole = task.inherit(), tiny.task_of(tiny.load_config("denoiser", vae=str(stages[0] / "vae"))).inherit()
    np.testing.assert_array_equal(frozen["scales"], whole["scales"][:3])
    jax.tree.map(np.testing.assert_array_equal, frozen["vae"], whole["vae"])


def test_whitening_makes_latents_of_mean_zero_and_variance_one(stages, monkeypatch):
    config = tiny.load_config("denoiser", vae=str(stages[0] / "vae"), whitening_batches=3)
    task = tiny.task_of(config)
    latents = [np.random.default_rng(i).normal(3, 2, (8, 10, 16, 4)).astype(np.float32) for i in range(4)]
    batches = iter([{"image": x, "spectrum": x, "frequency": np.zeros(8, np.int32)} for x in latents])
    monkeypatch.setattr(task, "_encode", lambda frozen, spectrum, frequency: spectrum)
    frozen = task.prepare({"scales": np.ones(4)}, batches)
    pooled = np.concatenate(latents[:3]).astype(np.float64)
    np.testing.assert_allclose(frozen["latent_mean"], pooled.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(frozen["latent_std"], pooled.std((0, 1, 2)), rtol=1e-4)
