"""One HTML page on which a picture can be dragged, released and moved by the wind.

    python -m gid_jax.interact PHOTO --out=PAGE.html [--bundle=BUNDLE]

The page needs no network: photo, motion and program are inside. Any current browser with WebGL2 shows it. Without
--bundle the demo's models are used, which came of an hour on a CPU.
"""

from pathlib import Path

from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_file, write_text
from gid_jax.inference import command
from gid_jax.viewer.page import build_page

FLAGS = flags.FlagValues()
command.define_flags(FLAGS)


def main(arguments: list[str]) -> None:
    if not FLAGS.out:
        raise UserError("--out is missing: name the page, such as --out=page.html")
    out = check_file(FLAGS.out, (".html", ".htm"))
    command.check_outputs({"--out": [out]}, arguments, FLAGS)
    photo, bundle = command.read_inputs(arguments, FLAGS)
    spectrum = FLAGS.magnify * command.predict(photo, bundle, FLAGS)
    write_text(out, build_page(photo, spectrum, Path(arguments[0]).stem))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, open it in a browser")


if __name__ == "__main__":
    cli.run(main, FLAGS)
