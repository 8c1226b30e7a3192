"""Stage 4: the image-based renderer, from pairs of frames and the flow between them."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gid_jax.metrics import lpips
from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer
from gid_jax.models.vgg import VGG16
from gid_jax.render.splatting import splat_picture
from gid_jax.tasks import losses, pictures
from gid_jax.tasks.task import Batch, Metrics, Task, Tree


class RendererTask(Task):
    """Distance of the rendered frame, given I_0, F_t and W, from I_t: L1, multi-scale gradient consistency and the
    perceptual distance of VGG16's features, weighted by `config.loss`. A weight of 0 leaves the term out.
    """

    kind: ClassVar[Literal["pairs"]] = "pairs"
    shows: ClassVar[Literal["pairs"]] = "pairs"

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        super().__init__(config, scales)
        model = config.model.to_dict()
        self.vgg = Network(lambda rngs: VGG16(dtype=self.dtype, rngs=rngs))
        self.renderer = Network(lambda rngs: Renderer(**model, dtype=self.dtype, remat=config.remat, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        frozen: Tree = {"scales": jnp.asarray(self.scales)}
        if self.config.loss.perceptual:
            vgg_key, key = jax.random.split(key)
            frozen["vgg"] = self.vgg.init(vgg_key)
        return self.renderer.init(key), frozen

    def inherit(self) -> Tree:
        """With the perceptual loss VGG16's weights, those of LPIPS."""
        vgg = {"vgg": lpips.load_weights()["vgg"]} if self.config.loss.perceptual else {}
        return {**super().inherit(), **vgg}

    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        result = self.renderer.bind(params)(batch["image"], batch["motion"], batch["weight"]).astype(jnp.float32)
        terms = {
            "l1": losses.absolute(result, batch["target"]),
            "gradient": losses.multiscale_gradient(result, batch["target"]),
        }
        if self.config.loss.perceptual:
            features = [self.vgg.bind(frozen["vgg"])(lpips.standardise(x)) for x in (result, batch["target"])]
            terms["perceptual"] = losses.features(*features)
        loss = sum((self.config.loss[name] * term for name, term in terms.items()), jnp.zeros(()))
        return loss, {"loss": loss, **terms, "psnr": losses.psnr(result, batch["target"])}

    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """The loss, and for comparison the PSNR of plain splatting (holes filled from I_0) and of I_0 itself."""
        _, metrics = self.loss(params, frozen, batch, key)
        plain = splat_picture(batch["image"], batch["motion"], batch["weight"])
        still = losses.psnr(batch["image"], batch["target"])
        return {**metrics, "psnr_splat": losses.psnr(plain, batch["target"]), "psnr_still": still}

    def pictures(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """`frames`: frame 0, splatted without a network, rendered, and the true frame."""
        image, motion, weight, target = pictures.shown(
            tuple(batch[name] for name in ("image", "motion", "weight", "target"))
        )
        ours = self.renderer.bind(params)(image, motion, weight).astype(jnp.float32)
        return {"frames": pictures.grid([image, splat_picture(image, motion, weight), ours, target])}
