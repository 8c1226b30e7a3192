"""The paper's ablation "volume prediction": one U-Net over all 4 K channels of a volume instead of stages 2 and 3."""

from ml_collections import ConfigDict

from configs import common

_BATCH = {"paper": 96, "highres": 96, "demo": 4, "test": 4}
_STEPS = {"paper": 1_000_000, "highres": 1_000_000, "demo": 4600, "test": 8}
_RATE = {"paper": 5e-5, "highres": 5e-5, "demo": 1e-3, "test": 1e-3}


def get_config(preset: str = "paper") -> ConfigDict:
    """All slices at once, from scratch; needs the VAE of stage 1, which codes each slice as before.

    python -m gid_jax.train --config=configs/volume.py:PRESET --workdir=OUT/volume --config.data_dir=DATA \\
        --config.vae=OUT/vae

    For comparison only: the paper finds it worse than coordinated slices (Table 2). Steps are those of stages 2 and 3.
    """
    config = common.training(
        "volume",
        common.check_preset(preset),
        batch_size=_BATCH[preset],
        num_steps=_STEPS[preset],
        learning_rate=_RATE[preset],
    )
    common.add_diffusion(config, preset)
    config.model = ConfigDict(common.denoiser_model(config, preset, frequency_attention=False))
    config.model.joint = True
    config.model.unet.in_channels = 4 * config.get_ref("num_frequencies") + 16
    config.model.unet.out_channels = 4 * config.get_ref("num_frequencies")
    return config.lock()
