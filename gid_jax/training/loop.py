"""The one training loop: evaluate, save, next batch, step, log, in this order, for every task."""

import contextlib
import dataclasses
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
from ml_collections import ConfigDict

from gid_jax.checkpoints.checkpoint import Checkpoints
from gid_jax.checkpoints.state import TrainState
from gid_jax.errors import UserError
from gid_jax.progress import progress
from gid_jax.training import sharding, storage
from gid_jax.training.batches import Prefetch, to_global
from gid_jax.training.compiled import CHIPS, useful_flops
from gid_jax.training.profiler import NOTHING, Profiler
from gid_jax.training.records import Records
from gid_jax.training.step import Program, compile_for
from gid_jax.training.stopping import StopSignal
from gid_jax.training.watchdog import Watchdog

if TYPE_CHECKING:
    from gid_jax.tasks import Task

# ("train" or "test", start step) -> this process's batches; ("pictures", 0) -> those of `task.shows`, held out
OpenBatches = Callable[[str, int], Iterator[dict[str, np.ndarray]]]


def train(
    task: "Task",
    config: ConfigDict,
    workdir: str,
    open_batches: OpenBatches,
    mesh: jax.sharding.Mesh,
    profile: range = NOTHING,
    stop: StopSignal | None = None,
) -> TrainState:
    """Trains until `config.num_steps`, from the newest whole checkpoint in `workdir` if there is one.

    Returns the last state, which is saved. SIGTERM and SIGINT save and return early; `stop` then says which of them
    came. Raises UserError when the loss or the
    gradient stops being finite and when the workdir takes no more; the last good checkpoint stays. After
    `config.stuck_after` seconds without progress the process ends. The steps of `profile` are traced for TensorBoard's
    profiler.
    """
    sharding.check_batch(task.kind, config, mesh)
    watchdog = Watchdog(config.stuck_after)
    with jax.set_mesh(mesh), watchdog, storage.writing(workdir, lambda: watchdog.doing):
        program = compile_for(task, config, mesh)
        with contextlib.closing(Checkpoints(workdir, config.keep_checkpoints)) as checkpoints:
            storage.check_space(workdir, program.shapes)
            state, start = _begin(task, program, checkpoints, open_batches)
            run = _Run(task, config, workdir, open_batches, program, checkpoints, watchdog, start, profile)
            return run.go(state, stop or StopSignal())


def _begin(
    task: "Task", program: Program, checkpoints: Checkpoints, open_batches: OpenBatches
) -> tuple[TrainState, int]:
    if (restored := checkpoints.restore_newest(program.shapes, program.shardings)) is not None:
        return restored
    if jax.process_index() == 0:
        print(sharding.describe(program.shapes.params, program.shardings.params))
    frozen = sharding.place(task.inherit(), program.shardings.frozen)
    frozen = task.prepare(frozen, (to_global(batch, task.kind, program.mesh) for batch in open_batches("train", 0)))
    state = program.init(frozen)
    values = task.start_from(program.shapes.params)
    if values is None:
        return state, 0
    params, ema = (
        jax.tree.map(lambda old, new, place: old if new is None else sharding.place(new, place), tree, values, places)
        for tree, places in ((state.params, program.shardings.params), (state.ema, program.shardings.ema))
    )
    return dataclasses.replace(state, params=params, ema=ema), 0


class _Run:
    """One pass of the loop from `start` to the end, with the metrics of a step read while the next one runs."""

    def __init__(
        self,
        task: "Task",
        config: ConfigDict,
        workdir: str,
        open_batches: OpenBatches,
        program: Program,
        checkpoints: Checkpoints,
        watchdog: Watchdog,
        start: int,
        profile: range,
    ):
        self.task, self.config, self.workdir, self.open_batches = task, config, workdir, open_batches
        self.program, self.checkpoints, self.watchdog, self.start = program, checkpoints, watchdog, start
        self.saved = start if start else None
        self.pending: tuple[int, Mapping] | None = None  # step and metrics, not read yet
        self.shown: dict[str, jax.Array] | None = None  # the examples in the pictures
        self.window: list[dict[str, float]] = []  # metrics since the last line
        self.waited = 0.0  # seconds, for data, since the clock's time
        self.clock: tuple[int, float] | None = None  # step and time from which the rate counts
        self.peak_flops = _peak_flops(program.mesh)  # of all devices together, FLOP/s
        self.flops = useful_flops(config) if self.peak_flops else 0.0  # of a step
        self.profiler = Profiler(workdir, profile)
        self.records = Records(workdir, start)
        self.bar = progress(name=config.task, total=config.num_steps, initial=start, unit="step")
        self.bar.disable = bool(jax.process_index())

    def go(self, state: TrainState, stop: StopSignal) -> TrainState:
        config, last = self.config, self.config.num_steps
        batches = Prefetch(self.open_batches("train", self.start), self.task.kind, self.program.mesh)
        try:
            with stop:
                for step in range(self.start, last + 1):
                    self.watchdog.alive(f"at step {step}, agreeing with the other processes")
                    stopping = stop.requested(step)
                    resumed = step == self.start
                    if not resumed and not stopping and (step % config.eval_every == 0 or step == last):
                        self.evaluate(state, step)
                    if (not resumed or step == 0) and not stopping and self.shows_at(step):
                        self.show(state, step)
                    if not resumed and (stopping or step % config.checkpoint_every == 0 or step == last):
                        self.save(state, step)
                    if stopping or step == last:
                        break
                    self.profiler.before(step)
                    began = time.perf_counter()
                    self.watchdog.alive(f"at step {step}, waiting for data")
                    batch = next(batches)
                    self.waited += time.perf_counter() - began
                    self.watchdog.alive(f"at step {step}, computing")
                    state, metrics = self.program.step(state, batch)
                    self.log()
                    self.pending = step + 1, metrics
                self.checkpoints.wait()
        finally:
            self.profiler.close()
            batches.close()
            self.bar.close()
            self.records.close()
        return state

    def evaluate(self, state: TrainState, step: int) -> None:
        """Means of the task's metrics over the first `eval_batches` held-out batches, always the same ones."""
        self.log()
        began = time.perf_counter()
        batches = self.open_batches("test", 0)
        results = []
        for index in range(self.config.eval_batches):
            self.watchdog.alive(f"at step {step}, evaluating")
            batch = to_global(next(batches), self.task.kind, self.program.mesh)
            results.append(self.program.evaluate(state, batch, index))
        self.records.write("test", step, _mean(jax.device_get(results)))
        self.leave_out(began)

    def shows_at(self, step: int) -> bool:
        every = self.config.images_every
        return bool(every) and (step % every == 0 or step == self.config.num_steps)

    def show(self, state: TrainState, step: int) -> None:
        """The task's pictures of a few held-out examples, the same ones and from the same noise each time."""
        self.log()
        began = time.perf_counter()
        self.watchdog.alive(f"at step {step}, making pictures")
        if self.shown is None:
            self.shown = to_global(next(self.open_batches("pictures", 0)), self.task.shows, self.program.mesh)
        self.records.write_pictures(step, jax.device_get(self.program.pictures(state, self.shown)))
        self.leave_out(began)

    def leave_out(self, began: float) -> None:
        """What went on since then is no step: it does not count in their rate."""
        if self.clock is not None:
            self.clock = self.clock[0], self.clock[1] + time.perf_counter() - began

    def save(self, state: TrainState, step: int) -> None:
        self.log()
        self.watchdog.alive(f"at step {step}, saving")
        storage.check_space(self.workdir, self.program.shapes)
        self.checkpoints.save(state, step)
        self.saved = step

    def log(self) -> None:
        """Reads the pending metrics, stops at a value that is not finite, writes their mean every `log_every` steps."""
        if self.pending is None:
            return
        step, metrics = self.pending[0], {name: float(x) for name, x in jax.device_get(self.pending[1]).items()}
        self.pending = None
        if not (math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])):
            kept = "no checkpoint yet" if self.saved is None else f"the last good checkpoint is step {self.saved}"
            raise UserError(
                f"{self.workdir}: loss {metrics['loss']}, gradient norm {metrics['grad_norm']} at step {step}; {kept}; "
                "lower --config.optimizer.learning_rate or --config.optimizer.clip_norm and start again"
            )
        self.window.append(metrics)
        self.bar.set_postfix_str(f"loss {metrics['loss']:.4g}", refresh=False)
        self.bar.update()
        if step % self.config.log_every == 0 or step == self.config.num_steps:
            self.records.write("train", step, {**_mean(self.window), **self.rates(step)})
            self.window = []
        if self.clock is None:  # the first step compiles
            self.waited, self.clock = 0.0, (step, time.perf_counter())

    def rates(self, step: int) -> dict[str, float]:
        """Since the last call: steps and examples per second, share of the time spent waiting for data, and where the
        chip is known the share of its peak that went into useful operations (MFU); peak memory in GiB.
        """
        if self.clock is None or self.clock[0] == step:
            return {}
        now, (first, began) = time.perf_counter(), self.clock
        speed = (step - first) / (now - began)
        rates = {
            "steps_per_second": speed,
            "examples_per_second": speed * self.config.batch_size,
            "data_wait": self.waited / (now - began),
            "memory_gib": _memory() / 2**30,
        }
        if self.peak_flops:
            rates["mfu"] = speed * self.flops / self.peak_flops
        self.waited, self.clock = 0.0, (step, now)
        return rates


def _peak_flops(mesh: jax.sharding.Mesh) -> float:
    """bf16 FLOP/s of all devices of the mesh, 0 where the chip is not known."""
    kind = mesh.devices.flat[0].device_kind
    return next((chip.flops for chip in CHIPS.values() if chip.device_kind == kind), 0.0) * mesh.size


def _memory() -> float:
    """Most bytes that were in use: of the first device here, or of the process where devices do not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _mean(results: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}
