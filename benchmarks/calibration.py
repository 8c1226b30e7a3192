"""Is the predicted motion as varied as the true one? One scene under other winds is the true distribution.

    python benchmarks/calibration.py [--bundle=BUNDLE] [--scenes=60] [--winds=16]

For each scene, one sample is predicted from its picture and ranked among the exact motion of the scene under the other
winds: the amplitude of each band (RMS over pixels of |S_k|), the motion map's mean, and the motion map in one pixel
that moves. Ranks of a calibrated model are even. Ranked are `model`; `variance head`, whose latents are drawn with the
variance that the picture tells and nothing else; and `true`, the motion that the picture itself belongs to, which must
come out even. Beside each histogram of ranks stand the chi-square, its probability, and the mean rank, 0.5 if all is
well: less means too weak. The table comes last.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from data_pipeline.procedural import render_motion
from gid_jax import cli, placement
from gid_jax.inference.bundle import Bundle, load_bundle
from gid_jax.inference.command import DEMO
from gid_jax.inference.generate import motion_model, predict_spectra
from gid_jax.metrics.calibration import chi_square, rank_histogram, ranks
from gid_jax.metrics.motion import band_amplitude
from gid_jax.motion.spectrum import mean_magnitude, to_spectrum
from gid_jax.progress import progress
from gid_jax.sampling import Motion
from gid_jax.streams import stream_key

FLAGS = flags.FlagValues()
cli.DEFINE_path("bundle", str(DEMO), "bundle to judge; by default the demo's", flag_values=FLAGS)
flags.DEFINE_integer("scenes", 60, "scenes that were not trained on", lower_bound=4, flag_values=FLAGS)
flags.DEFINE_integer("winds", 16, "other winds over each", lower_bound=4, flag_values=FLAGS)

FIRST_SEED = 1 << 40  # of the scenes: none that data_pipeline.procedural renders by default
SAMPLING_STEPS = 12
BINS = 5  # of the histograms


def main(arguments: list[str]) -> None:
    bundle = load_bundle(FLAGS.bundle)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("true", "variance head", "model", "winds")}
    for number in progress(range(FLAGS.scenes), name="scenes", unit="scene"):
        image, *spectra = scene(bundle, FIRST_SEED + number)
        pixel = moving_pixel(np.asarray(spectra[1:]), number)
        pictures = image[None]
        head = from_variance(bundle, pictures, number)[0]
        model = predict_spectra(bundle, pictures, [number], num_steps=SAMPLING_STEPS, method="dpmpp_2m")[0]
        found["true"].append(quantities(spectra[0], pixel))
        found["variance head"].append(quantities(head, pixel))
        found["model"].append(quantities(model, pixel))
        found["winds"].append(np.stack([quantities(spectrum, pixel) for spectrum in spectra[1:]]))
    winds = np.stack(found.pop("winds"))  # [scenes, winds, quantities]
    names = [f"band {k}" for k in range(bundle.num_frequencies)] + ["mean of the map", "map in a pixel"]
    print("| | " + " | ".join(f"{name}: ranks, chi-square, p, mean rank" for name in found) + " |")
    print("|---" * (len(found) + 1) + "|")
    for i, name in enumerate(names):
        cells = [describe(np.stack(values)[:, i], winds[:, :, i]) for values in found.values()]
        print(f"| {name} | {' | '.join(cells)} |")


def scene(bundle: Bundle, seed: int) -> tuple[np.ndarray, ...]:
    """Picture [h, w, 3] in [0, 1]; its own spectrum and those under the other winds, [k, h, w, 4] px."""
    size = {"width": bundle.width, "height": bundle.height}
    first, own = render_motion(seed, **size)
    others = (render_motion(seed, **size, gusts=gusts)[1] for gusts in range(1, FLAGS.winds + 1))
    spectra = [np.asarray(to_spectrum(motion, bundle.num_frequencies)) for motion in (own, *others)]
    return first.astype(np.float32) / 255, *spectra


def moving_pixel(spectra: np.ndarray, seed: int) -> int:
    """One drawn from the half of the pixels that move most under the winds [n, k, h, w, 4]."""
    moved = np.asarray(mean_magnitude(spectra)).mean(axis=0).ravel()
    return int(np.random.default_rng(seed).choice(np.argsort(moved)[len(moved) // 2 :]))


def from_variance(bundle: Bundle, images: np.ndarray, seed: int) -> np.ndarray:
    """Spectra [b, k, h, w, 4] of latents drawn with the variance that the pictures' features tell."""
    model, k = motion_model(bundle), bundle.num_frequencies
    features = model.encode_image(jnp.asarray(images))
    denoiser = model.denoiser.bind(model.denoiser_params)
    frequency = jnp.tile(jnp.arange(k, dtype=jnp.int32), len(images))
    deviation = jnp.exp(0.5 * denoiser.log_variance(placement.spread(features, k), frequency))
    shape = (*deviation.shape[:-1], bundle.latent_mean.shape[-1])
    noise = jax.random.normal(stream_key(seed, "latents", 0), shape)
    return np.asarray(Motion(model, features, k).spectra(noise * deviation))


def quantities(spectrum: np.ndarray, pixel: int) -> np.ndarray:
    """Amplitude of each band; mean of the motion map; the map in the pixel."""
    moved = np.asarray(mean_magnitude(spectrum))
    return np.array([*band_amplitude(spectrum), moved.mean(), moved.ravel()[pixel]], np.float64)


def describe(values: np.ndarray, ensembles: np.ndarray) -> str:
    placed = ranks(values, ensembles)
    counts, expected = rank_histogram(placed, ensembles.shape[1], BINS)
    found = chi_square(counts, expected)
    mean = (placed / ensembles.shape[1]).mean()
    return f"{' '.join(map(str, counts))}, {found.statistic:.1f}, {found.probability:.2g}, {mean:.2f}"


if __name__ == "__main__":
    cli.run(main, FLAGS)
