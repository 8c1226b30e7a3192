"""Data sets, for `python -m data_pipeline.build --config=configs/data.py:PRESET`.

paper    256 x 160, as in the paper: every 10th frame of a clip is a start frame. About 1 MB an example.
highres  512 x 288.
demo     128 x 80 with the fast flow and two start frames a clip: tens of seconds a clip on two cores.
test     64 x 40, one start frame a clip: seconds.
"""

from ml_collections import ConfigDict

from gid_jax.errors import UserError

_SIZES = {"paper": (256, 160), "highres": (512, 288), "demo": (128, 80), "test": (64, 40)}


def get_config(preset: str = "paper") -> ConfigDict:
    if preset not in _SIZES:
        raise UserError(f"configs/data.py:{preset}: no such preset; choose one of {', '.join(_SIZES)}")
    width, height = _SIZES[preset]
    config = ConfigDict()
    config.preset = preset
    config.width, config.height = width, height
    config.num_frequencies = 25
    config.num_frames = 150
    config.fps = 30.0
    config.start_stride = 10
    config.max_starts = {"demo": 2, "test": 1}.get(preset, 0)  # per video, spread over it; 0: all
    config.flow_preset = "accurate" if preset in ("paper", "highres") else "fast"
    config.pairs = 4
    config.test_fraction = 0.1  # of the videos

    # Motion m(p) is the mean over t of |F_t(p)|, in pixels at a width of 256.
    config.filters = ConfigDict()
    config.filters.moving_percentile = 98.0  # static: the moving part, this percentile of m, moves less than ...
    config.filters.min_motion = 0.3  # twice what sensor noise of 5 grey levels feigns
    config.filters.camera_fraction = 0.95  # camera: so much of the picture moves more than ...
    config.filters.camera_motion = 1.0
    config.filters.min_distinct_frames = 0.6  # of num_frames: source frames that differ from the one before
    config.filters.duplicate_difference = 0.02  # mean difference of luma, of 255, below which frames are the same
    config.lock()
    return config
