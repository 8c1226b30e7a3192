"""Small things to train on: a toy task that compiles in no time, random batches, a data set of a few examples."""

import importlib
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tensorflow_datasets as tfds
from etils import epath
from ml_collections import ConfigDict
from tensorboardX.proto import event_pb2

from gid_jax.data import codec, statistics
from gid_jax.tasks import Task, make_task

WIDTH, HEIGHT, STORED = 64, 40, 4  # the `test` preset


class ToyTask(Task):
    """Regression of noise on pictures: small, but with a leaf that is sharded and a key that matters."""

    kind, shows = "slices", "pairs"

    def init(self, key):
        kernel = 0.01 * jax.random.normal(key, (HEIGHT * WIDTH * 3, 8))
        return {"kernel": kernel, "bias": jnp.zeros(8)}, {"scales": jnp.asarray(self.scales)}

    def loss(self, params, frozen, batch, key):
        pictures = batch["image"].reshape(len(batch["image"]), -1)
        predicted = pictures @ params["kernel"] + params["bias"][None]
        loss = jnp.mean(jnp.square(predicted - jax.random.normal(key, predicted.shape)))
        return loss, {"loss": loss}

    def evaluate(self, params, frozen, batch, key):
        return self.loss(params, frozen, batch, key)[1]

    def pictures(self, params, frozen, batch, key):
        return {"first": jnp.round(255 * batch["target"][0]).astype(jnp.uint8)}


def toy(**settings) -> tuple[ToyTask, ConfigDict]:
    defaults = {"num_steps": 10, "log_every": 1, "checkpoint_every": 4, "eval_every": 5}
    config = load_config("vae", **{**defaults, **settings})
    return ToyTask(config, np.ones(STORED)), config


def load_config(name: str, preset: str = "test", **settings) -> ConfigDict:
    config = importlib.import_module(f"configs.{name}").get_config(preset)
    config.update_from_flattened_dict(settings)
    return config


def task_of(config: ConfigDict) -> Task:
    scales = np.linspace(20, 2, 25).astype(np.float32)
    return make_task(config, statistics.DatasetStatistics(scales, scales, 10, config.width, config.height, 30.0, 150))


def random_batch(kind: str, config: ConfigDict, step: int = 0) -> dict[str, np.ndarray]:
    """What the loader gives for `kind`, a function of the step."""
    rng = np.random.default_rng(step)
    size, frequencies = (config.height, config.width), config.num_frequencies
    b = config.batch_size

    def normal(*shape):
        return rng.standard_normal(shape, np.float32)

    batch = {"image": rng.random((b, *size, 3), np.float32)}
    if kind == "slices":
        chosen = rng.integers(0, frequencies, b, np.int32)
        return {**batch, "spectrum": 9 * normal(b, *size, 4), "frequency": chosen}
    if kind == "volumes":
        return {**batch, "spectrum": 9 * normal(b, frequencies, *size, 4)}
    target = rng.random((b, *size, 3), np.float32)
    return {**batch, "target": target, "motion": 2 * normal(b, *size, 2), "weight": rng.random((b, *size), np.float32)}


def random_batches(task: Task, config: ConfigDict):
    """`open_batches` of the loop, in memory."""

    def open_batches(split, start_step):
        step = start_step + (10_000 if split == "test" else 0)
        while True:
            yield random_batch(task.shows if split == "pictures" else task.kind, config, step)
            step += 1

    return open_batches


def saved_leaves(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Everything in a checkpoint, by path, read without this project's code."""
    handler, leaves = ocp.PyTreeCheckpointHandler(), {}
    for part in ("model", "training"):
        path = epath.Path(workdir) / "checkpoints" / str(step) / part
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).tree)
        leaves.update(handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy)))
    return leaves


def write_tfds(directory: Path, width: int, height: int, splits: dict[str, list[dict]]) -> None:
    """Coded examples as the builder leaves them in `directory`, .../gid_motion/CONFIG/VERSION."""
    directory.mkdir(parents=True)
    text, number = tfds.features.Text, tfds.features.Scalar
    features = tfds.features.FeaturesDict(
        {
            "image": text(),
            "spectrum": tfds.features.Sequence(text()),
            "motion_weight": tfds.features.Tensor(shape=(height, width), dtype=np.float16, encoding="bytes"),
            "target_frames": tfds.features.Sequence(text()),
            "target_flows": tfds.features.Sequence(text()),
            "target_times": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "video_id": text(),
            "start": number(np.int32),
            "fps": number(np.float32),
            "scale": number(np.float32),
            "flow_error": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        }
    )
    identity = tfds.core.DatasetIdentity(
        name="gid_motion",
        version=tfds.core.Version("1.0.0"),
        data_dir=str(directory),
        module_name="",
        config_name=directory.parent.name,
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=100, file_format="array_record")
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()


def write_dataset(root: Path) -> Path:
    """A finished data set of random examples under `root`, 12 of train and 4 of test."""
    directory = root / "gid_motion" / "test" / "1.0.0"
    examples = {"train": [_example(i) for i in range(12)], "test": [_example(i) for i in range(12, 16)]}
    write_tfds(directory, WIDTH, HEIGHT, examples)
    scales = np.linspace(20, 5, STORED).astype(np.float32)
    whole = statistics.DatasetStatistics(scales, scales**2, 12, WIDTH, HEIGHT, 30.0, 150)
    whole.save(directory / statistics.FILE_NAME)
    return root


def _example(number: int) -> dict:
    rng = np.random.default_rng(number)
    return codec.encode_example(
        image=rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        spectrum=10 * rng.standard_normal((STORED, HEIGHT, WIDTH, 4), np.float32),
        motion_weight=rng.random((HEIGHT, WIDTH), np.float32),
        target_frames=rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8),
        target_flows=rng.standard_normal((2, HEIGHT, WIDTH, 2), np.float32),
        target_times=(1, 2),
        video_id=f"clip_{number}",
        start=0,
        fps=30.0,
        scale=1.0,
        flow_error=np.zeros(2, np.float32),
    )


def events(workdir: Path) -> list[event_pb2.Event]:
    """All of a run's events for TensorBoard, read without this project's code: length, checksum, event, checksum."""
    found = []
    for path in sorted(Path(workdir).glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found
