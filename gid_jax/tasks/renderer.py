"""Stage 4: the image-based renderer, from pairs of frames and the flow between them."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gid_jax.checkpoints import pretrained
from gid_jax.metrics import lpips
from gid_jax.models.discriminator import PatchDiscriminator
from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer
from gid_jax.models.vgg import CONVOLUTIONS, VGG
from gid_jax.render.splatting import splat_picture
from gid_jax.tasks import losses, pictures
from gid_jax.tasks.task import Batch, Metrics, Task, Tree

DISCRIMINATOR = "discriminator"  # its place among the parameters, beside the parts of the renderer


class RendererTask(Task):
    """Distance of the rendered frame, given I_0, F_t and W, from I_t: L1, multi-scale gradient consistency and the
    perceptual distance of VGG's features, weighted by `config.loss`. A weight of 0 leaves the term out.

    With `config.loss.adversarial` a discriminator is trained beside the renderer, in the same step and by the same
    optimiser: the non-saturating loss reaches only the renderer, the discriminator's loss and R1 only the
    discriminator. Without it the parameters are the renderer's alone.
    """

    kind: ClassVar[Literal["pairs"]] = "pairs"
    shows: ClassVar[Literal["pairs"]] = "pairs"
    pretrained_part = "pyramid"

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        super().__init__(config, scales)
        model, adversary = config.model.to_dict(), config.discriminator.to_dict()
        depth = self._vgg_depth()
        self.vgg = Network(lambda rngs: VGG(depth=depth, dtype=self.dtype, rngs=rngs))
        self.renderer = Network(lambda rngs: Renderer(**model, dtype=self.dtype, remat=config.remat, rngs=rngs))
        self.discriminator = Network(lambda rngs: PatchDiscriminator(**adversary, dtype=self.dtype, rngs=rngs))

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        frozen: Tree = {"scales": jnp.asarray(self.scales)}
        if self.config.loss.perceptual:
            vgg_key, key = jax.random.split(key)
            frozen["vgg"] = self.vgg.init(vgg_key)
        if not self.config.loss.adversarial:
            return self.renderer.init(key), frozen
        key, adversary_key = jax.random.split(key)
        return {**self.renderer.init(key), DISCRIMINATOR: self.discriminator.init(adversary_key)}, frozen

    def inherit(self) -> Tree:
        """With the perceptual loss VGG's weights: those of `config.loss.vgg`, or of LPIPS."""
        if not self.config.loss.perceptual:
            return super().inherit()
        if not self.config.loss.vgg:
            return {**super().inherit(), "vgg": lpips.load_weights()["vgg"]}
        shapes = jax.eval_shape(self.vgg.init, jax.random.key(0))
        return {**super().inherit(), "vgg": pretrained.load_whole(shapes, self.config.loss.vgg, "config.loss.vgg")}

    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        result, metrics = self._distance(params, frozen, batch)
        if not self.config.loss.adversarial:
            return metrics["loss"], metrics
        metrics |= self._adversarial(params[DISCRIMINATOR], result, batch)
        weights = {"adversarial": self.config.loss.adversarial, "discriminator": 1.0, "r1": self.config.loss.r1}
        metrics["loss"] += sum(weight * metrics[name] for name, weight in weights.items())
        return metrics["loss"], metrics

    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """The distance, and for comparison the PSNR of plain splatting (holes filled from I_0) and of I_0 itself."""
        _, metrics = self._distance(params, frozen, batch)
        plain = splat_picture(batch["image"], batch["motion"], batch["weight"])
        still = losses.psnr(batch["image"], batch["target"])
        return {**metrics, "psnr_splat": losses.psnr(plain, batch["target"]), "psnr_still": still}

    def pictures(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """`frames`: frame 0, splatted without a network, rendered, and the true frame."""
        image, motion, weight, target = pictures.shown(
            tuple(batch[name] for name in ("image", "motion", "weight", "target"))
        )
        ours = self.renderer.bind(renderer_params(params))(image, motion, weight).astype(jnp.float32)
        return {"frames": pictures.grid([image, splat_picture(image, motion, weight), ours, target])}

    def _distance(self, params: Tree, frozen: Tree, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The rendered frame, and its weighted distance from the true one as `loss`, beside the parts of it."""
        renderer = self.renderer.bind(renderer_params(params))
        result = renderer(batch["image"], batch["motion"], batch["weight"]).astype(jnp.float32)
        terms = {
            "l1": losses.absolute(result, batch["target"]),
            "gradient": losses.multiscale_gradient(result, batch["target"]),
        }
        if self.config.loss.perceptual:
            features = [self.vgg.bind(frozen["vgg"])(lpips.standardise(x)) for x in (result, batch["target"])]
            terms["perceptual"] = losses.features(*features)
        loss = sum((self.config.loss[name] * term for name, term in terms.items()), jnp.zeros(()))
        return result, {"loss": loss, **terms, "psnr": losses.psnr(result, batch["target"])}

    def _adversarial(self, params: Tree, result: jax.Array, batch: Batch) -> Metrics:
        """`adversarial`, for the renderer; `discriminator` and `r1`, for the discriminator of these `params`."""
        image, real = batch["image"], batch["target"]
        judge = self.discriminator.bind(params)
        fixed_judge = self.discriminator.bind(jax.lax.stop_gradient(params))
        return {
            "adversarial": losses.generator_adversarial(fixed_judge(image, result)),
            "discriminator": losses.discriminator_adversarial(
                judge(image, real), judge(image, jax.lax.stop_gradient(result))
            ),
            "r1": losses.r1(lambda frame: judge(image, frame), real),
        }

    def _vgg_depth(self) -> int:
        """Of the network of the perceptual loss: 16, or what its file holds."""
        setting = self.config.loss
        if not (setting.perceptual and setting.vgg):
            return 16
        names = pretrained.read(setting.vgg, "config.loss.vgg")
        return 19 if f"convs/{sum(CONVOLUTIONS[19]) - 1}/kernel" in names else 16


def renderer_params(params: Tree) -> Tree:
    """Those of the renderer among all that are trained."""
    return {name: value for name, value in params.items() if name != DISCRIMINATOR}
