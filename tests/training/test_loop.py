"""The loop: exact resume, order of its parts, what it writes, and when it stops."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file

from gid_jax.checkpoints.checkpoint import Checkpoints, newest_step
from gid_jax.errors import UserError
from gid_jax.training import compiled, loop, profiler, sharding
from gid_jax.training.loop import train
from gid_jax.training.stopping import StopSignal

ONE = {"data": 1, "fsdp": 1, "freq": 1}
EIGHT = {"data": 2, "fsdp": 2, "freq": 2}


def mesh_of(sizes):
    return sharding.make_mesh(sizes, jax.devices()[: int(np.prod(list(sizes.values())))])


def run(workdir, sizes=ONE, open_batches=None, **settings):
    task, config = tiny.toy(**settings)
    return train(task, config, str(workdir), open_batches or tiny.random_batches(task, config), mesh_of(sizes))


def lines(workdir, split):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["split"] == split]


def assert_same(first, second):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), first, second)


@pytest.mark.parametrize("sizes", [ONE, EIGHT], ids=["1 device", "8 devices"])
def test_resuming_equals_never_having_stopped(tmp_path, sizes):
    straight = run(tmp_path / "straight", sizes)
    run(tmp_path / "broken", sizes, num_steps=4)
    resumed = run(tmp_path / "broken", sizes)
    assert_same(straight, resumed)
    for split in ("train", "test"):
        first, second = (lines(tmp_path / name, split) for name in ("straight", "broken"))
        losses = [{record["step"]: record["loss"] for record in records} for records in (first, second)]
        assert losses[0].items() <= losses[1].items()


def test_a_run_goes_on_on_another_mesh(tmp_path):
    run(tmp_path, EIGHT, num_steps=4)
    state = run(tmp_path, ONE)
    assert state.params["kernel"].sharding.is_fully_replicated
    np.testing.assert_allclose(lines(tmp_path, "train")[-1]["loss"], _straight_loss(tmp_path / "one"), rtol=1e-5)


def _straight_loss(workdir):
    run(workdir, ONE)
    return lines(workdir, "train")[-1]["loss"]


def test_evaluates_then_saves_then_takes_the_next_batch(tmp_path, monkeypatch):
    events = []
    for owner, name in ((loop._Run, "evaluate"), (Checkpoints, "save")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda self, *a, _o=original, _n=name: (events.append(_n), _o(self, *a))[1])
    original_next = loop.Prefetch.__next__
    monkeypatch.setattr(loop.Prefetch, "__next__", lambda self: (events.append("next"), original_next(self))[1])
    run(tmp_path, num_steps=5, eval_every=2, checkpoint_every=4)
    expected = "next next evaluate next next evaluate save next evaluate save"
    assert " ".join(events) == expected


def test_metrics_are_written_for_every_step_once(tmp_path):
    run(tmp_path, num_steps=4)
    with (tmp_path / "metrics.jsonl").open("a") as file:  # what a run killed after step 4 leaves
        file.write('{"step": 5, "split": "train", "loss": 0}\n{"step": 6, "spl')
    run(tmp_path)
    assert [record["step"] for record in lines(tmp_path, "train")] == list(range(1, 11))
    assert all({"loss", "grad_norm"} <= record.keys() for record in lines(tmp_path, "train"))
    rates = {"steps_per_second", "examples_per_second", "data_wait", "memory_gib"}
    assert any(rates <= record.keys() for record in lines(tmp_path, "train"))
    assert not any("mfu" in record for record in lines(tmp_path, "train"))  # of this chip no peak is known
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_pictures_are_made_at_the_start_every_few_steps_and_at_the_end(tmp_path):
    run(tmp_path / "shown", num_steps=4, images_every=4)
    first = {path.name: path.read_bytes() for path in (tmp_path / "shown" / "images").iterdir()}
    state = run(tmp_path / "shown", images_every=4)
    found = {path.name: path.read_bytes() for path in (tmp_path / "shown" / "images").iterdir()}
    assert sorted(found) == [f"first-{step:07d}.png" for step in (0, 4, 8, 10)]
    assert first.items() <= found.items()
    steps = [event.step for event in tiny.events(tmp_path / "shown") for v in event.summary.value if v.tag == "first"]
    assert steps == [0, 4, 8, 10]  # a run that goes on does not make those of its first step again
    assert_same(state, run(tmp_path / "plain"))
    assert not (tmp_path / "plain" / "images").exists()


def test_microbatches_make_the_step_of_the_whole_batch(tmp_path, monkeypatch):
    def loss(self, params, frozen, batch, key):
        pictures = batch["image"].reshape(len(batch["image"]), -1)
        loss = jnp.mean(jnp.square(pictures @ params["kernel"] + params["bias"][None] - 1))
        return loss, {"loss": loss}

    monkeypatch.setattr(tiny.ToyTask, "loss", loss)
    whole = run(tmp_path / "whole", ONE, num_steps=4)
    for name, sizes in (("one", ONE), ("four", {"data": 2, "fsdp": 2, "freq": 1})):
        parts = run(tmp_path / name, sizes, num_steps=4, microbatches=2)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), parts.params, whole.params)
        losses = [[record["loss"] for record in lines(tmp_path / run, "train")] for run in ("whole", name)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_run_starts_from_pretrained_weights(tmp_path):
    bias = np.arange(8, dtype=np.float32)
    save_file({"bias": bias, "kernel": np.zeros((3, 8), np.float32)}, tmp_path / "weights.safetensors")
    settings = {"pretrained": str(tmp_path / "weights.safetensors"), "optimizer.learning_rate": 0.0}
    state, fresh = run(tmp_path / "run", EIGHT, **settings), run(tmp_path / "fresh", EIGHT)
    np.testing.assert_array_equal(state.params["bias"], bias)
    np.testing.assert_array_equal(state.ema["bias"], bias)
    assert state.params["kernel"].sharding == fresh.params["kernel"].sharding


def test_utilisation_is_told_where_the_chip_is_known(tmp_path, monkeypatch):
    task, config = tiny.toy()
    monkeypatch.setattr(compiled, "task_without_data", lambda config: task)
    chip = compiled.Chip(jax.devices()[0].device_kind, 1e9, 0, 0, 0)
    monkeypatch.setattr(loop, "CHIPS", {"this": chip})
    run(tmp_path, {"data": 2, "fsdp": 1, "freq": 1})
    record = next(record for record in lines(tmp_path, "train") if "mfu" in record)
    expected = record["steps_per_second"] * compiled.useful_flops(config) / (2 * 1e9)
    assert record["mfu"] == pytest.approx(expected, rel=1e-4)


def test_a_window_of_steps_is_traced(tmp_path):
    task, config = tiny.toy(num_steps=4)
    train(task, config, str(tmp_path), tiny.random_batches(task, config), mesh_of(ONE), profiler.parse("1:3"))
    assert list((tmp_path / "plugins" / "profile").rglob("*.xplane.pb"))
    for wrong in ("3", "5:4", "a:b"):
        with pytest.raises(UserError, match=f"--profile={wrong}"):
            profiler.parse(wrong)


def test_keeps_the_newest_checkpoints(tmp_path):
    run(tmp_path, checkpoint_every=2, keep_checkpoints=2)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [8, 10]


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    task, config = tiny.toy()
    good = tiny.random_batches(task, config)

    def poisoned(split, start_step):
        for step, batch in enumerate(good(split, start_step), start_step):
            if split == "train" and step == 7:  # makes the loss of step 8, at which a checkpoint is due
                batch["image"][0, 0, 0, 0] = np.nan
            yield batch

    with pytest.raises(UserError, match=r"loss nan.* at step 8; the last good checkpoint is step 4"):
        train(task, config, str(tmp_path), poisoned, mesh_of(ONE))
    assert newest_step(str(tmp_path)) == 4
    resumed = run(tmp_path)
    assert_same(resumed, run(tmp_path / "straight"))


@pytest.mark.parametrize("damage", ["truncated", "file gone", "metadata"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(tmp_path, capsys, damage):
    run(tmp_path, num_steps=8)
    newest = tmp_path / "checkpoints" / "8" / "training"
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    if damage == "truncated":
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    elif damage == "file gone":
        largest.unlink()
    else:
        (newest / "_METADATA").write_text("{")
    resumed = run(tmp_path)
    assert_same(resumed, run(tmp_path / "straight"))
    assert f"{tmp_path / 'checkpoints' / '8'}: damaged (" in capsys.readouterr().err
    assert (tmp_path / "damaged" / "8" / "training").is_dir()


def test_no_checkpoint_that_can_be_read_is_an_error_not_a_fresh_start(tmp_path):
    run(tmp_path, num_steps=4)
    for path in (tmp_path / "checkpoints" / "4").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint can be read"):
        run(tmp_path)
    with pytest.raises(UserError, match="step 4 was saved here and is gone"):
        newest_step(str(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_exactly(tmp_path, number):
    task, config = tiny.toy(checkpoint_every=100)
    good = tiny.random_batches(task, config)

    def interrupted(split, start_step):
        for step, batch in enumerate(good(split, start_step), start_step):
            if split == "train" and step == 5:
                os.kill(os.getpid(), number)
            yield batch

    before, stop = signal.getsignal(number), StopSignal()
    state = train(task, config, str(tmp_path), interrupted, mesh_of(ONE), stop=stop)
    stopped = int(state.step)
    assert 0 < stopped < 10 and newest_step(str(tmp_path)) == stopped
    assert signal.getsignal(number) == before and stop.received == number
    assert_same(run(tmp_path, checkpoint_every=100), run(tmp_path / "straight"))
