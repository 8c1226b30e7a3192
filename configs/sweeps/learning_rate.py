"""Learning rates of the autoencoder, side by side: four short runs.

python -m launch.sweep --config=configs/sweeps/learning_rate.py --workdir=OUT --config.data_dir=DATA

DATA is a data set of the preset, `demo` unless another is named: configs/sweeps/learning_rate.py:paper.
"""

from collections.abc import Iterator

from configs.sweeps import Point

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STEPS = {"demo": 200, "test": 4}  # the other presets' own


def get_points(preset: str = "demo") -> Iterator[Point]:
    length = {"num_steps": STEPS[preset], "eval_every": STEPS[preset] // 4} if preset in STEPS else {}
    for rate in RATES:
        yield Point(f"rate_{rate:g}", f"configs/vae.py:{preset}", {"optimizer.learning_rate": rate, **length})
