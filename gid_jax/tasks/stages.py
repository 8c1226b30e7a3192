"""The hand-over from an earlier stage: loaded from its workdir, and compared with what this stage expects."""

import json
from typing import Any

from ml_collections import ConfigDict

from gid_jax.checkpoints.checkpoint import Stage, load_stage
from gid_jax.errors import UserError

SHARED = ("width", "height", "normalization")


def load_earlier(config: ConfigDict, key: str, task: str) -> Stage:
    """The stage in the workdir `config[key]`, which must have trained `task` at this size and number of frequencies.

    A VAE codes each slice by itself: one of more frequencies serves too.
    """
    workdir = config[key]
    if not workdir:
        raise UserError(f"config.{key} is empty: name the workdir of the {task} stage with --config.{key}=DIR")
    stage = load_stage(workdir, (task,))
    for name in SHARED:
        check_alike(config, name, stage, name, workdir)
    if task != "vae" or stage.config.num_frequencies < config.num_frequencies:
        check_alike(config, "num_frequencies", stage, "num_frequencies", workdir)
    return stage


def check_alike(config: ConfigDict, name: str, stage: Stage, their_name: str, workdir: str, ignore: str = "") -> None:
    """Raises UserError, naming the first difference, unless `config[name]` equals the stage's `their_name`."""
    ours, theirs = flat(config[name], name), flat(stage.config[their_name], name)
    for path in sorted(ours.keys() | theirs.keys()):
        if path.split(".")[-1] != ignore and ours.get(path) != theirs.get(path):
            raise UserError(
                f"config.{path} is {ours.get(path)}, but {workdir} was trained with {theirs.get(path)}; "
                "set it alike or name another workdir"
            )


def flat(value: Any, name: str) -> dict[str, Any]:
    """Dotted paths and plain values of a part of a configuration, alike whether or not it went through JSON."""
    if isinstance(value, ConfigDict):
        return {path: x for key in value for path, x in flat(value[key], f"{name}.{key}").items()}
    return {name: json.loads(json.dumps(value))}
