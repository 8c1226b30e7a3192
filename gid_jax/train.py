"""Trains one stage.

    python -m gid_jax.train --config=configs/vae.py:demo --workdir=OUT/vae --config.data_dir=DATA

The stages are configs/vae.py, denoiser.py, coordinated.py and renderer.py, each with the presets paper, highres, demo
and test. `--config.x.y=v` overrides any setting. The same command started again continues from the newest checkpoint.
Exit code 143: SIGTERM came, all is saved, and there are steps left; 130: the same by Ctrl-C. Exit code 75: no progress
for config.stuck_after seconds.
"""

import signal
import sys

from absl import flags
from ml_collections import config_flags

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = cli.ConfigFlags()
config_flags.DEFINE_config_file("config", None, "Configuration and preset: configs/NAME.py:PRESET.", flag_values=FLAGS)
cli.DEFINE_path("workdir", None, "Folder of the run: checkpoints, metrics, config.json.", flag_values=FLAGS)
flags.DEFINE_enum(
    "resume", "auto", ["auto", "must"], "must: a workdir without checkpoint is an error.", flag_values=FLAGS
)
flags.DEFINE_string("profile", "", "Steps to trace for TensorBoard's profiler: FIRST:END.", flag_values=FLAGS)
flags.DEFINE_string("coordinator", None, "Several processes: host:port of process 0.", flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "Several processes: how many.", flag_values=FLAGS)
flags.DEFINE_integer("process_id", None, "Several processes: which one this is, from 0.", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    from gid_jax.training import profiler, run

    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}: settings are --config.name=value")
    if not FLAGS.workdir:
        raise UserError("--workdir is missing: name the folder of the run")
    if FLAGS.config is None:
        raise UserError("--config is missing: name one, such as configs/vae.py:demo")
    window = profiler.parse(FLAGS.profile)
    run.connect(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    if not run.run(FLAGS.config, FLAGS.workdir, FLAGS.resume, window):
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    cli.run(main, FLAGS)
