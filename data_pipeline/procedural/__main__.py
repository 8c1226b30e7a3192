"""Renders swaying scenes with exact motion: plants, grass, vines, lanterns, candle flames, and cloth to test on.

    python -m data_pipeline.procedural --out=DIR --clips=N

leaves clip_00000.mp4, clip_00000.npz, ... in DIR. With --split=all the last eighth of the clips (at least one) come
from the test split and are called test_00000 and so on; one of eight shows cloth, which no training clip does.
Beside a test clip lies its first frame as a larger PNG, a picture to animate. Clips that are already there are kept, so
that an interrupted run continues.
"""

from pathlib import Path

from absl import flags

from data_pipeline.procedural.clip import STRONGEST
from data_pipeline.procedural.folder import is_there, orders, render
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_folder
from gid_jax.streams import LAST_SEED

FLAGS = flags.FlagValues()
cli.DEFINE_path("out", None, "folder for the clips", flag_values=FLAGS)
flags.DEFINE_integer("clips", 40, "how many clips", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("width", 128, "width in px, even", lower_bound=32, flag_values=FLAGS)
flags.DEFINE_integer("height", 80, "height in px, even", lower_bound=32, flag_values=FLAGS)
flags.DEFINE_integer("frames", 160, "frames of each clip at 30 fps", lower_bound=150, flag_values=FLAGS)
flags.DEFINE_integer(
    "seed", 0, "other seeds give other scenes", lower_bound=0, upper_bound=LAST_SEED, flag_values=FLAGS
)
flags.DEFINE_float("wind", 1.0, "times the usual strength, at most 3", flag_values=FLAGS)
flags.DEFINE_enum("split", "all", ["train", "test", "all"], "which scenes", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag; write --out=DIR --clips=N")
    if not FLAGS.out:
        raise UserError("--out: name the folder for the clips")
    if FLAGS.width % 2 or FLAGS.height % 2:
        raise UserError(f"--width={FLAGS.width} --height={FLAGS.height}: H.264 video needs even sizes")
    if not 0 < FLAGS.wind <= STRONGEST:
        raise UserError(f"--wind={FLAGS.wind:g}: give more than 0 and at most {STRONGEST:g}")
    size = FLAGS.frames, FLAGS.height, FLAGS.width
    wanted = orders(Path(FLAGS.out), FLAGS.clips, FLAGS.split, FLAGS.seed, size, FLAGS.wind)
    check_folder(FLAGS.out)
    missing = [order for order in wanted if not is_there(order)]
    if missing:
        render(missing, len(wanted))


if __name__ == "__main__":
    cli.run(main, FLAGS)
