"""The rows of the paper's Table 2: what each part of the method is worth.

python -m launch.sweep --config=configs/sweeps/ablation.py --workdir=OUT --config.data_dir=DATA

| row | points |
|---|---|
| K = 4, K = 8, K = 24 | k4_*, k8_*, k24_* |
| full, K = 16 | full_* |
| without adaptive normalisation | size_*: coefficients divided by the picture's size instead |
| independent prediction of slices | none of its own: full_denoiser, exported without stage 3 |

A row is a chain of three: ROW_vae, ROW_denoiser, ROW_coordinated. The renderer does not depend on the spectrum's
representation; all rows share one. docs/sweeps.md says how to export and evaluate the rows.

Two rows of the table are missing, for want of a network: *volume prediction* (one U-Net over all 4K channels at once)
and *baseline splat* (features of one scale, splatted with a learned weight).
"""

from collections.abc import Iterator

from configs.sweeps import Point

ROWS = {
    "full": {"num_frequencies": 16},
    "k4": {"num_frequencies": 4},
    "k8": {"num_frequencies": 8},
    "k24": {"num_frequencies": 24},
    "size": {"num_frequencies": 16, "normalization": "size"},
}


def get_points(preset: str = "paper") -> Iterator[Point]:
    yield Point("renderer", f"configs/renderer.py:{preset}")
    for row, overrides in ROWS.items():
        yield Point(f"{row}_vae", f"configs/vae.py:{preset}", overrides)
        yield Point(f"{row}_denoiser", f"configs/denoiser.py:{preset}", overrides, {"vae": f"{row}_vae"})
        yield Point(f"{row}_coordinated", f"configs/coordinated.py:{preset}", overrides, {"base": f"{row}_denoiser"})
