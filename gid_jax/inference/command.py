"""What `animate` and `interact` share: the flags of sampling, and the photo and bundle that they name."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from gid_jax import cli, files
from gid_jax.diffusion.samplers import METHODS
from gid_jax.errors import UserError
from gid_jax.inference import generate
from gid_jax.inference.bundle import Bundle, load_bundle
from gid_jax.inference.photo import read_photo_and_size
from gid_jax.streams import LAST_SEED

DEMO = Path(__file__).parent / "demo"
"""The bundle that comes with the project: launch/train_demo.sh made it."""


def define_flags(values: flags.FlagValues) -> None:
    cli.DEFINE_path("out", None, "file to write", flag_values=values)
    cli.DEFINE_path(
        "bundle", str(DEMO), "trained models: a folder that gid_jax.export made; or the demo's", flag_values=values
    )
    flags.DEFINE_integer(
        "seed", 0, "another seed, another motion", lower_bound=0, upper_bound=LAST_SEED, flag_values=values
    )
    flags.DEFINE_integer(
        "steps", generate.NUM_STEPS, "sampling steps", lower_bound=1, upper_bound=1000, flag_values=values
    )
    flags.DEFINE_enum("method", "ddim", METHODS, "sampler; dpmpp_2m needs far fewer steps", flag_values=values)
    cli.DEFINE_float(
        "guidance", generate.GUIDANCE, "classifier-free guidance w; 0 is none", lower_bound=0.0, flag_values=values
    )
    cli.DEFINE_float(
        "magnify",
        1.0,
        "how many times as far everything moves",
        lower_bound=-1e6,
        upper_bound=1e6,  # float32 holds it
        flag_values=values,
    )
    flags.DEFINE_boolean("loop", False, "motion without a seam: it can be repeated", flag_values=values)
    flags.DEFINE_enum(
        "loop_method",
        "closed",
        generate.LOOPS,
        "how --loop gets there: by the nearest motion without a seam, or by guidance of the clean latents, or of them "
        "through the network as the paper has it",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "longest_side",
        1280,
        "shrink a larger photo to this many pixels; 0 keeps its size",
        lower_bound=0,
        flag_values=values,
    )


def check_outputs(outputs: Mapping[str, Sequence[Path]], arguments: list[str], values: flags.FlagValues) -> None:
    """Raises UserError where one of the `outputs`, by flag, is the photo, a file of the bundle or another one."""
    bundle = Path(values.bundle)
    inputs = {"the photo": map(Path, arguments), "--bundle": bundle.iterdir() if bundle.is_dir() else ()}
    files.check_apart(inputs, outputs)


def read_inputs(arguments: list[str], values: flags.FlagValues) -> tuple[np.ndarray, Bundle]:
    """The photo [h, w, 3] that the one argument names, and the bundle of `--bundle`. Raises UserError."""
    if len(arguments) != 1:
        raise UserError(f"give one picture, not {len(arguments)}: PHOTO --out=...")
    photo, (height, width) = read_photo_and_size(arguments[0], values.longest_side)
    bundle = load_bundle(values.bundle)
    if photo.shape[:2] != (height, width) and values["longest_side"].using_default_value:
        sizes = f"{width} x {height} shrunk to {photo.shape[1]} x {photo.shape[0]}"
        print(f"{arguments[0]}: {sizes}; --longest_side=0 keeps its size", file=sys.stderr)
    return photo, bundle


def predict(photo: np.ndarray, bundle: Bundle, values: flags.FlagValues) -> np.ndarray:
    """The photo's spectral volume [k, H, W, 4] under the flags of sampling."""
    return generate.predict_spectrum(
        bundle,
        photo,
        seed=values.seed,
        num_steps=values.steps,
        guidance=values.guidance,
        method=values.method,
        loop=values.loop_method if values.loop else None,
    )
