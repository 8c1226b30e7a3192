"""What a training step would cost on a TPU slice that you do not have.

    python -m gid_jax.preflight --config=configs/coordinated.py:paper --topology=v5e:16x16 [--config.mesh.freq=8]

compiles the very step that `python -m gid_jax.train` would run there, with libtpu (`pip install -e .[tpu]`), and prints
a table on stderr and JSON on stdout: parameters, HBM of a chip, operations, bytes, collectives, projected time, model
FLOPs utilisation, days. Several meshes side by side: --compare="data=256 data=32,freq=8". docs/tpu.md explains them.
"""

import json
import os
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = cli.ConfigFlags()
config_flags.DEFINE_config_file("config", None, "Configuration and preset: configs/NAME.py:PRESET.", flag_values=FLAGS)
flags.DEFINE_string("topology", None, "Slice: v5e:4x4, v5e:16x16, v5p:4x4x4, v6e:8x8, ...", flag_values=FLAGS)
flags.DEFINE_string("compare", "", 'Meshes to compare: "data=16 data=4,freq=4".', flag_values=FLAGS)


def meshes(config: ConfigDict, text: str) -> list[ConfigDict]:
    """The configuration once for each mesh named in `--compare`, or as it is."""
    if not text:
        return [config]
    found = []
    for one in text.split():
        other = config.copy_and_resolve_references()
        for setting in one.split(","):
            axis, _, size = setting.partition("=")
            if axis not in other.mesh or not size.lstrip("-").isdecimal():
                raise UserError(
                    f'--compare={text}: {setting!r} is not an axis and its size; write "data=16 data=4,freq=4"'
                )
            other.mesh[axis] = int(size)
        found.append(other)
    return found


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}: settings are --config.name=value")
    if FLAGS.config is None:
        raise UserError("--config is missing: name one, such as configs/coordinated.py:paper")
    if not FLAGS.topology:
        raise UserError("--topology is missing: name a slice, such as v5e:16x16")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

    from gid_jax.training import compiled

    configs = meshes(FLAGS.config, FLAGS.compare)
    devices, chip = compiled.topology_devices(FLAGS.topology)
    reports = []
    for config in configs:
        reports.append({"topology": FLAGS.topology, **compiled.report(config, devices, chip)})
        print(table(reports[-1]), file=sys.stderr, flush=True)
    print(json.dumps(reports[0] if len(reports) == 1 else reports, indent=1))


def table(report: dict) -> str:
    """A report for the eye."""
    gigabytes = {
        name: f"{report['hbm'][name] / 2**30:.2f}" for name in ("arguments", "temporaries", "peak", "available")
    }
    rows = [
        ("mesh", " x ".join(f"{axis} {size}" for axis, size in report["mesh"].items())),
        ("batch", f"{report['batch_size']}, rematerialised" if report["remat"] else str(report["batch_size"])),
        ("parameters", "{trained:,} trained, {frozen:,} frozen".format(**report["parameters"])),
        (
            "HBM of a chip, GiB",
            "{arguments} arguments, {temporaries} temporaries, {peak} of {available}".format(**gigabytes),
        ),
        ("", "fits" if report["hbm"]["fits"] else f"does NOT fit; try {report['suggestion']}"),
        *(_cost(report) if report["mfu"] else [("", "the compiler refuses it: nothing else is known")]),
    ]
    return "\n".join([f"{report['topology']}", *(f"  {name:<20}{value}" for name, value in rows)])


def _cost(report: dict) -> list[tuple[str, str]]:
    return [
        (
            "FLOPs",
            f"{report['flops_per_chip'] / 1e12:.3f} T a chip, {report['useful_flops'] / 1e12:.2f} T useful in all",
        ),
        ("bytes", f"{report['bytes_per_chip'] / 1e9:.1f} GB a chip"),
        *(
            (kind, f"{entry['count']}, {entry['bytes'] / 1e6:.1f} MB")
            for kind, entry in sorted(report["collectives"].items())
        ),
        ("step", f"{report['seconds']['step']:.4f} s, MFU {100 * report['mfu']:.1f} %"),
        ("training", f"{report['steps']:,} steps: {report['days']:.2f} days, {report['chip_hours']:,.0f} chip-hours"),
    ]


if __name__ == "__main__":
    cli.run(main, FLAGS)
