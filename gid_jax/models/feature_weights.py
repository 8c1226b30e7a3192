"""Published weights of the networks behind FID and FVD under our names, batch norms folded into the convolutions."""

import re
from collections.abc import Mapping

import jax
import numpy as np

from gid_jax.models.network import Network
from gid_jax.trees import path_name

Arrays = Mapping[str, np.ndarray]

_INCEPTION = (
    (r"^net\.layers\.", ""),
    (r"^conv\.", "stem.0."),
    (r"^conv_(\d)\.", r"stem.\1."),
    (r"^mixed\.", "mixed.0."),
    (r"^mixed_(\d+)\.", r"mixed.\1."),
    (r"\.(tower(?:_\d)?)\.conv\.", r".\1.0."),
    (r"\.(tower(?:_\d)?)\.conv_(\d)\.", r".\1.\2."),
)
_PYTORCH_FID = (
    *(
        (rf"^Conv2d_{name}\.", f"stem.{i}.")
        for i, name in enumerate(("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3"))
    ),
    *((rf"^Mixed_5{letter}\.", f"mixed.{i}.") for i, letter in enumerate("bcd")),
    *((rf"^Mixed_6{letter}\.", f"mixed.{i}.") for i, letter in enumerate("abcde", 3)),
    *((rf"^Mixed_7{letter}\.", f"mixed.{i}.") for i, letter in enumerate("abc", 8)),
    (r"\.branch1x1\.|^(mixed\.3)\.branch3x3\.", r"\1.conv."),
    (r"^(mixed\.(?:9|10))\.branch3x3(dbl)?_1\.", lambda found: f"{found[1]}.tower{'_1' if found[2] else ''}_conv."),
    (r"^(mixed\.(?:9|10))\.branch3x3dbl_2\.", r"\1.tower_1_conv_1."),
    (r"^(mixed\.(?:9|10))\.branch3x3(?:_2|(dbl)_3)([ab])\.", lambda found: _side_by_side(*found.groups())),
    (r"^(mixed\.(?:9|10))\.branch_pool\.", r"\1.tower_2_conv."),
    (r"\.branch_pool\.", ".tower_2.0."),
    (r"^(mixed\.3)\.branch3x3dbl_(\d)\.", lambda found: f"{found[1]}.tower.{int(found[2]) - 1}."),
    (r"\.branch(?:3x3|7x7)(?:dbl|x3)_(\d)\.", lambda found: f".tower_1.{int(found[1]) - 1}."),
    (r"\.branch\dx\d_(\d)\.", lambda found: f".tower.{int(found[1]) - 1}."),
    (r"\.conv\.weight$", ".weight"),
    (r"\.bn\.weight$", ".scale"),
    (r"\.bn\.bias$", ".beta"),
    (r"\.bn\.running_", "."),
)
_I3D = (
    (r"^module\.", ""),
    *((rf"^{name}\b", f"stem.{i}") for i, name in enumerate(("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"))),
    *(
        (rf"^Mixed_{name}\b", f"mixed.{i}")
        for i, name in enumerate(["3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"])
    ),
    (r"\.Branch_([03])/Conv3d_0[ab]_1x1\b", lambda found: ".b0" if found[1] == "0" else ".b3b"),
    (r"\.Branch_([12])/Conv3d_0([ab])_\dx\d\b", r".b\1\2"),
    (r"^Logits/Conv3d_0c_1x1\b", "logits"),
    (r"\.(?:Conv_0|BatchNorm_0|conv3d|bn)\.", "."),
)


def convert_inception(tensors: Arrays) -> dict[str, np.ndarray]:
    """TensorFlow's Inception-v3 as its TorchScript program keeps it, `weight`, `beta`, `mean` and `var` of each layer,
    or by the names of pytorch-fid.

    Names that are not its own are kept, so that `check_whole` can tell them.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    rules = _PYTORCH_FID if "Conv2d_1a_3x3.conv.weight" in tensors else _INCEPTION
    for name, value in tensors.items():
        if rules is _PYTORCH_FID and (name.startswith("fc.") or name.endswith(".num_batches_tracked")):
            continue
        place, _, leaf = _renamed(name, rules).rpartition(".")
        layers.setdefault(place, {})[leaf] = value
    converted: dict[str, np.ndarray] = {}
    for place, parts in layers.items():
        if parts.keys() - {"scale"} == {"weight", "beta", "mean", "var"}:
            kernel, scale = parts["weight"].transpose(2, 3, 1, 0), parts.get("scale", np.ones(1))
            parts = _fold(kernel, scale, parts["beta"], parts["mean"], parts["var"], epsilon=1e-3)
        converted |= {f"{place}.{leaf}".replace(".", "/"): value for leaf, value in parts.items()}
    return converted


def convert_i3d(tensors: Arrays, epsilon: float) -> dict[str, np.ndarray]:
    """I3D by TensorFlow's names (a Flax checkpoint: `params`, `batch_stats`) or by those of pytorch-i3d.

    `epsilon` is that of its batch norms. Names that are not its own are kept, so that `check_whole` can tell them.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    norms = set()
    for name, value in tensors.items():
        name = re.sub(r"^(?:params|batch_stats)\.", "", name)
        place, _, leaf = _renamed(name, _I3D).rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        if leaf == "weight" and value.ndim == 5:
            leaf, value = "kernel", value.transpose(2, 3, 4, 1, 0)
        leaf = {"running_mean": "mean", "running_var": "var", "weight": "scale"}.get(leaf, leaf)
        norms |= {place} if leaf == "var" else set()
        layers.setdefault(place, {})[leaf] = value
    converted: dict[str, np.ndarray] = {}
    for place, parts in layers.items():
        if place in norms and {"kernel", "bias", "mean"} <= parts.keys():
            scale = parts.get("scale", np.ones(1))
            parts = _fold(parts["kernel"], scale, parts["bias"], parts["mean"], parts["var"], epsilon)
        elif place == "logits" and "kernel" in parts:
            kernel = np.asarray(parts["kernel"], np.float32)
            parts = parts | {"kernel": kernel.reshape(kernel.shape[-2:]) if kernel.shape[:3] == (1, 1, 1) else kernel}
        converted |= {f"{place}.{leaf}".replace(".", "/"): value for leaf, value in parts.items()}
    return converted


def check_whole(network: Network, arrays: Arrays) -> None:
    """Raises ValueError unless these are all arrays of the network, in their shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(network.init, jax.random.key(0)))
    needed = {path_name(path): leaf.shape for path, leaf in leaves}
    for name in sorted(needed.keys() | arrays.keys()):
        found = list(arrays[name].shape) if name in arrays else "absent"
        wanted = list(needed[name]) if name in needed else "absent"
        if found != wanted:
            raise ValueError(f"{name} is {found}, should be {wanted}")


def _side_by_side(block: str, double: str | None, side: str) -> str:
    return f"{block}.tower{'_1' if double else ''}_mixed_conv{'_1' if side == 'b' else ''}."


def _renamed(name: str, rules: tuple) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _fold(
    kernel: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> dict[str, np.ndarray]:
    """scale (x - mean) / sqrt(variance + epsilon) + bias of a convolution, as the convolution's kernel and bias."""
    scale, bias, mean, variance = (np.asarray(x, np.float64).reshape(-1) for x in (scale, bias, mean, variance))
    scale = scale / np.sqrt(variance + epsilon)
    folded = {"kernel": kernel * scale, "bias": bias - mean * scale}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in folded.items()}
