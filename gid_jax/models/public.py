"""Public PyTorch weights under our names: diffusers' and latent diffusion's U-Net and autoencoder, torchvision's
ResNet-34, VGG16 and VGG19."""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gid_jax.models.network import Draws, Network
from gid_jax.models.resnet import FeaturePyramid
from gid_jax.models.vgg import CONVOLUTIONS, VGG

Rules = tuple[tuple[str, str], ...]

_DIFFUSERS: Rules = (
    (r"^((?:encoder\.|decoder\.)?(?:down|up)_blocks)\.(\d+)\.(?:downsamplers|upsamplers)\.0\.", r"\1.\2.resample."),
    (r"to_out\.0\.", r"to_out."),
)
_LDM_RESNET: Rules = (
    (r"\.in_layers\.0\.", ".norm1."),
    (r"\.in_layers\.2\.", ".conv1."),
    (r"\.emb_layers\.1\.", ".time_emb_proj."),
    (r"\.out_layers\.0\.", ".norm2."),
    (r"\.out_layers\.3\.", ".conv2."),
    (r"\.skip_connection\.", ".conv_shortcut."),
)
_LDM_ATTENTION: Rules = ((r"\.norm\.(weight|bias)$", r".group_norm.\1"), (r"\.proj_out\.", ".attention.to_out."))


def _vgg_rules(depth: int) -> Rules:
    """torchvision counts convolutions, activations and halvings through, we the convolutions alone."""
    rules, layer, conv = [], 0, 0
    for count in CONVOLUTIONS[depth]:
        for _ in range(count):
            rules.append((rf"^features\.{layer}\.", f"convs.{conv}."))
            layer, conv = layer + 2, conv + 1
        layer += 1
    return tuple(rules)


RULES: dict[str, Rules] = {
    "diffusers-unet": (
        *_DIFFUSERS,
        (r"\.resnets\.(\d+)\.", r".blocks.\1.resnet."),
        (r"\.attentions\.(\d+)\.group_norm\.", r".blocks.\1.attention.group_norm."),
        (r"\.attentions\.(\d+)\.", r".blocks.\1.attention.attention."),
    ),
    "diffusers-vae": (
        *_DIFFUSERS,
        (r"mid_block\.resnets\.0\.", r"mid_block.first."),
        (r"mid_block\.resnets\.1\.", r"mid_block.second."),
        (r"mid_block\.attentions\.0\.group_norm\.", r"mid_block.attention.group_norm."),
        (r"mid_block\.attentions\.0\.", r"mid_block.attention.attention."),
        (r"\.resnets\.(\d+)\.", r".blocks.\1."),
    ),
    "ldm-unet": (
        (r"^time_embed\.0\.", "time_embedding.linear_1."),
        (r"^time_embed\.2\.", "time_embedding.linear_2."),
        (r"^input_blocks\.0\.0\.", "conv_in."),
        (r"^middle_block\.0\.", "mid_block.blocks.0.resnet."),
        (r"^middle_block\.1\.", "mid_block.blocks.0.attention."),
        (r"^middle_block\.2\.", "mid_block.blocks.1.resnet."),
        (r"^out\.0\.", "conv_norm_out."),
        (r"^out\.2\.", "conv_out."),
        (r"\.op\.", ".conv."),
        *_LDM_RESNET,
        *_LDM_ATTENTION,
    ),
    "ldm-vae": (
        (r"^(encoder\.down|decoder\.up)\.(\d+)\.(?:downsample|upsample)\.", r"\1.\2.resample."),
        (r"^encoder\.down\.", "encoder.down_blocks."),
        (r"^decoder\.up\.", "decoder.up_blocks."),
        (r"\.block\.(\d+)\.", r".blocks.\1."),
        (r"\.mid\.block_1\.", ".mid_block.first."),
        (r"\.mid\.block_2\.", ".mid_block.second."),
        (r"\.mid\.attn_1\.norm\.", ".mid_block.attention.group_norm."),
        (r"\.mid\.attn_1\.(q|k|v)\.", r".mid_block.attention.attention.to_\1."),
        (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attention.attention.to_out."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
        (r"\.norm_out\.", ".conv_norm_out."),
    ),
    "torchvision-resnet34": (
        (r"^conv1\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        *((rf"^layer{number}\.", f"stages.{number - 1}.") for number in range(1, 5)),
        (r"\.conv1\.", ".first.conv."),
        (r"\.bn1\.", ".first.norm."),
        (r"\.conv2\.", ".second.conv."),
        (r"\.bn2\.", ".second.norm."),
        (r"\.downsample\.0\.", ".downsample.conv."),
        (r"\.downsample\.1\.", ".downsample.norm."),
    ),
    **{f"torchvision-vgg{depth}": _vgg_rules(depth) for depth in CONVOLUTIONS},
}
KINDS = tuple(RULES)
BATCH_NORM_EPSILON = 1e-5  # PyTorch's
PREFIXES = {"ldm-unet": "model.diffusion_model.", "ldm-vae": "first_stage_model."}


def convert(kind: str, tensors: Mapping[str, np.ndarray], num_heads: int = 8) -> dict[str, np.ndarray]:
    """{"a/b/kernel": float32 array} of a state dict: kernels as [h, w, in, out], matrices as [in, out].

    `kind` is one of `KINDS`. `num_heads` tells how latent diffusion's U-Net splits its attention ("qkv" is stored head
    by head). Names that the rules do not know are kept, so that whoever loads the result can report them; but
    torchvision's networks must be whole (ValueError), and lose their classifiers.
    """
    prefix = PREFIXES.get(kind, "")
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    own = own or dict(tensors)
    if kind == "ldm-unet":
        own = _levels(_split_heads(own, num_heads))
    if kind == "ldm-vae":
        own = _reverse_levels(own)
    if kind.startswith("torchvision"):
        own = {name: value for name, value in own.items() if not name.startswith(("fc.", "classifier."))}
    if kind == "torchvision-resnet34":
        own = _fold_batch_norms(own)
    converted = {}
    for name, value in own.items():
        for pattern, replacement in RULES[kind]:
            name = re.sub(pattern, replacement, name)
        value = np.asarray(value, np.float32)
        if name.endswith(".weight"):
            square = re.search(r"attention\.to_\w+\.weight$", name) is not None
            value = value.reshape(value.shape[:2]) if square else value  # 1 x 1 convolutions there
            name = name.removesuffix("weight") + ("scale" if value.ndim == 1 else "kernel")
            value = value.transpose({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[value.ndim])
        converted[name.replace(".", "/")] = np.ascontiguousarray(value)
    if kind.startswith("torchvision"):
        _check_whole(kind, converted)
    return converted


def _fold_batch_norms(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each batch norm in inference form: weight / sqrt(var + eps) as its weight, bias - mean weight' as its bias."""
    result = {name: value for name, value in tensors.items() if not name.endswith(".num_batches_tracked")}
    for norm in [name.removesuffix(".running_var") for name in tensors if name.endswith(".running_var")]:
        mean, variance, bias = (
            result.pop(f"{norm}.{leaf}").astype(np.float64) for leaf in ("running_mean", "running_var", "bias")
        )
        scale = result[f"{norm}.weight"] / np.sqrt(variance + BATCH_NORM_EPSILON)
        result |= {f"{norm}.weight": scale, f"{norm}.bias": bias - mean * scale}
    return result


def _check_whole(kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless these are all arrays of torchvision's network, in its sizes."""

    def build(rngs: Draws) -> FeaturePyramid | VGG:
        if kind == "torchvision-resnet34":
            return FeaturePyramid(width=64, levels=6, dtype=jnp.float32, rngs=rngs)
        return VGG(depth=int(kind.removeprefix("torchvision-vgg")), rngs=rngs)

    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(Network(build).init, jax.random.key(0)))
    needed = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}
    needed = {name: shape for name, shape in needed.items() if not name.startswith("full/")}  # ours alone
    for name in sorted(needed.keys() | arrays.keys()):
        found = arrays[name].shape if name in arrays else "absent"
        if found != needed.get(name, "absent"):
            raise ValueError(f"{name} is {found}, there it is {needed.get(name, 'absent')}")


def _split_heads(tensors: Mapping[str, np.ndarray], num_heads: int) -> dict[str, np.ndarray]:
    """`qkv` [heads * 3 * c, in, 1] as `attention.to_q`, `to_k`, `to_v` [heads * c, in]."""
    result = {}
    for name, value in tensors.items():
        if ".qkv." not in name:
            result[name] = value
            continue
        shape = value.shape[1:2]
        parts = value.reshape(num_heads, 3, -1, *shape)
        for i, letter in enumerate("qkv"):
            result[name.replace(".qkv.", f".attention.to_{letter}.")] = parts[:, i].reshape(-1, *shape)
    return result


def _levels(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`input_blocks.N.*` and `output_blocks.N.*`, which count through, as `down_blocks.L.blocks.I.*` and so on.

    A level has n blocks on the way down, then one that halves, and n + 1 on the way up, the last of which also doubles:
    by a convolution or a ResNet block that comes after its own ResNet block and attention.
    """
    doubling = set()
    for name in tensors:
        match = re.match(r"output_blocks\.(\d+)\.([1-9])\.(conv|in_layers)\.", name)
        if match:
            doubling.add((int(match[1]), match[2]))
    outputs = [int(name.split(".")[1]) for name in tensors if name.startswith("output_blocks.")]
    if not outputs:
        raise ValueError("it has no output_blocks")
    blocks = min((number for number, _ in doubling), default=max(outputs))
    result = {}
    for name, value in tensors.items():
        match = re.match(r"(input|output)_blocks\.(\d+)\.(\d)\.(.*)$", name)
        if match is None or name.startswith("input_blocks.0."):
            result[name] = value
            continue
        side, number, part, leaf = match[1], int(match[2]), match[3], match[4]
        level, i = divmod(number - (side == "input"), blocks + 1)
        resamples = i == blocks if side == "input" else (number, part) in doubling
        inner = "resample" if resamples else f"blocks.{i}.{'resnet' if part == '0' else 'attention'}"
        result[f"{'down' if side == 'input' else 'up'}_blocks.{level}.{inner}.{leaf}"] = value
    return result


def _reverse_levels(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Latent diffusion counts the decoder's levels from the finest, diffusers and we from the coarsest."""
    numbers = [int(match[1]) for name in tensors if (match := re.match(r"decoder\.up\.(\d+)\.", name))]
    last = max(numbers, default=0)
    return {
        re.sub(r"^decoder\.up\.(\d+)\.", lambda match: f"decoder.up.{last - int(match[1])}.", name): value
        for name, value in tensors.items()
    }
