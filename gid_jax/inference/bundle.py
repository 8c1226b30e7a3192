"""A bundle: the folder with all that inference needs, independent of training.

`bundle.json` holds the version, model arguments, scales, whitening, size, provenance and the sha256 of the other files;
`vae.safetensors`, `denoiser.safetensors` and `renderer.safetensors` hold the weights, named by their paths joined
with "/"; in float16 they take half the space, and are used in float32.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gid_jax import files
from gid_jax.diffusion.prediction import Prediction
from gid_jax.errors import UserError
from gid_jax.models.denoiser import Denoiser
from gid_jax.models.network import Network, Params
from gid_jax.models.renderer import Renderer
from gid_jax.models.unet import FREQUENCY_ATTENTION
from gid_jax.models.vae import VAE
from gid_jax.motion.normalization import Normalization
from gid_jax.trees import partition

VERSION = 1
FILE_NAME = "bundle.json"
MODELS = {"vae": VAE, "denoiser": Denoiser, "renderer": Renderer}


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """Everything between a photo and its video.

    `models` and `params` have the keys `vae`, `denoiser`, `renderer`: the constructor's arguments and the parameters.
    `scales` are s_k in pixels at `width` x `height`, the size of training; `latent_mean` and `latent_std` whiten
    latents per channel [4] or per frequency and channel [k, 4]. `schedule` holds the arguments of `scaled_linear`,
    `prediction` is what the denoiser predicts ("noise" or "velocity"), `normalization` how the VAE's values become px
    ("adaptive" or "size"). `provenance` says where each part came from, for people.
    """

    models: Mapping[str, dict[str, Any]]
    params: Mapping[str, Params]
    scales: Float[np.ndarray, " k"]
    latent_mean: Float[np.ndarray, "*k 4"]
    latent_std: Float[np.ndarray, "*k 4"]
    width: int
    height: int
    num_frequencies: int
    schedule: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    prediction: Prediction = "noise"
    normalization: Normalization = "adaptive"
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    @property
    def networks(self) -> "Networks":
        """The same object for every bundle of this architecture, so that each is compiled once."""
        return _networks(json.dumps(self.models, sort_keys=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    vae: Network[VAE]
    denoiser: Network[Denoiser]
    renderer: Network[Renderer]


def uncoordinated(bundle: Bundle) -> Bundle | None:
    """The bundle whose slices know nothing of each other: as stage 2 left it, if stage 3 kept its base frozen. None
    where it has no frequency attention.
    """
    denoiser = bundle.models["denoiser"]
    if not denoiser["unet"].get("frequency_attention"):
        return None
    alone = denoiser | {"unet": denoiser["unet"] | {"frequency_attention": False}}
    _, base = partition(bundle.params["denoiser"], FREQUENCY_ATTENTION)
    return dataclasses.replace(
        bundle, models={**bundle.models, "denoiser": alone}, params={**bundle.params, "denoiser": base}
    )


def save_bundle(bundle: Bundle, out: str | Path, dtype: str = "float32") -> None:
    """Writes the folder `out` as a whole: another bundle there is replaced, anything else is left alone.

    `dtype` ("float32" or "float16") is that of the weights on disk.

    Raises UserError where `out` is something else than a bundle or cannot be written.
    """
    check_target(out)
    with files.written_folder(out) as temporary:
        checksums = {}
        for part in MODELS:
            weights = save({name: leaf.astype(dtype) for name, leaf in flatten(bundle.params[part]).items()})
            (temporary / f"{part}.safetensors").write_bytes(weights)
            checksums[f"{part}.safetensors"] = {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
        fields = {
            field.name: _plain(getattr(bundle, field.name))
            for field in dataclasses.fields(bundle)
            if field.name != "params"
        }
        (temporary / FILE_NAME).write_text(json.dumps(fields | {"files": checksums}, indent=2) + "\n")


def check_target(out: str | Path) -> None:
    """Raises UserError unless a bundle may be written at `out`: nothing there, an empty folder, or a bundle and nothing
    else, since all of it is replaced.
    """
    out = Path(os.path.realpath(out))
    with files.refusing(out):
        content = sorted(os.listdir(out)) if out.is_dir() else [str(out)] if os.path.lexists(out) else []
    if content and FILE_NAME not in content:
        raise UserError(f"{out}: exists and is no bundle; choose another --out")
    if others := set(content) - {FILE_NAME, *(f"{part}.safetensors" for part in MODELS)}:
        raise UserError(f"{out}: holds {min(others)} beside the bundle that would be replaced; choose another --out")
    files.check_folder(out.parent, named=out)


def load_bundle(path: str | Path) -> Bundle:
    """Reads and checks a bundle. Raises UserError naming the file that is missing, damaged or of another version."""
    path = Path(path)
    if not (path / FILE_NAME).is_file():
        raise UserError(f"{path}: no bundle there ({FILE_NAME} is missing); make one with python -m gid_jax.export")
    try:
        fields = json.loads((path / FILE_NAME).read_text())
        version = fields["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / FILE_NAME}: not readable ({error}); export the bundle again") from error
    if version != VERSION:
        raise UserError(f"{path}: bundle of version {version}, this program reads {VERSION}: export it again")
    try:
        checksums = fields.pop("files")
        for name in ("scales", "latent_mean", "latent_std"):
            fields[name] = np.asarray(fields[name], np.float32)
        fields["params"] = {part: _load_weights(path, part, fields["models"][part], checksums) for part in MODELS}
        return Bundle(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / FILE_NAME}: incomplete or damaged ({error}); export the bundle again") from error


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested parameters as {"path/to/leaf": array}."""
    flat: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = np.ascontiguousarray(value, np.float32)
    return flat


def _load_weights(folder: Path, part: str, model: dict[str, Any], checksums: Mapping[str, Any]) -> Params:
    path = folder / f"{part}.safetensors"
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != checksums[path.name]["sha256"]:
            raise UserError(
                f"{path}: damaged (its sha256 is not the one in {FILE_NAME}); copy or export the bundle again"
            )
        weights = load(content)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy or export the bundle again") from error
    wanted = jax.eval_shape(_network(part, model).init, jax.random.key(0))
    shapes = {
        jax.tree_util.keystr(place, simple=True, separator="/"): leaf.shape
        for place, leaf in jax.tree_util.tree_leaves_with_path(wanted)
    }
    for name in sorted(shapes.keys() | weights.keys()):
        found, needed = weights[name].shape if name in weights else "absent", shapes.get(name, "absent")
        if found != needed:
            raise UserError(f"{path}: {name} is {found}, needed is {needed}; export the bundle again")
    return traverse_util.unflatten_dict({name: leaf.astype(np.float32) for name, leaf in weights.items()}, sep="/")


@functools.cache
def _networks(models: str) -> Networks:
    arguments = json.loads(models)
    return Networks(**{part: _network(part, arguments[part]) for part in MODELS})


def _network(part: str, model: Mapping[str, Any]) -> Network:
    return Network(lambda rngs: MODELS[part](**model, rngs=rngs))


def _plain(value: Any) -> Any:
    """Arrays as lists, the rest as JSON has it."""
    return json.loads(json.dumps(value, default=lambda leaf: np.asarray(leaf).tolist()))
