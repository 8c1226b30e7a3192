"""Public PyTorch weights to a safetensors file that training can start from.

    python -m gid_jax.convert KIND SRC OUT

KIND is diffusers-unet (UNet2DModel), diffusers-vae (AutoencoderKL), ldm-unet or ldm-vae (the two halves of a latent
diffusion checkpoint), torchvision-resnet34, torchvision-vgg16 or torchvision-vgg19. SRC is .safetensors or a PyTorch
file (.bin, .pt, .pth, .ckpt), which is read without PyTorch and without running anything in it. OUT names the arrays as
our networks do and records the source's sha256. Train with `--config.pretrained=OUT`; what fits is used, the rest is
reported. The VGGs are for `--config.loss.vgg=OUT` of stage 4.
"""

import hashlib
from pathlib import Path

from absl import flags
from safetensors.numpy import save

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_apart, check_file, written

FLAGS = flags.FlagValues()
flags.DEFINE_integer("num_heads", 8, "attention heads of a latent-diffusion U-Net", lower_bound=1, flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    from gid_jax.inference.bundle import FILE_NAME
    from gid_jax.models import archives, public

    if len(arguments) != 3:
        raise UserError("three arguments are needed: KIND SRC OUT")
    kind, source, out = arguments[0], Path(arguments[1]), Path(arguments[2])
    if kind not in public.KINDS:
        raise UserError(f"{kind}: no such kind of weights; there are {', '.join(public.KINDS)}")
    check_apart({"SRC": [source]}, {"OUT": [check_file(out, flag="OUT")]})
    if (out.parent / FILE_NAME).is_file():
        raise UserError(f"OUT={out}: is a place in a bundle, which would be damaged; choose another OUT")
    tensors = archives.read_tensors(source)
    try:
        arrays = public.convert(kind, tensors, FLAGS.num_heads)
    except (ValueError, KeyError) as error:
        raise UserError(f"{source}: not {kind} weights ({error})") from error
    metadata = {"kind": kind, "source": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    with written(out, "OUT") as partial:
        partial.write_bytes(save(arrays, metadata))
    count = sum(array.size for array in arrays.values())
    print(f"{out}: {len(arrays)} arrays, {count / 1e6:.1f} M numbers, of {len(tensors)} in {source}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
