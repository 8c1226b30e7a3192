"""FID, KID and FVD between two folders of videos or pictures, by whatever method they were made.

    python -m gid_jax.distances REAL FAKE [--windows=16,32] [--crop=256x128] [--out=DIR]

A folder holds videos (mp4, webm, gif, ...) or folders of numbered PNGs, or else pictures. REAL may be statistics that
--save_stats wrote. What each figure needs is fetched by `python -m gid_jax.weights`. Beside each stand its 95 %
interval (bootstrap over clips) and the distance between two halves of REAL. Features are kept by content in
$GID_JAX_CACHE, so that another FAKE costs only itself. --out gets distances.json.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_file, write_text

if TYPE_CHECKING:
    from gid_jax.evaluation.clip_features import Protocol

FLAGS = flags.FlagValues()
flags.DEFINE_list("windows", None, "frames of the clips that FVD compares; 16,32 by default", flag_values=FLAGS)
flags.DEFINE_string("crop", None, "WIDTHxHEIGHT: only the centre of every frame counts", flag_values=FLAGS)
flags.DEFINE_enum(
    "resize", "clean", ["clean", "legacy"], "how Inception's pictures are resized: clean-fid's or TensorFlow 1's way",
    flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_integer("frame_step", 5, "FID and KID take every so many frames", lower_bound=1, flag_values=FLAGS)
cli.DEFINE_path("out", None, "folder for distances.json", flag_values=FLAGS)
cli.DEFINE_path("save_stats", None, "file.npz to write REAL's statistics to", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise UserError(f"give two folders, not {len(arguments)}: REAL FAKE")
    real, fake = map(Path, arguments)

    from gid_jax.evaluation import clip_features, compare, saved_statistics

    protocol = _protocol()
    stats = check_file(FLAGS.save_stats, [".npz"], "--save_stats") if FLAGS.save_stats else None
    out = check_file(Path(FLAGS.out) / "distances.json") if FLAGS.out else None
    saved = saved_statistics.load(real) if real.suffix == ".npz" else None
    if saved and stats:
        raise UserError(f"--save_stats={stats}: {real} holds statistics already; give the folder of REAL")

    fakes = clip_features.open_folder(fake, protocol)
    reals = saved or clip_features.open_folder(real, protocol)
    chosen = clip_features.measures(protocol, videos=not fakes.pictures)
    if not chosen:
        raise UserError("no network is there; get them: python -m gid_jax.weights fid-inception i3d-kinetics400")
    described = compare.describe(protocol, chosen) | fakes.describe()
    if isinstance(reals, saved_statistics.Saved):
        reals.check(described)
    else:
        if reals.describe() != fakes.describe():
            raise UserError(
                f"{fake} holds {fakes.said}, {real} {reals.said}; both must be of one kind and size: "
                "--crop=WIDTHxHEIGHT takes the same centre of all"
            )
        clip_features.measure(reals, protocol, chosen)
        if stats:
            saved_statistics.save(stats, reals, described)
    clip_features.measure(fakes, protocol, chosen)
    result = compare.compare(reals, fakes, chosen, protocol)
    print("\n".join(compare.table(result)))
    if out:
        write_text(out, json.dumps(result, indent=1) + "\n")
        print(out)


def _protocol() -> "Protocol":
    from gid_jax.evaluation.clip_features import Protocol
    from gid_jax.models.i3d import FEWEST_FRAMES

    windows = FLAGS.windows or [str(window) for window in Protocol.windows]
    if not all(window.isdecimal() and int(window) >= FEWEST_FRAMES for window in windows):
        raise UserError(f"--windows={','.join(windows)}: give numbers of frames, {FEWEST_FRAMES} or more, as in 16,32")
    crop = re.fullmatch(r"(\d+)x(\d+)", FLAGS.crop or "1x1")
    if crop is None or not all(map(int, crop.groups())):
        raise UserError(f"--crop={FLAGS.crop}: give WIDTHxHEIGHT, as in 256x128")
    return Protocol(
        windows=tuple(sorted({int(window) for window in windows})),
        all_windows=bool(FLAGS.windows),
        crop=(int(crop[1]), int(crop[2])) if FLAGS.crop else None,
        resize=FLAGS.resize,
        frame_step=FLAGS.frame_step,
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
