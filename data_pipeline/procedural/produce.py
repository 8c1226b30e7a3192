"""One clip of a set: which scene it is, what its files are called. What worker processes import."""

from pathlib import Path

import numpy as np
from PIL import Image

from data_pipeline.procedural import scenes
from data_pipeline.procedural.clip import render_clip, save_clip


def produce(out: Path, seed: int, split: str, number: int, width: int, height: int, frames: int) -> None:
    """Renders and writes one clip; its scene depends on seed, split and number only.

    Clips of the test split leave a picture to animate beside them: their first frame, three times as large.
    """
    entropy = int(
        np.random.SeedSequence([seed, ("train", "test").index(split), number]).generate_state(1, np.uint64)[0]
    )
    kinds = tuple(scenes.TEST_ONLY) if split == "test" and number % 2 == 0 else None
    clip = render_clip(entropy, width=width, height=height, num_frames=frames, kinds=kinds)
    path = path_of(out, split, number)
    if split == "test":
        picture = render_clip(entropy, width=3 * width, height=3 * height, num_frames=1, kinds=kinds).frames[0]
        Image.fromarray(picture).save(path.with_suffix(".png"))
    save_clip(clip, path)


def path_of(out: Path, split: str, number: int) -> Path:
    return out / f"{'clip' if split == 'train' else 'test'}_{number:05d}"
