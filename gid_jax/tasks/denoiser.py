"""Stages 2 and 3: denoising of the whitened latents of spectra, on single slices and on whole volumes."""

import functools
import itertools
from collections.abc import Iterator
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from gid_jax import placement, sampling
from gid_jax.diffusion import preconditioning, prediction
from gid_jax.diffusion.schedule import scaled_linear
from gid_jax.errors import UserError
from gid_jax.models.denoiser import Denoiser
from gid_jax.models.network import Network
from gid_jax.models.unet import FREQUENCY_ATTENTION
from gid_jax.models.vae import VAE
from gid_jax.motion.normalization import normalize
from gid_jax.progress import progress
from gid_jax.tasks import pictures
from gid_jax.tasks.stages import check_alike, load_earlier
from gid_jax.tasks.task import Batch, Metrics, Task, Tree
from gid_jax.trees import partition, path_name

PICTURE_STEPS = 12  # of the solver, for the pictures of a run


class DenoiserTask(Task):
    """Mean squared error of the prediction (eq. 3: of the noise) at uniform t, one frequency slice at a time.

    `config.prediction` is "noise" or "velocity" (`gid_jax.diffusion.prediction`). With `config.model.variance_head` the
    features also learn, from the likelihood of the clean latents, how strongly each place moves, and the network is
    preconditioned by it (`gid_jax.diffusion.preconditioning`). Phases being random, the mean squared error alone says
    so in a second moment only, which takes far more examples to learn.

    The picture's features are replaced by zeros, the null condition, with probability `config.condition_dropout`.
    """

    kind: ClassVar[Literal["slices", "volumes"]] = "slices"
    shows: ClassVar[Literal["volumes"]] = "volumes"
    pretrained_part = "unet"

    def __init__(self, config: ConfigDict, scales: np.ndarray):
        super().__init__(config, scales)
        if config.prediction not in prediction.KINDS:
            kinds = ", ".join(prediction.KINDS)
            raise UserError(f"config.prediction={config.prediction!r} does not exist; there are {kinds}")
        if config.model.variance_head and config.prediction != "velocity":
            raise UserError('config.model.variance_head needs config.prediction="velocity"')
        model, vae_model = config.model.to_dict(), config.vae_model.to_dict()
        self.vae = Network(lambda rngs: VAE(**vae_model, dtype=self.dtype, rngs=rngs))
        self.denoiser = Network(lambda rngs: Denoiser(**model, dtype=self.dtype, remat=config.remat, rngs=rngs))
        self.schedule = scaled_linear(**config.schedule)

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        vae_key, key = jax.random.split(key)
        channels = self.config.vae_model.latent_channels
        frozen = {
            "scales": jnp.asarray(self.scales),
            "vae": self.vae.init(vae_key),
            "latent_mean": jnp.zeros(channels),
            "latent_std": jnp.ones(channels),
        }
        return self.denoiser.init(key), frozen

    def inherit(self) -> Tree:
        """The VAE and the scales that it was trained with; whitening is still to be computed."""
        stage = load_earlier(self.config, "vae", "vae")
        check_alike(self.config, "vae_model", stage, "model", self.config.vae)
        channels = self.config.vae_model.latent_channels
        return {
            "scales": stage.frozen["scales"][: self.config.num_frequencies],
            "vae": stage.params,
            "latent_mean": np.zeros(channels, np.float32),
            "latent_std": np.ones(channels, np.float32),
        }

    def prepare(self, frozen: Tree, batches: Iterator[Batch]) -> Tree:
        """Whitening: mean and standard deviation of each latent channel over `whitening_batches` training batches."""
        moments = jax.jit(self._moments)
        count = self.config.whitening_batches
        sums = [
            jax.device_get(moments(frozen, batch))
            for batch in progress(itertools.islice(batches, count), name="whitening statistics", total=count)
        ]
        first, second = np.mean(np.asarray(sums, np.float64), axis=0)
        std = np.sqrt(np.maximum(second - first**2, 1e-12))
        return {**frozen, "latent_mean": first.astype(np.float32), "latent_std": std.astype(np.float32)}

    def _moments(self, frozen: Tree, batch: Batch) -> tuple[jax.Array, jax.Array]:
        latents, _, _ = self._latents(frozen, batch)
        moments = jnp.mean(latents, axis=(0, 1, 2)), jnp.mean(jnp.square(latents), axis=(0, 1, 2))
        return placement.constrain(moments, placement.REPLICATED)

    def loss(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        time_key, drop_key, key = jax.random.split(key, 3)
        volumes = (len(batch["image"]),)
        time = jax.random.randint(time_key, volumes, 0, self.schedule.num_steps)
        kept = jax.random.bernoulli(drop_key, 1 - self.config.condition_dropout, volumes)
        denoiser = self.denoiser.bind(full_params(params, frozen))
        features = denoiser.encode_image(batch["image"])
        loss, surprise = self._error(denoiser, features, frozen, batch, time, kept, key)
        if not self.learns_variance:
            return loss, {"loss": loss}
        return loss + surprise, {"loss": loss, "surprise": surprise}

    def evaluate(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> Metrics:
        """The error at evenly spread t with the picture, and as `loss_null` without it: what the picture is worth."""
        volumes = len(batch["image"])
        time = (jnp.arange(volumes) * self.schedule.num_steps + self.schedule.num_steps // 2) // volumes
        with_picture = jnp.ones(volumes, bool)
        denoiser = self.denoiser.bind(full_params(params, frozen))
        features = denoiser.encode_image(batch["image"])
        error = functools.partial(self._error, denoiser, features, frozen, batch, time)
        same_noise = jax.random.clone(key)
        return {"loss": error(with_picture, key)[0], "loss_null": error(~with_picture, same_noise)[0]}

    def pictures(self, params: Tree, frozen: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Sampled motion of held-out pictures beside the true one, `pictures.of_motion`."""
        image, spectrum = batch["image"], batch["spectrum"]
        b, k, h, w, _ = spectrum.shape
        noise = jax.random.normal(key, (b, k, h // 4, w // 4, self.config.vae_model.latent_channels))
        return pictures.of_motion(image, spectrum, self.sample(params, frozen, image, noise, PICTURE_STEPS))

    def sample(self, params: Tree, frozen: Tree, image: jax.Array, noise: jax.Array, num_steps: int) -> jax.Array:
        """Spectra [b, k, h, w, 4] in px of pictures [b, h, w, 3], from noise [b, k, h/4, w/4, c], by DPM-Solver++."""
        model = sampling.MotionModel(
            denoiser=self.denoiser,
            denoiser_params=full_params(params, frozen),
            vae=self.vae,
            vae_params=frozen["vae"],
            schedule=self.schedule,
            prediction=self.config.prediction,
            latent_mean=frozen["latent_mean"],
            latent_std=frozen["latent_std"],
            scales=frozen["scales"],
            normalization=self.config.normalization,
        )
        return sampling.sample_spectra(
            model,
            model.encode_image(image),
            noise,
            num_steps=num_steps,
            method="dpmpp_2m",
            guided=sampling.classifier_free(0.0),
        )

    @property
    def learns_variance(self) -> bool:
        return self.config.model.variance_head

    def _error(
        self,
        denoiser: Denoiser,
        features: jax.Array,
        frozen: Tree,
        batch: Batch,
        time: jax.Array,
        kept: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Mean squared error of the prediction, and the negative log likelihood of the clean latents under the variance
        that the features tell, per value and up to a constant.

        `time` [b] and `kept` [b] (is the picture shown?) are per volume.
        """
        latents, frequency, num_slices = self._latents(frozen, batch)
        latents = (latents - _per_channel(frozen["latent_mean"])) / _per_channel(frozen["latent_std"])
        noise = self._noise(key, latents.shape, num_slices)
        features = features * kept.astype(jnp.float32).reshape(-1, 1, 1, 1)
        features, time = (placement.spread(x, num_slices) for x in (features, time))
        noisy = self.schedule.add_noise(latents, noise, time)
        noisy, features = placement.constrain((noisy, features), self._placement)
        log_variance = denoiser.log_variance(features, frequency)
        surprise = 0.5 * jnp.mean(log_variance + jnp.square(latents) * jnp.exp(-log_variance))

        def network(z: jax.Array) -> jax.Array:
            return denoiser(z, features, time, frequency, num_slices=num_slices)

        if self.config.model.variance_head:
            variance = jnp.exp(jax.lax.stop_gradient(log_variance))
            predicted = preconditioning.velocity(network, self.schedule, noisy, variance, time)
        else:
            predicted = network(noisy)
        wanted = prediction.target(self.config.prediction, self.schedule, latents, noise, time)
        return jnp.mean(jnp.square(predicted - wanted)), surprise

    def encode(self, frozen: Tree, spectrum: jax.Array) -> jax.Array:
        """Latents [k, h/4, w/4, c] of a volume [k, h, w, 4] in px, as `config.cache_latents` keeps them."""
        return self._encode(frozen, spectrum, jnp.arange(len(spectrum)))

    def _latents(self, frozen: Tree, batch: Batch) -> tuple[jax.Array, jax.Array, int]:
        """Latents [n, h/4, w/4, c], their frequencies [n], slices per picture; those of the batch if it has them."""
        values, frequency, num_slices = self._slices(batch)
        return values if "latents" in batch else self._encode(frozen, values, frequency), frequency, num_slices

    def _encode(self, frozen: Tree, spectrum: jax.Array, frequency: jax.Array) -> jax.Array:
        """Latents [n, h/4, w/4, c] of slices [n, h, w, 4] in px: the posterior's mean, not whitened."""
        normalized = normalize(spectrum, frozen["scales"][frequency], self.config.normalization)
        mean, _ = self.vae.bind(frozen["vae"]).encode(placement.constrain(normalized, self._placement))
        return jax.lax.stop_gradient(mean)

    _placement = placement.BATCH

    def _slices(self, batch: Batch) -> tuple[jax.Array, jax.Array, int]:
        """Slices [n, h, w, 4], or their latents; their frequencies [n]; slices per picture."""
        return batch["latents" if "latents" in batch else "spectrum"], batch["frequency"], 1

    def _noise(self, key: jax.Array, shape: tuple[int, ...], num_slices: int) -> jax.Array:
        """One draw for each value, the same whatever the mesh."""
        return jax.random.normal(key, shape)


class VolumeTask(DenoiserTask):
    """The same error on whole volumes, all K slices at the same t, from scratch: for a `joint` network."""

    kind: ClassVar[Literal["volumes"]] = "volumes"
    _placement = placement.SLICES

    def _slices(self, batch: Batch) -> tuple[jax.Array, jax.Array, int]:
        values = batch["latents" if "latents" in batch else "spectrum"]
        volumes, count = values.shape[:2]
        frequency = jnp.broadcast_to(jnp.arange(count)[None], (volumes, count))
        return placement.join(values), placement.join(frequency), count

    def _noise(self, key: jax.Array, shape: tuple[int, ...], num_slices: int) -> jax.Array:
        return placement.join(jax.random.normal(key, (shape[0] // num_slices, num_slices, *shape[1:])))


class CoordinatedTask(VolumeTask):
    """The same error on whole volumes; trains the frequency attention on the frozen base.

    `params` hold only the new layers: nothing is differentiated, averaged or optimised for the base. With
    `config.freeze_base=False` they hold all of the denoiser, which starts as the base.
    """

    @property
    def learns_variance(self) -> bool:
        return super().learns_variance and not self.config.freeze_base  # the encoder does

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        params, frozen = super().init(key)
        if not self.config.freeze_base:
            return params, frozen
        params, base = partition(params, FREQUENCY_ATTENTION)
        return params, {**frozen, "base": base}

    def inherit(self) -> Tree:
        """The base, its VAE, scales and whitening, as stage 2 left them."""
        stage = load_earlier(self.config, "base", "denoiser")
        for name in ("vae_model", "prediction"):
            check_alike(self.config, name, stage, name, self.config.base)
        check_alike(self.config, "model", stage, "model", self.config.base, ignore=FREQUENCY_ATTENTION)
        if self.config.vae:
            vae = load_earlier(self.config, "vae", "vae").params
            same = jax.tree.map(np.array_equal, vae, stage.frozen["vae"])
            if not all(jax.tree.leaves(same)):
                raise UserError(f"config.vae={self.config.vae}: the base has another VAE; leave config.vae empty")
        return {**stage.frozen, "base": stage.params} if self.config.freeze_base else stage.frozen

    def start_from(self, shapes: Tree) -> Tree | None:
        """Of an unfrozen base all that it has; its new layers start fresh, as do those of a frozen one."""
        if self.config.pretrained:
            raise UserError("config.pretrained is for stages 1, 2 and 4: stage 3 starts from config.base")
        if self.config.freeze_base:
            return None
        stored = traverse_util.flatten_dict(load_earlier(self.config, "base", "denoiser").params, sep="/")
        return jax.tree_util.tree_map_with_path(lambda path, _: stored.get(path_name(path)), shapes)

    def prepare(self, frozen: Tree, batches: Iterator[Batch]) -> Tree:
        return frozen


def full_params(params: Tree, frozen: Tree) -> Tree:
    """Parameters of the whole denoiser: the trained ones and, in stage 3, the frozen base."""
    return _merge(params, frozen["base"]) if "base" in frozen else params


def _merge(first: Tree, second: Tree) -> Tree:
    both = {name: _merge(first[name], second[name]) for name in first.keys() & second.keys()}
    return {**first, **second, **both}


def _per_channel(vector: jax.Array) -> jax.Array:
    return vector.reshape(1, 1, 1, -1)
