"""Latents kept for a data set: the same training, and files that survive interruptions."""

import json
import pickle

import jax
import numpy as np
import pytest
import tiny

from gid_jax.data import latents
from gid_jax.data.loader import make_loader
from gid_jax.data.source import open_source
from gid_jax.errors import UserError
from gid_jax.tasks.denoiser import DenoiserTask
from gid_jax.training import run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_dataset(tmp_path_factory.mktemp("data"))


class Encode:
    """Means of 4 x 4 blocks; counts its calls."""

    calls = 0

    def __call__(self, spectrum):
        self.calls += 1
        k, h, w, c = spectrum.shape
        return spectrum.reshape(k, h // 4, 4, w // 4, 4, c).mean(axis=(2, 4))


def test_batches_have_the_latents_of_what_they_would_have_held(data, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "PER_FILE", 5)
    source = open_source(data, "train")
    cached = latents.with_latents(source, str(tmp_path), Encode(), {"w": np.ones(2)}, 3)
    cached = pickle.loads(pickle.dumps(cached))  # as loader processes get it
    for kind in ("slices", "volumes"):
        settings = dict(kind=kind, batch_size=4, num_frequencies=3, seed=1, train=True, augment=False, start_step=2)
        ours_of, plain_of = make_loader(cached, **settings), make_loader(source, **settings)
        for _ in range(3):
            plain, ours = next(plain_of), next(ours_of)
            spectrum = plain.pop("spectrum")
            expected = Encode()(spectrum.reshape(-1, *spectrum.shape[-3:]))
            found = ours.pop("latents")
            assert found.shape == (*spectrum.shape[:-3], tiny.HEIGHT // 4, tiny.WIDTH // 4, 4)
            np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-6)
            assert plain.keys() == ours.keys()
            for name in plain:
                np.testing.assert_array_equal(plain[name], ours[name])


def test_only_what_is_missing_is_computed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "PER_FILE", 5)
    source, encode, encoder = open_source(data, "train"), Encode(), {"w": np.ones(2), "settings": "adaptive"}

    def build(encoder):
        before = encode.calls
        latents.with_latents(source, str(tmp_path), encode, encoder, 3)
        return encode.calls - before

    assert build(encoder) == 12 and build(encoder) == 0
    files = sorted(tmp_path.glob("train-*/*"))
    assert [path.name for path in files] == ["00000.npy", "00001.npy", "00002.npy"]
    files[1].rename(files[1].with_name(".00001.npy.17.tmp"))  # what a killed process leaves
    assert build(encoder) == 5
    assert build({**encoder, "w": np.zeros(2)}) == 12 and build({**encoder, "settings": "size"}) == 12


def test_a_folder_that_cannot_be_written_is_named(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"config\.cache_latents=.*/file: cannot be written \(Not a directory\)"):
        latents.with_latents(open_source(data, "test"), str(tmp_path / "file"), Encode(), {}, 3)


def test_augmentation_and_latents_exclude_each_other(tmp_path):
    config = tiny.load_config("denoiser", augment=True, cache_latents="somewhere")
    with pytest.raises(UserError, match=r"config\.cache_latents=somewhere needs --config\.augment=False"):
        run.run(config, str(tmp_path / "run"))


@pytest.mark.parametrize("name", ["denoiser", "coordinated"])
def test_the_task_takes_latents_for_what_it_would_have_coded(name):
    config = tiny.load_config(name)
    task = tiny.task_of(config)
    frozen = jax.jit(lambda key: task.init(key)[1])(jax.random.key(0))
    batch = tiny.random_batch(task.kind, config)
    latents_of_all = jax.jit(jax.vmap(task.encode, in_axes=(None, 0)))
    if task.kind == "volumes":
        cached = latents_of_all(frozen, batch["spectrum"])
    else:  # a slice among others at its frequency
        volumes = np.repeat(batch["spectrum"][:, None], config.num_frequencies, axis=1)
        cached = np.asarray(latents_of_all(frozen, volumes))[np.arange(len(volumes)), batch["frequency"]]
    rest = {key: value for key, value in batch.items() if key != "spectrum"}
    expected, found = (jax.jit(task._latents)(frozen, b) for b in (batch, {**rest, "latents": cached}))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["denoiser", "coordinated"])
def test_a_run_from_latents_has_the_losses_of_one_from_spectra(name, data, tmp_path, monkeypatch):
    def inherit(self):
        return jax.device_get(jax.jit(self.init)(jax.random.key(9))[1])

    monkeypatch.setattr(DenoiserTask, "inherit", inherit)
    monkeypatch.setattr("gid_jax.tasks.denoiser.CoordinatedTask.inherit", inherit)
    settings = {"num_steps": 2, "log_every": 1, "eval_every": 2, "batch_size": 8, "images_every": 2}
    losses = {}
    for place in ("", str(tmp_path / "latents")):
        workdir = tmp_path / f"run{len(losses)}"
        config = tiny.load_config(name, data_dir=str(data), cache_latents=place, **settings)
        assert run.run(config, str(workdir))
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        losses[place] = [value for record in records for key, value in record.items() if key.startswith("loss")]
    spectra, cached = losses.values()
    assert len(spectra) == 4
    np.testing.assert_allclose(cached, spectra, atol=1e-5)
    assert len(list((tmp_path / "latents").glob("*/*.npy"))) == 2
