"""Stage 4: the image-based renderer, from pairs of frames and the flow between them."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer
from gid_jax.render.splatting import splat
from gid_jax.tasks import losses
from gid_jax.tasks.task import Batch, Metrics, Task, Tree


class RendererTask(Task):
    """L1 + multi-scale gradient consistency of the rendered frame I_t given I_0, F_t and W."""

    kind: ClassVar[Literal["pairs"]] = "pairs"

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        super().__init__(config, scales)
        model = config.model.to_dict()
        self.renderer = Network(lambda rngs: Renderer(**model, dtype=self.dtype, remat=config.remat, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        return self.renderer.init(key), {"scales": jnp.asarray(self.scales)}

    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        result = self.renderer.bind(params)(batch["image"], batch["motion"], batch["weight"]).astype(jnp.float32)
        l1 = losses.absolute(result, batch["target"])
        gradient = losses.multiscale_gradient(result, batch["target"])
        loss = l1 + gradient
        return loss, {"loss": loss, "l1": l1, "gradient": gradient, "psnr": losses.psnr(result, batch["target"])}

    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """The loss, and for comparison the PSNR of plain splatting (holes filled from I_0) and of I_0 itself."""
        _, metrics = self.loss(params, frozen, batch, key)
        warped, holes = splat(batch["image"], batch["motion"], batch["weight"])
        plain = jnp.where(holes > 0, batch["image"], warped)
        still = losses.psnr(batch["image"], batch["target"])
        return {**metrics, "psnr_splat": losses.psnr(plain, batch["target"]), "psnr_still": still}
