"""One training run from a configuration: processes, workdir, data, task, mesh, then the loop."""

import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jax
import numpy as np
from ml_collections import ConfigDict

from gid_jax.checkpoints.checkpoint import load_config, load_stage, newest_step
from gid_jax.errors import UserError
from gid_jax.lock import locked
from gid_jax.streams import check_seed
from gid_jax.training import sharding
from gid_jax.training.loop import train
from gid_jax.training.profiler import NOTHING
from gid_jax.training.records import write_config
from gid_jax.training.stopping import StopSignal
from gid_jax.trees import Tree

if TYPE_CHECKING:
    from gid_jax.data.latents import LatentSource
    from gid_jax.data.source import Source
    from gid_jax.tasks import Task

ARCHITECTURE = ("task", "width", "height", "num_frequencies", "normalization", "model", "vae_model", "prediction")

LEAST = {
    1: ("batch_size", "num_steps", "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints"),
    0: ("images_every", "stuck_after", "num_workers"),
}
DTYPES = ("float32", "bfloat16")


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the processes of one job: as the flags say, or on a TPU slice of several hosts as its environment says."""
    given = [value is not None for value in (coordinator, num_processes, process_id)]
    if any(given) and not all(given):
        raise UserError("--coordinator, --num_processes and --process_id belong together: give all three or none")
    if all(given):
        jax.distributed.initialize(coordinator, num_processes, process_id)
    elif "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()


def run(config: ConfigDict, workdir: str, resume: str = "auto", profile: range = NOTHING) -> bool:
    """Trains, continues, or says that the run is finished already; whether it is finished now.

    With `resume` "must" there has to be a checkpoint; the steps of `profile` are traced. Raises UserError for what a
    user can mend, KeyboardInterrupt after Ctrl-C, when all is saved.
    """
    check_settings(config)
    check_workdir(config, workdir)
    step = newest_step(workdir)
    if step is None and resume == "must":
        raise UserError(
            f"--resume=must: no checkpoint in --workdir={workdir}; check the path, or start with --resume=auto"
        )
    if step is not None and step >= config.num_steps:
        _say(f"{workdir}: finished, {step} steps of {config.num_steps} are done; raise --config.num_steps to go on")
        return True
    if not config.data_dir:
        raise UserError("config.data_dir is empty: name the folder of the data set with --config.data_dir=DIR")

    from gid_jax.data.loader import make_loader
    from gid_jax.data.source import open_source
    from gid_jax.tasks import make_task
    from gid_jax.tasks.pictures import EXAMPLES

    sources = {split: open_source(config.data_dir, split) for split in ("train", "test")}
    read: dict[str, Source | LatentSource] = {**sources}  # what the task's batches are made of
    task = make_task(config, sources["train"].statistics)
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(task.kind, config, mesh)  # before anything is written
    index, count = sharding.process_share(mesh)

    def open_batches(split: str, start_step: int) -> Iterator[dict[str, np.ndarray]]:
        training, shown = split == "train", split == "pictures"
        return make_loader(
            (sources if shown else read)["train" if training else "test"],
            kind=task.shows if shown else task.kind,
            batch_size=sharding.smallest_batch(EXAMPLES, mesh) if shown else config.batch_size,
            num_frequencies=config.num_frequencies,
            seed=config.seed,
            train=True,  # held-out batches too are drawn from the whole split, by the seed alone
            augment=config.augment and training,
            process_index=index,
            process_count=count,
            start_step=start_step,
            num_workers=config.num_workers if training else 0,
        )

    with contextlib.ExitStack() as held:
        try:
            if jax.process_index() == 0:
                held.enter_context(locked(workdir, f"--workdir={workdir}"))
            write_config(workdir, config)
        except OSError as error:
            message = f"--workdir={workdir}: cannot be written ({error.strerror}); choose another folder"
            raise UserError(message) from error
        if config.get("cache_latents"):
            frozen = task.inherit() if step is None else load_stage(workdir, (config.task,)).frozen
            read.update(_latents(task, config, sources, frozen))
        stop = StopSignal()
        state = train(task, config, workdir, open_batches, mesh, profile, stop)
    done = int(state.step)
    finished = done >= config.num_steps
    stopped = "stopped on request; the same command goes on" + (" from what is saved" if done else "")
    _say(f"{workdir}: {'finished' if finished else stopped}, {done} steps of {config.num_steps}")
    if stop.received == signal.SIGINT and not finished:
        raise KeyboardInterrupt
    return finished


def _latents(task: "Task", config: ConfigDict, sources: dict[str, "Source"], frozen: Tree) -> dict[str, "LatentSource"]:
    """The sources with latents in place of spectra, those of the VAE in `frozen`."""
    from gid_jax.data.latents import with_latents
    from gid_jax.tasks.denoiser import DenoiserTask

    assert isinstance(task, DenoiserTask)
    encoder = {name: frozen[name] for name in ("vae", "scales")}
    encode = functools.partial(jax.jit(task.encode), jax.device_put(encoder))
    depends = {**encoder, "settings": f"{config.normalization} {config.compute_dtype}"}
    return {
        split: with_latents(source, config.cache_latents, encode, depends, config.num_frequencies)
        for split, source in sources.items()
    }


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for numbers that no loop can run with."""
    for least, names in LEAST.items():
        for name in names:
            if config[name] < least:
                raise UserError(f"config.{name}={config[name]} must be at least {least}")
    check_seed(config.seed, "config.seed")
    if config.get("cache_latents") and config.augment:
        raise UserError(
            f"config.cache_latents={config.cache_latents} needs --config.augment=False: latents cannot be augmented; "
            "set it, or leave config.cache_latents empty"
        )
    if config.compute_dtype not in DTYPES:
        raise UserError(f"config.compute_dtype={config.compute_dtype!r} does not exist; there are {', '.join(DTYPES)}")


def check_workdir(config: ConfigDict, workdir: str) -> None:
    """Raises UserError when there are checkpoints of another architecture in the workdir."""
    from gid_jax.tasks.stages import flat

    earlier = load_config(workdir)
    if earlier is None or newest_step(workdir) is None:
        return
    for name in ARCHITECTURE:
        ours, theirs = (flat(c[name], name) if name in c else {} for c in (config, earlier))
        for path in sorted(ours.keys() | theirs.keys()):
            if ours.get(path) != theirs.get(path):
                raise UserError(
                    f"--workdir={workdir}: the run there has {path} = {theirs.get(path)}, this configuration "
                    f"{ours.get(path)}; choose another workdir or the same setting"
                )


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)
