"""Frames from a picture and its spectrum: speed here and projected, flicker of what stands still, memory.

    PYTHONPATH=. python benchmarks/render.py [--parts=memory,speed,flicker] [--frames=150] [--clips=19]

Pictures are 512 x 288. Speed: frames a second of `render_frames` after compilation, alone and written as mp4, and the
processor time of a frame, which other work on the machine does not lengthen. Operations and bytes of a frame are the
compiler's count for this machine's program, for the bundle and for preset `paper`, both float32; the rates on
accelerators are a roofline, the longer of operations / peak and bytes / bandwidth, and no measurement. It prices a
scatter at its bytes only, which a TPU does not reach.

Flicker: mean |frame t + 1 - frame t| of 8-bit values, in units of 1/255, over the pixels with mean |F_t| below 0.05 px.
Motion is the exact one of procedural scenes, and what the bundle predicts for the first pictures of the page clips.

Memory: peak of a process that writes so many frames as mp4. It is measured first, as Linux counts what a process
holds towards the peak of those it starts.
"""

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from cards import CARDS

from configs.renderer import get_config
from data_pipeline.procedural import render_clip
from data_pipeline.video import read_frames
from gid_jax import cli, rendering
from gid_jax.errors import UserError
from gid_jax.inference import generate
from gid_jax.inference.bundle import Bundle, load_bundle
from gid_jax.inference.command import DEMO
from gid_jax.inference.video import write_video
from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer
from gid_jax.motion.spectrum import from_rest, splatting_weight, to_spectrum
from gid_jax.training.compiled import CHIPS

PARTS = ("memory", "speed", "flicker")
FLAGS = flags.FlagValues()
flags.DEFINE_list("parts", list(PARTS), "what to measure", flag_values=FLAGS)
flags.DEFINE_string("bundle", str(DEMO), "trained models", flag_values=FLAGS)
flags.DEFINE_integer("frames", 150, "of each video", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_integer("scenes", 2, "procedural scenes for flicker, seeds 0, 1, ...", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("clips", 19, "at most so many page clips for flicker", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("videos", "../shared/clips", "folder of the page clips", flag_values=FLAGS)

WIDTH, HEIGHT = 512, 288
STILL = 0.05  # px
_TPU, _GPU = CHIPS["v5e"], CARDS["NVIDIA H100 80GB HBM3"]
ACCELERATORS = {"TPU v5e": (_TPU.flops, _TPU.bandwidth), "H100": (_GPU.bf16, _GPU.bandwidth)}  # bf16 FLOP/s, bytes/s


def scene(seed: int, num_frequencies: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, picture [h, w, 3] in [0, 1] and the exact spectrum of a procedural clip at a quarter of its size."""
    clip = render_clip(seed, width=WIDTH, height=HEIGHT, num_frames=150)
    spectrum = to_spectrum(clip.trajectories[:, ::4, ::4] / 4, num_frequencies)
    return f"{clip.scene} (seed {seed})", clip.frames[0].astype(np.float32) / 255, np.asarray(spectrum)


def cost(model: dict[str, Any], height: int = HEIGHT, width: int = WIDTH) -> dict[str, float]:
    """Operations and bytes of a frame by a renderer of these arguments."""
    network = Network(lambda rngs: Renderer(**model, rngs=rngs))
    params = jax.eval_shape(network.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((height, width, 3), jnp.float32)
    encoded = jax.eval_shape(lambda params, image: network.bind(params).encode(image[None]), params, image)
    small = (height // 4, width // 4)
    arrays = [image.update(shape=shape) for shape in ((height, width), (height, small[0]), (width, small[1]))]
    fields, count = image.update(shape=(1, *small, 2)), jax.ShapeDtypeStruct((), jnp.int32)
    lowered = rendering._render.lower(network, params, encoded, image, *arrays, fields, count)
    found = lowered.compile().cost_analysis()
    return {"GFLOP": found["flops"] / 1e9, "GB": found["bytes accessed"] / 1e9}


def watch(frames: Iterable[np.ndarray]) -> None:
    for _ in frames:
        pass


def write(frames: Iterable[np.ndarray]) -> None:
    """As mp4, thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        write_video(Path(folder) / "video.mp4", frames, 30.0)


def speed(bundle: Bundle) -> dict[str, float]:
    name, image, spectrum = scene(0, bundle.num_frequencies)
    times = np.arange(FLAGS.frames)
    watch(generate.render_frames(bundle, image, spectrum, times[:1]))  # compiles
    figures = {}
    for kind, consume in (("frames/s", watch), ("frames/s with mp4", write)):
        began, worked = time.perf_counter(), time.process_time()
        consume(generate.render_frames(bundle, image, spectrum, times))
        figures[kind] = len(times) / (time.perf_counter() - began)
        figures[kind.replace("frames/s", "processor s a frame")] = (time.process_time() - worked) / len(times)
    print(f"{name}, {FLAGS.frames} frames: {figures}", flush=True)
    for preset, model in (("bundle", bundle.models["renderer"]), ("paper", get_config("paper").model.to_dict())):
        found = cost(model)
        figures |= {f"{preset} {key} a frame": value for key, value in found.items()}
        for chip, (flops, bandwidth) in ACCELERATORS.items():
            seconds = max(1e9 * found["GFLOP"] / flops, 1e9 * found["GB"] / bandwidth)
            figures[f"{preset} frames/s on {chip}, roofline"] = 1 / seconds
    return figures


def still_changes(bundle: Bundle, image: np.ndarray, spectrum: np.ndarray) -> tuple[float, float]:
    """Mean change from frame to frame where nothing moves, 1/255, and the share of such pixels."""
    weight = np.asarray(splatting_weight(from_rest(spectrum), *image.shape[:2]))
    still = weight < STILL
    if not still.any():
        return float("nan"), 0.0
    total, before = 0.0, None
    for frame in generate.render_frames(bundle, image, spectrum, np.arange(FLAGS.frames)):
        values = frame[still].astype(np.int16)
        total += 0.0 if before is None else float(np.abs(values - before).mean())
        before = values
    return total / (FLAGS.frames - 1), float(still.mean())


def pictures(bundle: Bundle) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for seed in range(FLAGS.scenes):
        yield scene(seed, bundle.num_frequencies)
    clips = sorted(Path(FLAGS.videos).glob("*.mp4"))
    if not clips:
        print(f"page clips skipped: no mp4 in {FLAGS.videos}", flush=True)
    for clip in clips[: FLAGS.clips]:
        image = next(read_frames(clip, fps=30.0, width=WIDTH, height=HEIGHT)).astype(np.float32) / 255
        yield clip.stem, image, generate.predict_spectrum(bundle, image)


def flicker(bundle: Bundle) -> dict[str, float]:
    found = {}
    for name, image, spectrum in pictures(bundle):
        found[name], share = still_changes(bundle, image, spectrum)
        print(f"{name:24s} change {found[name]:.3f} / 255 in the {share:.2f} that stands still", flush=True)
    values = np.array(list(found.values()))
    values = values[np.isfinite(values)]
    figures = {"flicker / (1/255), mean": float(values.mean()), "flicker / (1/255), worst": float(values.max())}
    return figures | {"pictures": len(values), "pictures without still areas": len(found) - len(values)}


def peak_memory(folder: str, num_frames: int) -> float:
    """GiB of this process after so many frames of random motion."""
    bundle = load_bundle(folder)
    rng = np.random.default_rng(0)
    image = rng.random((HEIGHT, WIDTH, 3), np.float32)
    spectrum = 10 * rng.standard_normal((bundle.num_frequencies, HEIGHT // 4, WIDTH // 4, 4), np.float32)
    write(generate.render_frames(bundle, image, spectrum, np.arange(num_frames)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def memory(bundle: Bundle) -> dict[str, float]:
    figures = {}
    for num_frames in (FLAGS.frames, 4 * FLAGS.frames):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures[f"GiB, {num_frames} frames"] = pool.apply(peak_memory, (FLAGS.bundle, num_frames))
    return figures


def main(arguments: list[str]) -> None:
    if unknown := [part for part in FLAGS.parts if part not in PARTS]:
        raise UserError(f"--parts: no {unknown[0]!r}; choose from {', '.join(PARTS)}")
    bundle = load_bundle(FLAGS.bundle)
    figures: dict[str, float] = {}
    for part in FLAGS.parts:
        figures |= {"speed": speed, "flicker": flicker, "memory": memory}[part](bundle)
    for name, value in figures.items():
        print(f"{name:48s} {value:10.3f}")
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
