"""Stage 2: the diffusion U-Net on single frequency slices."""

from ml_collections import ConfigDict

from configs import common

_BATCH = {"paper": 96, "highres": 96, "demo": 16, "test": 8}
_STEPS = {"paper": 750_000, "highres": 750_000, "demo": 4600, "test": 8}
_RATE = {"paper": 5e-5, "highres": 5e-5, "demo": 1e-3, "test": 1e-3}


def get_config(preset: str = "paper") -> ConfigDict:
    """U-Net, image encoder, time and frequency embedding; needs the VAE of stage 1.

    python -m gid_jax.train --config=configs/denoiser.py:PRESET --workdir=OUT/denoiser --config.data_dir=DATA \\
        --config.vae=OUT/vae

    paper     256 x 160, batch 96, learning rate 5e-5, 750 K steps as in the paper, bf16.
    highres   512 x 288: the trunk of the latent-diffusion inpainting U-Net, rematerialised.
    demo      128 x 80 on 2 CPU cores. Expect a held-out `loss` below `loss_null`: the picture tells the motion.
    test      64 x 40, eight steps, seconds.
    """
    config = common.training(
        "denoiser",
        common.check_preset(preset),
        batch_size=_BATCH[preset],
        num_steps=_STEPS[preset],
        learning_rate=_RATE[preset],
    )
    common.add_diffusion(config, preset)
    config.model = ConfigDict(common.denoiser_model(config, preset, frequency_attention=False))
    return config.lock()
