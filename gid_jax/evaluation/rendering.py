"""Frames rendered with the true motion, against the true frames."""

from collections.abc import Sequence

import jax
import numpy as np

from gid_jax.evaluation.examples import Example
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.subjects import NOBODY, Subjects
from gid_jax.metrics import image as image_metrics
from gid_jax.metrics.lpips import lpips
from gid_jax.render.splatting import splat_picture

BASELINES = {
    "splat": "pixels splatted along the motion, holes filled with the start frame: no network",
    "repeat_i0": "the start frame, standing still",
}
FIGURES = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS (lower is nearer)"}
HIGHEST_PSNR = 100.0  # dB; of equal pictures, where it is infinite


def measure(model: Model, example: Example, crop: tuple[int, int]) -> dict[str, dict[str, float]]:
    """`FIGURES` of model and baselines, mean over the example's pairs, on the centre `crop` (width, height)."""
    motions, weight = example.flows, example.weight
    frames = {
        "model": model.render(example.image, motions, weight),
        "splat": np.asarray(splatted(example.image, motions, weight)),
        "repeat_i0": np.broadcast_to(example.image, example.targets.shape),
    }
    return {name: figures(shown, example.targets, crop) for name, shown in frames.items()}


def summarise(each: Sequence[dict], videos: Sequence[str], subjects: Subjects = NOBODY) -> dict[str, dict]:
    """`measure` of all examples -> figure -> who -> mean with an interval over videos or subjects; paired differences
    too."""
    result: dict[str, dict] = {}
    for key in FIGURES:
        values = {name: np.array([row[name][key] for row in each]) for name in each[0]}
        values |= {f"model_minus_{name}": values["model"] - values[name] for name in BASELINES}
        result[key] = {name: subjects.estimate(numbers, videos) for name, numbers in values.items()}
    return result


def figures(shown: np.ndarray, targets: np.ndarray, crop: tuple[int, int]) -> dict[str, float]:
    shown, targets = centre_crop(np.clip(shown, 0, 1), crop), centre_crop(targets, crop)
    psnr = np.minimum(image_metrics.psnr(shown, targets), HIGHEST_PSNR)
    values = {"psnr": psnr, "ssim": image_metrics.ssim(shown, targets), "lpips": lpips(shown, targets)}
    return {name: float(value.mean()) for name, value in values.items()}


def centre_crop(images: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """[*b, h, w, c] -> [*b, crop height, crop width, c]; `crop` is (width, height)."""
    width, height = crop
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]


@jax.jit
def splatted(image: jax.Array, motions: jax.Array, weight: jax.Array) -> jax.Array:
    return jax.lax.map(lambda motion: splat_picture(image, motion, weight), motions)
