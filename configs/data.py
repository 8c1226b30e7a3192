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
    config.fill = 6  # frames that may be missing at the end of a video: its last one stands for them
    config.max_starts = {"demo": 2, "test": 1}.get(preset, 0)  # per shot, spread over it; 0: all
    config.flow_preset = "accurate" if preset in ("paper", "highres") else "fast"
    config.pairs = 4
    config.test_fraction = 0.1  # of the videos
    config.reference_clips = {"test": 2}.get(preset, 200)  # examples of the test split that keep their whole clip

    config.bar_luma = 24.0  # of 255: edges of the picture that are never brighter are cut off; 0: nothing is

    # Lengths are in pixels at a width of 256, luma is of 255. docs/data.md tells how far good and bad clips lie apart.
    config.filters = ConfigDict()
    config.filters.duplicate_difference = 0.02  # frames are the same if their luma differs less, on average, ...
    config.filters.duplicate_ratio = 0.15  # ... or less than this share of what frames around them do
    config.filters.min_distinct_frames = 0.6  # of num_frames: source frames that differ from the one before
    config.filters.cut_difference = 8.0  # cut: luma differs so much from the frame before, on average, ...
    config.filters.cut_ratio = 4.0  # ... and so many times as much as around it
    config.filters.fade_change = 6.0  # fade: luma changes so much within a second, for good, ...
    config.filters.fade_kink = 0.15  # ... and strays from blends by no more than this share of it
    config.filters.copy_appearance = 0.95  # copy of another video: its mean picture correlates so well, ...
    config.filters.copy_changes = 0.88  # ... and so do its changes: those of another take do not
    # flicker: light changes so much (standard deviation over time) ...
    config.filters.max_flicker = 0.0075  # ... all over the picture, as a share of it,
    config.filters.max_bands = 0.011  # in bands that run through it, likewise,
    config.filters.max_local_flicker = 0.45  # or where nothing moves, luma of 255
    config.filters.moving_percentile = 99.0  # static: this percentile of how far pixels are from their mean place ...
    config.filters.min_motion = 0.3  # ... is less
    # camera: of the part that can tell motion 95 % move more than ... and so large a share moves as one:
    config.filters.camera_motion, config.filters.camera_share = 0.5, 0.65
    config.filters.camera_much, config.filters.camera_some = 1.25, 0.13  # or so much more, and so large a share
    config.filters.camera_drift = 3.0  # or it drifts so far,
    config.filters.camera_steady, config.filters.camera_drifting = 0.35, 0.35  # so steadily, so large a share
    config.filters.camera_told, config.filters.camera_sides = 0.02, 2  # where less can tell, nothing is said
    config.filters.max_trend = 0.75  # time-lapse: so much of the motion's energy drifts one way
    config.lock()
    return config
