"""What splatting would cost on a TPU v5e chip: by matrix products, and by scatters and gathers. Nothing runs.

    python benchmarks/splat_tpu.py [--update_ns=1188]

64 channels at 256 x 160, one picture along the motion of benchmarks/splat.py, forward and backward. Both programs are
compiled for the chip; the first must have no scatter and no gather in it. Its roofline counts, for this motion, the
pairs of a source row and a target row that touch: one product of 72 x 256 and 256 x 256 forward, two backward, six
bfloat16 passes each, at 197 TFLOP/s; bytes at 819 GB/s; 0.35 us for each step of a kernel's grid; the three add up.

The compiler prices a scatter by its bytes. --update_ns prices the rows that are scattered or gathered: by default the
1188 cycles that the compiler itself estimated for one turn of a scatter's loop on a TPU v4 in
https://github.com/openxla/xla/issues/12982, at 1 GHz. The last line is JSON, ms.
"""

import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import SingleDeviceSharding
from splat import CHANNELS, HEIGHT, WIDTH, example

from gid_jax import cli
from gid_jax.render import accumulation, products

FLAGS = flags.FlagValues()
flags.DEFINE_float("update_ns", 1188.0, "ns per row scattered or gathered", lower_bound=0, flag_values=FLAGS)

FLOPS, BANDWIDTH, STEP = 197e12, 819e9, 0.35e-6


def programs(device: jax.Device) -> dict[str, str]:
    """Optimised HLO of each way, with the compiler's own ms."""
    from gid_jax.training.compiled import QUICKLY

    def shape(*size: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, HEIGHT, WIDTH, *size), jnp.float32, sharding=SingleDeviceSharding(device))

    arguments = shape(CHANNELS), shape(), shape(2)
    found = {}
    for name, forward, backward in (
        ("products", accumulation._sums_by_products, accumulation._fetched_by_products),
        ("scatters", accumulation._sums_by_scatters, accumulation._fetched_by_gathers),
    ):

        def both(values, importance, motion, forward=forward, backward=backward):
            sums = forward(values, importance, motion)
            return sums, backward(*sums, motion)

        compiled = jax.jit(both).lower(*arguments).compile(QUICKLY)
        text = compiled.as_text()
        counts = {op: len(re.findall(rf" {op}\(", text)) for op in ("scatter", "gather", "while", "custom-call")}
        found[name] = {**counts, "compiler, ms": round(1e3 * compiled.cost_analysis()["optimal_seconds"], 3)}
    return found


def roofline() -> dict[str, float]:
    """ms of the products' two kernels for the motion of the example."""
    motion = jnp.asarray(example(1)[1])
    _, reached = products._ends(motion, (1, HEIGHT, 0, WIDTH))
    pairs = int(np.maximum(np.asarray(reached.last - reached.first) + 1, 0).sum())
    channels = 8 * -(-(CHANNELS + 1) // 8)
    flops = 3 * pairs * 6 * 2 * channels * WIDTH * WIDTH
    plane = 4 * HEIGHT * WIDTH * channels
    partners = 4  # blocks of eight rows that each block of results fetches
    traffic = (1 + 3) * plane + 2 * partners * plane + 4 * 2 * plane  # results, operands, rows of channels made of both
    steps = 2 * (HEIGHT // products.ROWS) ** 2
    return {
        "row pairs": pairs,
        "GFLOP": flops / 1e9,
        "MB": traffic / 1e6,
        "ms": 1e3 * (flops / FLOPS + traffic / BANDWIDTH + steps * STEP),
    }


def main(arguments: list[str]) -> None:
    for name, value in {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}.items():
        os.environ.setdefault(name, value)
    from gid_jax.training.compiled import topology_devices

    compiled, line = programs(topology_devices("v5e:2x2")[0][0]), roofline()
    rows = 8 * HEIGHT * WIDTH  # four scattered and four gathered for each pixel
    for name, counts in compiled.items():
        print(name, counts)
    print("products, by roofline", {name: round(value, 3) for name, value in line.items()})
    assert compiled["products"]["scatter"] == compiled["products"]["gather"] == 0
    print(json.dumps({"products": round(line["ms"], 3), "scatters": round(1e-6 * rows * FLAGS.update_ns, 3)}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
