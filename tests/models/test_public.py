"""Public weights: files of PyTorch and safetensors are read as data, and every array finds its place."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from gid_jax.checkpoints.pretrained import merge
from gid_jax.errors import UserError
from gid_jax.models import archives, public

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")


def test_pytorch_files_are_read_without_pytorch(tmp_path):
    tensors = {
        "matrix": torch.arange(12.0).reshape(3, 4).T,
        "half": torch.tensor([1.5, -2.0]).half(),
        "brain": torch.tensor([1.5, -2.0]).bfloat16(),
        "part": torch.arange(10)[3:7],
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    callbacks = {"callback": re.compile("x"), "path": os.path.join}  # what a trainer may leave beside the weights
    torch.save({"state_dict": tensors, "callbacks": callbacks, "epoch": 3}, tmp_path / "model.ckpt")
    found = archives.read_tensors(tmp_path / "model.ckpt")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name].astype(np.float64), tensor.detach().double().numpy(), err_msg=name)


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_nothing_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2), "more": Harmful()}, "model.pt")
    assert archives.read_tensors(tmp_path / "model.pt")["weight"].tolist() == [1, 1]
    assert not (tmp_path / "harmed").exists()


def test_an_array_beyond_its_storage_is_refused():
    with pytest.raises(ValueError, match="beyond its storage"):
        archives._tensor(np.zeros(4, np.float32), 1, (2, 2), (2, 1))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", pickle.dumps({"a": 1}), bytes(range(64))], ids=["empty", "zip", "pickle", "noise"]
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_other_files_are_one_clear_error(tmp_path, content, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        archives.read_tensors(path)


def test_latent_diffusions_autoencoder_is_diffusers_by_other_names():
    """diffusers' own converter makes of these names and shapes its own; both ways lead to the same arrays of ours."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    model = diffusers.AutoencoderKL(
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
    )
    theirs = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    original = {f"first_stage_model.{_ldm_name(name)}": value for name, value in theirs.items()}
    for name, value in original.items():
        if ".attn_1." in name and value.ndim == 2:
            original[name] = value[:, :, None, None]
    back = convert_ldm_vae_checkpoint({n: torch.from_numpy(x) for n, x in original.items()}, dict(model.config))
    assert back.keys() == theirs.keys()
    ours, same = public.convert("ldm-vae", original), public.convert("diffusers-vae", theirs)
    assert ours.keys() == same.keys()
    for name, value in same.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


def _ldm_name(name: str) -> str:
    def level(match):
        return f"decoder.up.{2 - int(match[1])}."

    for pattern, replacement in (
        (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
        (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
        (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
        (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
        (r"^decoder\.up\.(\d+)\.", level),
        (r"mid_block\.resnets\.0\.", "mid.block_1."),
        (r"mid_block\.resnets\.1\.", "mid.block_2."),
        (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
        (r"mid_block\.attentions\.0\.to_(q|k|v)\.", r"mid.attn_1.\1."),
        (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
        (r"conv_shortcut\.", "nin_shortcut."),
        (r"conv_norm_out\.", "norm_out."),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def test_the_command_converts_and_training_starts_from_it(tmp_path):
    config = tiny.load_config("denoiser")
    task = tiny.task_of(config)
    import jax

    params = task.init(jax.random.key(1))[0]
    unet = config.model.unet
    reference = diffusers.UNet2DModel(
        in_channels=7,  # not ours: picture, mask and latent of an inpainting model
        out_channels=4,
        block_out_channels=tuple(unet.base_channels * m for m in unet.multipliers),
        layers_per_block=unet.blocks_per_level,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=unet.head_channels,
        norm_num_groups=unet.norm_groups,
    )
    source, out = tmp_path / "unet.safetensors", tmp_path / "ours.safetensors"
    save_file({name: tensor.numpy() for name, tensor in reference.state_dict().items()}, source)
    command = [sys.executable, "-m", "gid_jax.convert", "diffusers-unet", str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "arrays" in done.stdout, done.stderr
    stored = load_file(out)
    values, report = merge(params, str(out), "unet")
    assert values["unet"]["conv_in"]["kernel"] is None and values["image_encoder"]["conv_in"]["kernel"] is None
    np.testing.assert_array_equal(values["unet"]["conv_out"]["kernel"], stored["conv_out/kernel"])
    assert f"{len(stored) - 1} arrays used" in report
    assert "of another shape (1): conv_in/kernel [3, 3, 7, 32] there, [3, 3, 20, 32] here" in report
    assert "not in this network" not in report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "KIND SRC OUT"),
        (["vgg", "a", "b"], "vgg"),
        (["diffusers-vae", "absent.safetensors", "b"], "absent.safetensors"),
    ],
)
def test_bad_input_of_the_command_is_one_line(arguments, message):
    done = subprocess.run([sys.executable, "-m", "gid_jax.convert", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_weights_that_fit_nowhere_are_refused(tmp_path):
    save_file({"something": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="none of its arrays"):
        merge({"unet": {"bias": np.zeros(2)}}, str(tmp_path / "other.safetensors"), "unet")
    with pytest.raises(UserError, match="no such file"):
        merge({"unet": {"bias": np.zeros(2)}}, str(tmp_path / "absent"), "unet")
