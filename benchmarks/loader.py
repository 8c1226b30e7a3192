"""Examples per second and core that the loader decodes and augments at the preset `paper`.

    python benchmarks/loader.py [--videos=../shared/clips] [--data_dir=out/benchmark_data] [--batches=100]

K = 16 frequencies of 25 are chosen. The rate is examples over seconds of processor time, all threads together: on an
idle machine each core gives that many, on a busy one the clock on the wall would tell of the neighbours. The wall's
rate stands beside it.
"""

import json
import os
import time

import page_clips
from absl import flags

from gid_jax import cli
from gid_jax.data import loader
from gid_jax.data.source import open_source

FLAGS = flags.FlagValues()
page_clips.define_flags(FLAGS)
flags.DEFINE_integer("batches", 100, "timed batches of each kind", lower_bound=1, flag_values=FLAGS)

FREQUENCIES, BATCH = 16, 2
STEP_SECONDS = 0.11  # of v5e-256, projected by the compiler's cost model (DESIGN.md, section 10)
GLOBAL_BATCH = 96
HOSTS, CORES_PER_HOST = 64, 56  # assumed: four chips and 112 hyper-threads each


def measure(source, kind: str) -> dict[str, float]:
    batches = loader.make_loader(
        source, kind=kind, batch_size=BATCH, num_frequencies=FREQUENCIES, seed=0, train=True, augment=True
    )
    for _ in range(loader.PREFETCHED + 4):
        next(batches)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(FLAGS.batches):
        next(batches)
    count = FLAGS.batches * BATCH
    return {"core": count / (time.process_time() - processor), "wall": count / (time.perf_counter() - wall)}


def main(arguments: list[str]) -> None:
    source = open_source(page_clips.build(FLAGS), "train")
    figures: dict = {"cores": os.cpu_count(), "load average": round(os.getloadavg()[0], 1)}
    for kind in ("slices", "volumes", "pairs"):
        rate = measure(source, kind)
        need = GLOBAL_BATCH / STEP_SECONDS
        cores = need / rate["core"]
        print(
            f"{kind}: {rate['core']:.1f} examples/s a core ({rate['wall']:.1f} by the wall's clock); v5e-256 at a "
            f"global batch of {GLOBAL_BATCH} {kind} in {STEP_SECONDS} s needs {need:.0f} examples/s: "
            f"{cores:.0f} cores, {-(-cores // CORES_PER_HOST):.0f} of its {HOSTS} hosts"
        )
        figures[kind] = {name: round(value, 1) for name, value in rate.items()} | {"cores needed": round(cores, 1)}
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
