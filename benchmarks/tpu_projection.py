"""Stage 3 at preset `paper` on TPU v5e slices, as `gid_jax.preflight` projects it; nothing runs but the compiler.

    python benchmarks/tpu_projection.py [--rows=one volume a chip,...]

Each row compiles the step that `gid_jax.train` runs, in two to six minutes on two cores. `frozen FLOPs` compares the
operations of a step with and without a frozen base, of the denoiser alone: the VAE's encoder, which neither trains, is
left out of both.
"""

import json
import os
import time
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import coordinated
from gid_jax import cli, preflight
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "one volume a chip": ("v5e:4x4", {"batch_size": 16, "mesh": (1, 16, 1), "freeze_base": False}),
    "one volume a chip, frozen base": ("v5e:4x4", {"batch_size": 16, "mesh": (1, 16, 1)}),
    "four volumes on 16 chips": ("v5e:4x4", {"batch_size": 4, "mesh": (1, 4, 4), "freeze_base": False}),
    "four volumes on 16 chips, frozen base": ("v5e:4x4", {"batch_size": 4, "mesh": (1, 4, 4)}),
    "four volumes a chip, remat": (
        "v5e:4x4",
        {"batch_size": 64, "mesh": (1, 16, 1), "freeze_base": False, "remat": True},
    ),
    "96 volumes on 256 chips": ("v5e:16x16", {"batch_size": 96, "mesh": (32, 1, 8)}),
}
flags.DEFINE_list("rows", [*ROWS, "frozen FLOPs"], "which", flag_values=FLAGS)


def config_of(settings: dict[str, Any]) -> ConfigDict:
    config = coordinated.get_config("paper")
    for name, value in settings.items():
        config[name] = dict(zip(("data", "fsdp", "freq"), value, strict=True)) if name == "mesh" else value
    return config


def denoiser_flops(frozen: bool, remat: bool) -> float:
    """Of one step on one volume, without the VAE's encoder."""
    from gid_jax.training import compiled, sharding

    config = config_of({"batch_size": 1, "freeze_base": frozen, "remat": remat})
    mesh = sharding.make_mesh(config.mesh, jax.devices("cpu")[:1])
    step: Any = compiled.lower_step(config, mesh)[1].cost_analysis()
    task = compiled.task_without_data(config)
    frozen_shapes = jax.eval_shape(lambda: task.init(jax.random.key(0))[1]["vae"])
    slices = jax.ShapeDtypeStruct((config.num_frequencies, config.height, config.width, 4), np.float32)
    encode = jax.jit(lambda params, x: task.vae.bind(params).encode(x)[0])
    encoder: Any = encode.lower(frozen_shapes, slices).cost_analysis()
    return step["flops"] - encoder["flops"]


def main(arguments: list[str]) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from gid_jax.training import compiled

    figures: dict[str, Any] = {}
    for row in FLAGS.rows:
        if row == "frozen FLOPs":
            for remat in (False, True):
                ratio = denoiser_flops(True, remat) / denoiser_flops(False, remat)
                figures[row + (", remat" if remat else "")] = round(ratio, 3)
            continue
        if row not in ROWS:
            raise UserError(f"--rows: {row!r} does not exist; there are {', '.join(ROWS)}, frozen FLOPs")
        topology, settings = ROWS[row]
        devices, chip = compiled.topology_devices(topology)
        start = time.monotonic()
        report = {"topology": topology, **compiled.report(config_of(settings), devices, chip)}
        print(f"{row}, compiled in {time.monotonic() - start:.0f} s: {preflight.table(report)}", flush=True)
        figures[row] = {
            "MFU": round(report["mfu"], 3),
            "seconds": round(report["seconds"]["step"], 4),
            "HBM, GB": round(report["hbm"]["peak"] / 1e9, 2),
            "collectives": {kind: entry["count"] for kind, entry in report["collectives"].items()},
            "seconds to compile": round(time.monotonic() - start),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
