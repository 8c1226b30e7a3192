"""What is trained: one task for each stage, with the loop on one side and the models on the other."""

from ml_collections import ConfigDict

from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError
from gid_jax.motion.normalization import KINDS
from gid_jax.tasks.denoiser import CoordinatedTask, DenoiserTask, VolumeTask
from gid_jax.tasks.renderer import RendererTask
from gid_jax.tasks.task import Task
from gid_jax.tasks.vae import VAETask

TASKS: dict[str, type[Task]] = {
    "vae": VAETask,
    "denoiser": DenoiserTask,
    "coordinated": CoordinatedTask,
    "volume": VolumeTask,
    "renderer": RendererTask,
}


def make_task(config: ConfigDict, statistics: DatasetStatistics) -> Task:
    """The task that `config.task` names, with the scales of the data set. Raises UserError where the two do not fit."""
    if config.task not in TASKS:
        raise UserError(f"config.task={config.task!r} does not exist; there are {', '.join(TASKS)}")
    if config.normalization not in KINDS:
        raise UserError(f"config.normalization={config.normalization!r} does not exist; there are {', '.join(KINDS)}")
    if (config.width, config.height) != (statistics.width, statistics.height):
        raise UserError(
            f"the data set is {statistics.width} x {statistics.height}, the configuration "
            f"{config.width} x {config.height}; choose the preset of that size or build the data set for this one"
        )
    if not 1 <= config.num_frequencies <= len(statistics.scales):
        stored = len(statistics.scales)
        raise UserError(f"config.num_frequencies={config.num_frequencies}: the data set holds 1 to {stored}")
    return TASKS[config.task](config, statistics.scales[: config.num_frequencies])
