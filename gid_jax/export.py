"""Trained stages to one folder for inference: averaged weights, model arguments and statistics.

    python -m gid_jax.export --vae=WORKDIR --denoiser=WORKDIR --renderer=WORKDIR --out=BUNDLE

--denoiser is the workdir of stage 3 (coordinated) or, for independent slices, of stage 2, or of configs/volume.py.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from gid_jax import cli
from gid_jax.checkpoints.checkpoint import Stage, load_stage
from gid_jax.errors import UserError
from gid_jax.files import check_apart
from gid_jax.inference.bundle import Bundle, check_target, flatten, save_bundle
from gid_jax.tasks.denoiser import full_params
from gid_jax.tasks.renderer import renderer_params

FLAGS = flags.FlagValues()
cli.DEFINE_path("vae", None, "workdir of stage 1", flag_values=FLAGS)
cli.DEFINE_path("denoiser", None, "workdir of stage 3, or of stage 2", flag_values=FLAGS)
cli.DEFINE_path("renderer", None, "workdir of stage 4", flag_values=FLAGS)
cli.DEFINE_path("out", None, "folder to write; a bundle there is replaced", flag_values=FLAGS)
flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "of the weights on disk", flag_values=FLAGS)

TASKS = {"vae": ("vae",), "denoiser": ("denoiser", "coordinated", "volume"), "renderer": ("renderer",)}


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; everything is given by flags")
    for name in (*TASKS, "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    workdirs = {part: str(FLAGS[part].value) for part in TASKS}
    check_apart({f"--{part}": [Path(workdir)] for part, workdir in workdirs.items()}, {"--out": [Path(FLAGS.out)]})
    check_target(FLAGS.out)
    stages = {part: load_stage(workdirs[part], tasks) for part, tasks in TASKS.items()}
    bundle = make_bundle(stages)
    save_bundle(bundle, FLAGS.out, FLAGS.dtype)
    sizes = ", ".join(f"{part} {_count(params) / 1e6:.2f} M" for part, params in bundle.params.items())
    print(f"{FLAGS.out}: {bundle.width} x {bundle.height}, {bundle.num_frequencies} frequencies; parameters: {sizes}")


def make_bundle(stages: dict[str, Stage]) -> Bundle:
    """The bundle of three stages. Raises UserError where they do not belong together."""
    vae, denoiser, renderer = (stages[part] for part in TASKS)
    for name in ("width", "height"):
        if vae.config[name] != denoiser.config[name]:
            raise UserError(
                f"--vae and --denoiser differ in {name} ({vae.config[name]} and {denoiser.config[name]}); "
                "give the VAE that the denoiser was trained with"
            )
    ours, theirs = flatten(vae.params), flatten(denoiser.frozen["vae"])
    if ours.keys() != theirs.keys() or not all(np.array_equal(ours[name], theirs[name]) for name in ours):
        raise UserError("--denoiser was trained with another VAE than the one in --vae; give that one's workdir")
    params = {
        "vae": vae.params,
        "denoiser": full_params(denoiser.params, denoiser.frozen),
        "renderer": renderer_params(renderer.params),
    }
    return Bundle(
        models={part: stage.config.model.to_dict() for part, stage in stages.items()},
        params=params,
        scales=np.asarray(denoiser.frozen["scales"], np.float32),
        latent_mean=np.asarray(denoiser.frozen["latent_mean"], np.float32),
        latent_std=np.asarray(denoiser.frozen["latent_std"], np.float32),
        width=denoiser.config.width,
        height=denoiser.config.height,
        num_frequencies=denoiser.config.num_frequencies,
        schedule=denoiser.config.schedule.to_dict(),
        prediction=denoiser.config.prediction,
        normalization=denoiser.config.normalization,
        provenance={
            part: {"task": stage.config.task, "steps": int(stage.step), "parameters": _count(params[part])}
            for part, stage in stages.items()
        },
    )


def _count(params: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


if __name__ == "__main__":
    cli.run(main, FLAGS)
