"""From a sweep file to runs that are known to be possible: every configuration built before the first is started."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.sweeps import Point
from gid_jax import cli
from gid_jax.errors import UserError

LOGS = "logs"
# Settings that say how a point is run, not what it learns: they may change between two starts.
HOW = ("mesh", "num_workers", "log_every", "eval_every", "eval_batches", "checkpoint_every", "keep_checkpoints")


@dataclasses.dataclass
class Run:
    """A point with its workdir, its settings as gid_jax.train takes them, and how far it is.

    `state` is waiting, running, finished, failed, blocked (what it needs is not to be had) or stopped (it saved, and
    goes on at the next start); `seconds` counts all starts; `note` says why it failed or is blocked.
    """

    point: Point
    workdir: str
    settings: list[str]
    config: ConfigDict
    state: str = "waiting"
    seconds: float = 0.0
    note: str = ""


def load_points(spec: str) -> list[Point]:
    """The points of "FILE[:PRESET]". Raises UserError for a missing file, clashing names, needs that do not exist."""
    path = spec.partition(":")[0]
    points: list[Point] = list(cli.from_file(spec, "get_points"))
    if not points:
        raise UserError(f"{path}: yields no points")
    names: set[str] = set()
    for point in points:
        if not re.fullmatch(r"\w[\w.+-]*", point.name, re.ASCII) or point.name == LOGS:
            raise UserError(f"{path}: a point cannot be called {point.name!r}; use letters, digits and . _ - +")
        if point.name in names:
            raise UserError(f"{path}: two points are called {point.name!r}; give each a name of its own")
        for needed in point.needs.values():
            if needed not in names:
                raise UserError(f"{path}: point {point.name} needs {needed!r}, which does not come before it")
        names.add(point.name)
    return points


def prepare(points: Iterable[Point], workdir: str, common: Sequence[str]) -> list[Run]:
    """A run for each point; `common` are settings "--config.x=v" of all. Raises UserError for the first that
    gid_jax.train would refuse.
    """
    for argument in common:
        if not re.match(r"--config\.[\w.]+=", argument):
            raise UserError(f"unexpected argument {argument!r}: settings of all points are --config.name=value")
    given = {argument.removeprefix("--config.").partition("=")[0] for argument in common}
    runs = []
    for point in points:
        own = {**point.overrides, **{name: f"{workdir}/{needed}" for name, needed in point.needs.items()}}
        if twice := given & own.keys():
            raise UserError(f"--config.{min(twice)}: the sweep sets it for point {point.name}; change the sweep file")
        settings = [*common, *(f"--config.{name}={value}" for name, value in own.items())]
        runs.append(Run(point, f"{workdir}/{point.name}", settings, build_config(point, settings)))
    return runs


def build_config(point: Point, settings: Sequence[str]) -> ConfigDict:
    """The configuration, parsed as gid_jax.train does. Raises UserError where that would."""
    values, arguments = cli.ConfigFlags(), ["", f"--config={point.config}", *settings]
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=arguments)
    try:
        values(arguments)
    except (UserError, flags.Error) as error:
        raise UserError(f"point {point.name}: {error}") from error
    if not values.config.data_dir:
        raise UserError(f"point {point.name}: no data set is named; give all points one with --config.data_dir=DIR")
    return values.config


def look(run: Run) -> None:
    """Marks a run whose checkpoint is at its last step as finished. Raises UserError where the workdir holds a run with
    other settings: nothing is silently mixed.
    """
    from gid_jax.checkpoints.checkpoint import load_config, newest_step

    step = newest_step(run.workdir)
    if step is None:
        return
    earlier = load_config(run.workdir)
    if earlier is None:
        raise UserError(f"{run.workdir}: has checkpoints but no config.json; name another --workdir")
    for name in run.config:
        if name in earlier and name not in HOW:
            _check_unchanged(run, earlier, name)
    run.state = "finished" if step >= run.config.num_steps else "waiting"


def _check_unchanged(run: Run, earlier: ConfigDict, name: str) -> None:
    from gid_jax.tasks.stages import flat

    ours, theirs = flat(run.config[name], name), flat(earlier[name], name)
    if name in run.point.needs:  # the sweep's folder may have moved
        ours, theirs = ({name: os.path.basename(value[name])} for value in (ours, theirs))
    for path in sorted(ours.keys() | theirs.keys()):
        if ours.get(path) != theirs.get(path):
            raise UserError(
                f"{run.workdir}: was trained with {path} = {theirs.get(path)}, the sweep now says {ours.get(path)}; "
                "rename the point or choose another --workdir"
            )
