"""The rows of Table 2 as far as two cores train them, in few steps, the same for all.

python -m launch.sweep --config=configs/sweeps/table2.py --workdir=OUT --config.data_dir=DATA

launch/table2.sh goes on from there to the document. The points are those of configs/sweeps/ablation.py, without K = 24,
and the denoisers once more with another seed (ROW_denoiser_seed1 and so on), which tells how far a figure depends on
it. Latents are cached in the VAE's workdir.
"""

import dataclasses
from collections.abc import Iterator

from configs.sweeps import Point, ablation

STEPS = {"vae": 500, "denoiser": 400, "coordinated": 80, "renderer": 300, "volume": 480}
"""Of each stage, whatever the row; of the volume as many as stages 2 and 3 together."""
SEEDS = (0, 1)  # of the denoisers; rows share VAEs and renderer


def get_points(preset: str = "demo") -> Iterator[Point]:
    points = [point for point in ablation.get_points(preset) if not point.name.startswith("k24")]
    seeded = [point for point in points if point.needs]
    yield from (_shortened(point) for point in points)
    for seed in SEEDS[1:]:
        yield from (_with_seed(_shortened(point), seed, seeded) for point in seeded)


def _shortened(point: Point) -> Point:
    stage = point.config.removeprefix("configs/").partition(".")[0]
    overrides, needs = dict(point.overrides) | {"num_steps": STEPS[stage]}, dict(point.needs)
    if needs:
        overrides["augment"] = False  # which cached latents cannot be
        vae = "size_vae" if point.name.startswith("size") else "full_vae"
        needs["cache_latents"] = vae
    return dataclasses.replace(point, overrides=overrides, needs=needs)


def _with_seed(point: Point, seed: int, seeded: list[Point]) -> Point:
    names = {other.name for other in seeded}
    needs = {key: f"{name}_seed{seed}" if name in names else name for key, name in point.needs.items()}
    return Point(f"{point.name}_seed{seed}", point.config, {**point.overrides, "seed": seed}, needs)
