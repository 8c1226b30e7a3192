"""diffusers' parameter names in ours, for parity tests."""

import re

import numpy as np

RENAMES = (
    (r"^(down_blocks|up_blocks)\.(\d+)\.(?:downsamplers|upsamplers)\.0\.", r"\1.\2.resample."),
    (r"to_out\.0\.", r"to_out."),
)
UNET = (
    *RENAMES,
    (r"\.resnets\.(\d+)\.", r".blocks.\1.resnet."),
    (r"\.attentions\.(\d+)\.group_norm\.", r".blocks.\1.attention.group_norm."),
    (r"\.attentions\.(\d+)\.", r".blocks.\1.attention.attention."),
)
VAE = (
    *RENAMES,
    (r"^(encoder|decoder)\.(down_blocks|up_blocks)\.(\d+)\.(?:downsamplers|upsamplers)\.0\.", r"\1.\2.\3.resample."),
    (r"mid_block\.resnets\.0\.", r"mid_block.first."),
    (r"mid_block\.resnets\.1\.", r"mid_block.second."),
    (r"mid_block\.attentions\.0\.group_norm\.", r"mid_block.attention.group_norm."),
    (r"mid_block\.attentions\.0\.", r"mid_block.attention.attention."),
    (r"\.resnets\.(\d+)\.", r".blocks.\1."),
)


def convert(state_dict: dict, renames: tuple) -> dict[str, np.ndarray]:
    """{"a.b.kernel": array} of a torch state dict: OIHW kernels as HWIO, matrices transposed."""
    converted = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        value = tensor.numpy()
        if name.endswith(".weight"):
            name = name.removesuffix("weight") + ("scale" if value.ndim == 1 else "kernel")
            value = value.transpose({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[value.ndim])
        converted[name] = value
    return converted
