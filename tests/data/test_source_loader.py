"""Source and loader on a small TFDS set written here: what is read, in which order, on how many processes."""

import contextlib
import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny

from gid_jax.data import codec, loader, statistics
from gid_jax.data.source import open_source
from gid_jax.errors import UserError

H, W, K, R = 12, 20, 5, 4
COUNTS = {"train": 11, "test": 3}


def make_example(number):
    """Every pixel of the spectrum of frequency k is 100 * number + k: batches show what they were made of."""
    rng = np.random.default_rng(number)
    spectrum = np.zeros((K, H, W, 4), np.float32) + 100 * number + np.arange(K)[:, None, None, None]
    flows = np.zeros((R, H, W, 2), np.float32) + 10 * number + np.arange(R)[:, None, None, None]
    return codec.encode_example(
        image=rng.integers(0, 256, (H, W, 3), np.uint8),
        spectrum=spectrum,
        motion_weight=np.full((H, W), number),
        target_frames=rng.integers(0, 256, (R, H, W, 3), np.uint8),
        target_flows=flows,
        target_times=range(1, R + 1),
        video_id=f"clip_{number}",
        start=10 * number,
        fps=30.0,
        scale=0.5,
        flow_error=np.zeros(2, np.float32),
    )


def write_dataset(root, config="demo"):
    directory = root / "gid_motion" / config / "1.0.0"
    examples = {split: [make_example(i) for i in range(count)] for split, count in COUNTS.items()}
    tiny.write_tfds(directory, W, H, examples)
    scales = np.arange(1, K + 1, dtype=np.float32)
    statistics.DatasetStatistics(scales, scales, COUNTS["train"], W, H, 30.0, 150).save(
        directory / statistics.FILE_NAME
    )
    return directory


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root)
    return root


@pytest.fixture(scope="module")
def source(data_dir):
    return open_source(data_dir, "train")


def batches(source, count, **options):
    defaults = {"kind": "slices", "batch_size": 4, "num_frequencies": K, "seed": 0, "train": True, "augment": False}
    iterator = loader.make_loader(source, **(defaults | options))
    return [next(iterator) for _ in range(count)]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def numbers(batch):
    """Which example each element of a slices batch came from."""
    return np.round((batch["spectrum"][:, 0, 0, 0] - batch["frequency"]) / 100).astype(int)


def test_source(data_dir, source):
    assert (len(source), source.name) == (COUNTS["train"], "demo")
    assert source.statistics.width == W and len(source.statistics.scales) == K
    stored = [bytes(source[i]["video_id"]).decode() for i in range(len(source))]
    assert sorted(stored) == sorted(f"clip_{i}" for i in range(COUNTS["train"]))
    assert set(source[0]) <= set(codec.EXAMPLE)
    again = pickle.loads(pickle.dumps(source))
    assert [bytes(again[i]["video_id"]).decode() for i in range(len(again))] == stored
    version = data_dir / "gid_motion" / "demo" / "1.0.0"
    for place in (version, data_dir / "gid_motion", str(data_dir)):
        assert len(open_source(place, "test")) == COUNTS["test"]


@pytest.mark.parametrize("missing", ["dataset_info.json", statistics.FILE_NAME, "shard"])
def test_half_written_sets_are_refused(data_dir, tmp_path, missing):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    version = tmp_path / "gid_motion" / "demo" / "1.0.0"
    (next(version.glob("*train*array_record*")) if missing == "shard" else version / missing).unlink()
    with pytest.raises(UserError, match="build") as error:
        open_source(tmp_path, "train")
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_absent_ambiguous_and_empty_sets_are_refused(data_dir, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_source(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"data_pipeline\.build"):
        open_source(tmp_path, "train")
    with pytest.raises(UserError, match="validation"):
        open_source(data_dir, "validation")
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "gid_motion" / "demo", tmp_path / "gid_motion" / "other")
    with pytest.raises(UserError, match="several"):
        open_source(tmp_path, "train")


def test_shapes_types_and_values(source):
    (slices,) = batches(source, 1)
    assert {name: (v.shape, v.dtype.name) for name, v in slices.items()} == {
        "image": ((4, H, W, 3), "float32"),
        "spectrum": ((4, H, W, 4), "float32"),
        "frequency": ((4,), "int32"),
    }
    (volumes,) = batches(source, 1, kind="volumes", num_frequencies=3)
    assert volumes["spectrum"].shape == (4, 3, H, W, 4) and volumes["spectrum"].dtype == np.float32
    np.testing.assert_allclose(np.diff(volumes["spectrum"][:, :, 0, 0, 0]), 1, atol=0.5)
    (pairs,) = batches(source, 1, kind="pairs")
    assert {name: v.shape for name, v in pairs.items()} == {
        "image": (4, H, W, 3),
        "target": (4, H, W, 3),
        "motion": (4, H, W, 2),
        "weight": (4, H, W),
    }
    assert all(v.dtype == np.float32 for v in pairs.values())
    for element in range(4):  # picture, target, motion and weight of one example
        number = int(pairs["weight"][element, 0, 0])
        stored = make_example(number)
        chosen = round(float(pairs["motion"][element, 0, 0, 0])) - 10 * number
        image, target = (codec.decode_image(stream) for stream in (stored["image"], stored["target_frames"][chosen]))
        np.testing.assert_allclose(pairs["image"][element] * 255, image, atol=1e-3)
        np.testing.assert_allclose(pairs["target"][element] * 255, target, atol=1e-3)


def test_batch_is_a_function_of_seed_and_step(source):
    run = batches(source, 9, augment=True)
    for step in (1, 5, 8):
        assert_equal(run[step], batches(source, 1, augment=True, start_step=step)[0])
    for seed in (1, 2**32, 2**63 - 1):
        other = batches(source, 1, augment=True, seed=seed)[0]
        assert not np.array_equal(run[0]["image"], other["image"]), seed


@pytest.mark.parametrize("kind", ["slices", "volumes", "pairs"])
def test_processes_share_the_same_global_batch(source, kind):
    (whole,) = batches(source, 1, kind=kind, augment=True, start_step=3)
    parts = [
        batches(source, 1, kind=kind, augment=True, start_step=3, process_index=p, process_count=2)[0] for p in (0, 1)
    ]
    assert_equal(whole, {name: np.concatenate([part[name] for part in parts]) for name in whole})


def test_worker_processes_give_the_same_batches(source):
    assert_equal(
        batches(source, 3, augment=True, start_step=2)[-1],
        batches(source, 3, augment=True, start_step=2, num_workers=2)[-1],
    )


def test_an_epoch_holds_every_example_once_and_the_next_is_shuffled_anew(source):
    seen = [int(numbers(batch)[0]) for batch in batches(source, 22, batch_size=1)]
    first, second = seen[:11], seen[11:]
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second and first != sorted(first)


def test_frequencies_are_drawn_evenly(source):
    drawn = np.concatenate([batch["frequency"] for batch in batches(source, 25, num_frequencies=4, batch_size=8)])
    counts = np.bincount(drawn, minlength=4)
    assert len(counts) == 4 and counts.min() > 30  # 50 expected, standard deviation 6


def test_augmentation_changes_the_picture_and_differs_between_epochs(source):
    plain, changed = batches(source, 1)[0], batches(source, 1, augment=True)[0]
    assert np.abs(plain["image"] - changed["image"]).mean() > 0.01
    epochs = batches(source, 22, batch_size=1, augment=True)
    same = [batch["image"] for batch in epochs if abs(batch["spectrum"]).max() < 50]
    assert len(same) == 2 and np.abs(same[0] - same[1]).mean() > 0.01


def test_evaluation_is_finite_ordered_and_equal_on_all_processes(source):
    options = {"kind": "slices", "num_frequencies": 2, "seed": 0, "train": False, "augment": False}
    whole = list(loader.make_loader(source, batch_size=4, **options))
    assert len(whole) == 2  # 11 // 4: the rest is left out
    stored = [int(bytes(source[i]["video_id"]).decode().split("_")[1]) for i in range(8)]
    assert np.concatenate([numbers(batch) for batch in whole]).tolist() == stored
    np.testing.assert_array_equal(np.concatenate([b["frequency"] for b in whole]), [0, 1] * 4)
    parts = [
        list(loader.make_loader(source, batch_size=4, process_index=p, process_count=2, **options)) for p in (0, 1)
    ]
    for step, batch in enumerate(whole):
        assert_equal(batch, {n: np.concatenate([parts[0][step][n], parts[1][step][n]]) for n in batch})


def test_a_source_smaller_than_a_batch_is_repeated(data_dir):
    small = open_source(data_dir, "test")
    (batch,) = loader.make_loader(
        small, kind="volumes", batch_size=8, num_frequencies=2, seed=0, train=False, augment=False
    )
    np.testing.assert_array_equal(batch["image"][:3], batch["image"][3:6])
    (first,) = batches(small, 1, batch_size=8)
    assert first["image"].shape[0] == 8


def test_wrong_options_are_refused(source):
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        batches(source, 1, batch_size=5, process_count=2)
    with pytest.raises(UserError, match="num_frequencies=6"):
        batches(source, 1, num_frequencies=6)


def test_statistics_that_are_not_ones_are_refused(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "gid_motion" / "demo" / "1.0.0" / statistics.FILE_NAME
    fields = json.loads(path.read_text())
    assert set(fields) == {field.name for field in dataclasses.fields(statistics.DatasetStatistics)}
    path.write_text("{}")
    with pytest.raises(UserError, match=statistics.FILE_NAME):
        open_source(tmp_path, "train")


def resident() -> int:
    """Bytes in memory of this process and of all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    family, added = set(), {os.getpid()}
    while added:
        family |= added
        added = {child for child, parent in parents.items() if parent in family} - family
    total = 0
    for member in family:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["slices", "pairs"])
def test_ten_thousand_batches_leave_the_memory_as_it_was(source, kind, num_workers):
    """10 MiB are 1 KiB a batch; a batch is 10 KiB."""
    iterator = loader.make_loader(
        source, kind=kind, batch_size=2, num_frequencies=K, seed=0, train=True, augment=True, num_workers=num_workers
    )
    for _ in range(2000):
        next(iterator)
    before = resident()
    for _ in range(8000):
        next(iterator)
    assert resident() - before < 10 * 2**20
