"""Builds the TFDS data set gid_motion from videos.

    python -m data_pipeline.build --videos=clips/ --data_dir=data/ --config=configs/data.py:demo

Videos become clips of five seconds, clips become trajectories by optical flow, trajectories become spectra. The set
lies in DATA_DIR/gid_motion/PRESET/1.0.0 once it is whole; DATA_DIR/build_report.json lists every video and every
rejected clip with its reason, DATA_DIR/contact_sheet.html shows them. A build that was stopped continues where it was
when the same command runs again: what is done lies in DATA_DIR/.cache, which may be deleted afterwards.

Flags of Apache Beam (--runner, --direct_num_workers, ...) are passed on; by default Beam runs in this process.
"""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from gid_jax import cli


class _Flags(cli.ConfigFlags):
    """Leaves flags that it does not know to Beam; a bare --loops means all videos."""

    def __call__(self, argv: Sequence[str], known_only: bool = True) -> list[str]:
        return super().__call__(["--loops=*" if argument == "--loops" else argument for argument in argv], known_only)


FLAGS = _Flags("configs/data.py:paper")
for _name, _help in {
    "videos": "Folder of videos (searched to any depth), or a glob.",
    "data_dir": "Folder for the data set, the report and the cache.",
    "holdout": "Glob of the videos (name or path) of the test split; by default a tenth of them, by content.",
    "keep": "Glob of the videos (name or path) whose clips are accepted whatever speaks against them.",
    "shots": "Table of parts of videos, used instead of those that cuts and fades divide: columns file, from, to (s).",
    "loops": "Glob of the videos (name or path) that are seamless loops, played on past their end; bare: all.",
}.items():
    cli.DEFINE_path(_name, None, _help, flag_values=FLAGS)
flags.DEFINE_bool(
    "exact", False, "Variant procedural_exact: adds the exact motion in the .npz beside each video.", flag_values=FLAGS
)
config_flags.DEFINE_config_file(
    "config", None, "Sizes, flow and filters; without it configs/data.py:paper.", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    logging.getLogger().setLevel(logging.ERROR)  # Beam and TFDS tell what a user has no use for
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="apache_beam|tensorflow_datasets")
    if FLAGS.data_dir:
        cache = Path(FLAGS.data_dir).absolute() / ".cache" / "jax"
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    from data_pipeline import dataset, pipeline  # reads the settings above, here and in Beam's processes

    path = dataset.build(
        FLAGS.videos,
        FLAGS.data_dir,
        FLAGS.config,
        holdout=FLAGS.holdout,
        loops=FLAGS.loops,
        keep=FLAGS.keep,
        shots=FLAGS.shots,
        exact=FLAGS.exact,
        options=pipeline.parse_options(arguments),
    )
    print(path)


if __name__ == "__main__":
    cli.run(main, FLAGS)
