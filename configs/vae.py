"""Stage 1: the autoencoder of frequency slices."""

from ml_collections import ConfigDict

from configs import common

_BATCH = {"paper": 96, "highres": 64, "demo": 4, "test": 8}
_STEPS = {"paper": 200_000, "highres": 200_000, "demo": 1500, "test": 8}
_RATE = {"paper": 1e-4, "highres": 1e-4, "demo": 1e-3, "test": 1e-3}


def get_config(preset: str = "paper") -> ConfigDict:
    """VAE of DESIGN section 5: f4, 4 latent channels; L1 + 0.2 gradient consistency + 1e-6 KL.

    python -m gid_jax.train --config=configs/vae.py:PRESET --workdir=OUT/vae --config.data_dir=DATA

    paper     256 x 160 on a TPU v5e-16 or 8 large GPUs, bf16.
    highres   512 x 288, rematerialised.
    demo      128 x 80 on 2 CPU cores. Expect `energy_explained` above 0.9 on held-out clips.
    test      64 x 40, eight steps, seconds.
    """
    config = common.training(
        "vae",
        common.check_preset(preset),
        batch_size=_BATCH[preset],
        num_steps=_STEPS[preset],
        learning_rate=_RATE[preset],
    )
    config.model = ConfigDict(common.vae_model(preset))
    return config.lock()
