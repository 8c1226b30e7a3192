"""The rows of the paper's Table 2: what each part of the method is worth.

python -m launch.sweep --config=configs/sweeps/ablation.py --workdir=OUT --config.data_dir=DATA

| row | points |
|---|---|
| K = 4, K = 8, K = 24 | k4_*, k8_*, k24_* |
| full, K = 16 | full_* |
| without adaptive normalisation | size_*: coefficients divided by the picture's size instead |
| independent prediction of slices | none of its own: full_denoiser, exported without stage 3 |
| volume prediction | full_volume, with the VAE of full |
| baseline splat | baseline_splat_renderer: features of one scale, splatted with a learned weight |

A row is a chain: a VAE, ROW_denoiser, ROW_coordinated. A VAE codes slices one by one: that of full serves the rows of
fewer frequencies. The renderer does not depend on the spectrum's representation; all rows but the last share one.
launch/table2.sh runs them at demo scale, as far as the document; docs/sweeps.md says how by hand.
"""

from collections.abc import Iterator
from typing import Any

from configs import renderer
from configs.sweeps import Point

ROWS: dict[str, dict[str, Any]] = {
    "full": {"num_frequencies": 16},
    "k4": {"num_frequencies": 4},
    "k8": {"num_frequencies": 8},
    "k24": {"num_frequencies": 24},
    "size": {"num_frequencies": 16, "normalization": "size"},
}


def get_points(preset: str = "paper") -> Iterator[Point]:
    yield Point("renderer", f"configs/renderer.py:{preset}")
    finest = renderer.get_config(preset).model.decoder_channels[:1]
    one_scale = {"model.splatting": "learned", "model.decoder_channels": tuple(finest)}
    yield Point("baseline_splat_renderer", f"configs/renderer.py:{preset}", one_scale)
    yield from _rows(preset)
    yield Point("full_volume", f"configs/volume.py:{preset}", ROWS["full"], {"vae": "full_vae"})


def _rows(preset: str) -> Iterator[Point]:
    for row, overrides in ROWS.items():
        vae = "full_vae" if row in ("k4", "k8") else f"{row}_vae"
        if vae.startswith(row):
            yield Point(vae, f"configs/vae.py:{preset}", overrides)
        yield Point(f"{row}_denoiser", f"configs/denoiser.py:{preset}", overrides, {"vae": vae})
        yield Point(f"{row}_coordinated", f"configs/coordinated.py:{preset}", overrides, {"base": f"{row}_denoiser"})
