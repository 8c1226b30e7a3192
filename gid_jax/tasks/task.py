"""The seam between the loop and the science: what a stage trains, on which batches, against which loss."""

import abc
from collections.abc import Iterator
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gid_jax.checkpoints import pretrained
from gid_jax.trees import Tree

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class Task(abc.ABC):
    """One stage of training. All but `inherit` and `prepare` are pure and run inside `jax.jit`.

    `frozen` holds what the stage needs and does not train, always `scales` float32 [k], s_k of the adaptive
    normalisation in px. Batches are those of `gid_jax.data.loader` for `kind`.
    """

    kind: ClassVar[Literal["slices", "volumes", "pairs"]]
    shows: ClassVar[Literal["volumes", "pairs"]]  # the kind of batch that `pictures` takes
    pretrained_part: ClassVar[str] = ""  # the network among the parameters that `config.pretrained` is for; "": all

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        self.config = config
        self.scales = np.asarray(scales, np.float32)
        self.dtype = jnp.dtype(config.compute_dtype)

    @abc.abstractmethod
    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh parameters, and frozen values of the right shapes, for which `inherit` gives the true ones."""

    def inherit(self) -> Tree:
        """The frozen values of a new run, numpy, from earlier stages. Raises UserError for a missing or unlike one."""
        return {"scales": self.scales}

    def prepare(self, frozen: Tree, batches: Iterator[Batch]) -> Tree:
        """Completes the frozen values of a new run from training data."""
        return frozen

    def start_from(self, shapes: Tree) -> Tree | None:
        """Parameters that a new run starts from: arrays where some exist already, None at the other leaves of `shapes`.

        None at all where every parameter starts fresh. Reports what became of `config.pretrained`.
        """
        if not self.config.pretrained:
            return None
        values, report = pretrained.merge(shapes, self.config.pretrained, self.pretrained_part)
        if jax.process_index() == 0:
            print(report)
        return values

    @abc.abstractmethod
    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The scalar to be minimised and what to log of it, among them itself as `loss`."""

    @abc.abstractmethod
    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """Metrics of a held-out batch with the averaged parameters."""

    @abc.abstractmethod
    def pictures(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """What to look at while training: by name uint8 [h, w, 3], of a few held-out examples (`shows`)."""
