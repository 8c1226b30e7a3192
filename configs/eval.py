"""Evaluation protocols, for `python -m gid_jax.eval --config=configs/eval.py:PRESET`.

paper    256 x 128 centre crop and 250 DDIM steps, as in the paper; up to 1000 examples, for an accelerator.
demo     for a demo bundle (128 x 80): 12 steps of the high-order solver, 60 examples, for two cores.
test     for a test bundle (64 x 40): seconds.
"""

from ml_collections import ConfigDict

from gid_jax.errors import UserError

_CROPS = {"paper": (256, 128), "demo": (128, 64), "test": (64, 32)}


def get_config(preset: str = "demo") -> ConfigDict:
    if preset not in _CROPS:
        raise UserError(f"unknown preset {preset!r}; there are {', '.join(_CROPS)}")
    config = ConfigDict()
    config.preset = preset
    config.seed = 0
    config.num_examples = {"paper": 1000, "demo": 60, "test": 3}[preset]  # spread over the test split
    config.batch_size = {"paper": 8, "demo": 4, "test": 2}[preset]
    config.training_maps = {"paper": 2000, "demo": 400, "test": 8}[
        preset
    ]  # examples of the mean, and to find the nearest in
    config.samples = 1  # clips of each picture that the distances see, by seeds of their own
    config.scenes = 6  # shown in the report
    # Which videos show the same: "GLOB=SOURCE/SUBJECT", the first that fits a video_id; "GLOB=SOURCE" where each is its
    # own subject. Figures are then split by source, and each subject counts once.
    config.subjects = ()

    config.sampling = ConfigDict()
    config.sampling.method = "ddim" if preset == "paper" else "dpmpp_2m"
    config.sampling.num_steps = {"paper": 250, "demo": 12, "test": 2}[preset]
    config.sampling.guidance = 0.0

    config.crop = ConfigDict()  # of pictures, about the centre; motion is compared over the whole picture
    config.crop.width, config.crop.height = _CROPS[preset]

    config.windows = ConfigDict()  # of clips, in the distances between distributions of frames and videos
    config.windows.fvd, config.windows.fvd_long = 16, 32  # frames of a window
    config.windows.stride = {"paper": 16}.get(preset, 64)  # frames from the start of a window to that of the next
    config.windows.frame_step = {"paper": 5}.get(preset, 15)  # FID and KID look at every so many frames
    config.windows.sliding_fid = 30  # frames, of which those are taken
    config.lock()
    return config
