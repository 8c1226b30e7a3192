"""What the training loop costs beside the compiled step: the share of a step that is Python and dispatch.

    PYTHONPATH=. python benchmarks/dispatch.py [--preset=demo] [--rounds=5] [--only=STAGE]

Runs `gid_jax.training.loop.train` for each stage, on batches that lie ready in memory, and alternates: `log_every`
steps of the loop with all that belongs to them (prefetching, metrics, stop checks, watchdog, progress bar, one line of
metrics), then as many calls of the same compiled step one after another, waiting for the last. The share is 1 - step /
loop, of the fastest rounds. On a busy machine that is noise; `main thread` is not: the processor time that the loop's
own thread took, most of it while the device computes, so that its share is an upper bound. Evaluations, checkpoints
and pictures are switched off. JSON last.
"""

import dataclasses
import importlib
import itertools
import json
import tempfile
import time
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.training import loop, sharding
from gid_jax.training.compiled import batch_shapes, task_without_data

FLAGS = flags.FlagValues()
flags.DEFINE_string("preset", "demo", "of the configurations", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 5, "of either kind", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("only", None, "the one stage to run", flag_values=FLAGS)

STAGES = ("vae", "denoiser", "coordinated", "renderer")


class Alternating:
    """In place of the compiled step. Before every `count`-th call it notes what the loop took since the last one, and
    times `count` calls of its own on a copy of the state.
    """

    def __init__(self, step: jax.stages.Wrapped, count: int):
        self._step, self._count, self._calls = step, count, 0
        self._resumed = 0.0
        self._used = 0.0
        self.of_loop: list[float] = []  # s a step
        self.python: list[float] = []  # s of processor time of the loop's thread a step
        self.alone: list[float] = []

    def __call__(self, state, batch):
        if self._calls % self._count == 0 and self._calls:
            self.python.append((time.thread_time() - self._used) / self._count)
            jax.block_until_ready(state)
            self.of_loop.append((time.perf_counter() - self._resumed) / self._count)
            copy = jax.block_until_ready(jax.tree.map(jax.numpy.copy, state))
            began = time.perf_counter()
            for _ in range(self._count):
                copy, _ = self._step(copy, batch)
            jax.block_until_ready(copy)
            self.alone.append((time.perf_counter() - began) / self._count)
            self._resumed, self._used = time.perf_counter(), time.thread_time()
        self._calls += 1
        return self._step(state, batch)


def random_batches(shapes: dict[str, jax.ShapeDtypeStruct], count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{k: rng.random(s.shape).astype(s.dtype) for k, s in shapes.items()} for _ in range(count)]


def measure(name: str) -> dict:
    config = importlib.import_module(f"configs.{name}").get_config(FLAGS.preset)
    count = config.log_every
    config.num_steps = (FLAGS.rounds + 1) * count + 1
    config.eval_every = config.checkpoint_every = config.num_steps + 1
    config.eval_batches, config.images_every = 1, 0
    if "whitening_batches" in config:
        config.whitening_batches = 1
    task, mesh = task_without_data(config), sharding.make_mesh(config.mesh)
    task.inherit = lambda: jax.device_get(jax.jit(task.init)(jax.random.key(1))[1])  # type: ignore[method-assign]
    batches = random_batches(batch_shapes(task.kind, config, mesh), 4)

    def open_batches(split: str, start: int) -> Iterator[dict[str, np.ndarray]]:
        return itertools.cycle(batches)

    found: list[Alternating] = []
    compile_for = loop.compile_for

    def compile_alternating(*arguments):
        program = compile_for(*arguments)
        found.append(Alternating(program.step, count))
        return dataclasses.replace(program, step=found[0])

    loop.compile_for = compile_alternating
    try:
        with tempfile.TemporaryDirectory() as workdir:
            loop.train(task, config, workdir, open_batches, mesh)
    finally:
        loop.compile_for = compile_for
    of_loop, alone, python = (
        min(x[1:]) for x in (found[0].of_loop, found[0].alone, found[0].python)
    )  # first: compiles
    return {"loop_ms": 1e3 * of_loop, "step_ms": 1e3 * alone, "python_ms": 1e3 * python, "share": 1 - alone / of_loop}


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag")
    results = {}
    for name in STAGES if FLAGS.only is None else (FLAGS.only,):
        found = results[name] = {key: round(value, 4) for key, value in measure(name).items()}
        print(
            f"{name}: {found['loop_ms']:.1f} ms a step of the loop, {found['step_ms']:.1f} ms of the compiled step "
            f"alone: {100 * found['share']:.1f} % Python and dispatch; main thread {found['python_ms']:.2f} ms, "
            f"{100 * found['python_ms'] / found['step_ms']:.1f} %",
            flush=True,
        )
    print(json.dumps({"preset": FLAGS.preset, "share": max(r["share"] for r in results.values()), "stages": results}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
