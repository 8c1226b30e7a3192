"""Evaluation protocols, for `python -m gid_jax.eval --config=configs/eval.py:PRESET`.

paper    the paper's: 256 x 128 centre crop, 250 DDIM steps. Hours on an accelerator for the whole test split.
demo     for a demo bundle (128 x 80): a minute or two on two cores.
test     for a test bundle (64 x 40): seconds.
"""

from ml_collections import ConfigDict

_CROPS = {"paper": (256, 128), "demo": (128, 64), "test": (64, 32)}


def get_config(preset: str = "demo") -> ConfigDict:
    config = ConfigDict()
    config.preset = preset
    config.seed = 0
    config.num_examples = {"paper": 1000, "demo": 24, "test": 3}[preset]  # spread over the test split
    config.batch_size = {"paper": 8, "demo": 8, "test": 2}[preset]
    config.training_maps = {"paper": 2000, "demo": 400, "test": 8}[preset]  # examples of the mean-spectrum baseline
    config.scenes = 6  # shown in the report

    config.sampling = ConfigDict()
    config.sampling.method = "ddim"
    config.sampling.num_steps = {"paper": 250, "demo": 25, "test": 2}[preset]
    config.sampling.guidance = 1.75

    config.crop = ConfigDict()  # of pictures, about the centre; motion is compared over the whole picture
    config.crop.width, config.crop.height = _CROPS[preset]

    config.windows = ConfigDict()  # frames of each sample in the distances between distributions of videos
    config.windows.fvd = 16
    config.windows.fvd_long = 32
    config.windows.sliding_fid = 30
    config.windows.sliding_dtfvd = 16
    config.windows.stride = 1
    config.lock()
    return config
