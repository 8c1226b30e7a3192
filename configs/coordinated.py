"""Stage 3: frequency attention on the frozen base."""

from ml_collections import ConfigDict

from configs import common

_BATCH = {"paper": 96, "highres": 96, "demo": 2, "test": 4}
_STEPS = {"paper": 250_000, "highres": 250_000, "demo": 900, "test": 8}
_RATE = {"paper": 5e-5, "highres": 5e-5, "demo": 5e-4, "test": 1e-3}


def get_config(preset: str = "paper") -> ConfigDict:
    """Attention over the K slices of a volume after every spatial block; needs the base of stage 2, which it freezes.

    python -m gid_jax.train --config=configs/coordinated.py:PRESET --workdir=OUT/coordinated --config.data_dir=DATA \\
        --config.base=OUT/denoiser

    A batch is of whole volumes. With more chips than volumes share the K slices: `--config.mesh.freq=8`.

    paper     256 x 160, 96 volumes of 16 slices, bf16.
    highres   512 x 288, rematerialised.
    demo      128 x 80, 2 volumes of 8 slices, on 2 CPU cores. Expect a held-out `loss` below that of stage 2.
    test      64 x 40, eight steps, seconds.
    """
    config = common.training(
        "coordinated",
        common.check_preset(preset),
        batch_size=_BATCH[preset],
        num_steps=_STEPS[preset],
        learning_rate=_RATE[preset],
    )
    config.freeze_base = True  # or train all of the network, starting from the base
    common.add_diffusion(config, preset)
    config.model = ConfigDict(common.denoiser_model(config, preset, frequency_attention=True))
    return config.lock()
