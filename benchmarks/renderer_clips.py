"""Renderers on real clips that they were not trained on: the clips' own motion in, frames out.

    python benchmarks/renderer_clips.py --bundle=BUNDLE [--baseline=BUNDLE] [--out=FOLDER]
        [--clips=../shared/clips] [--names=fern,rose,cloth,leaves_close,tree_0,captured_tree] [--width=512 --height=288]

Motion is the flow of preset `accurate` from the first frame to 149 later ones (loops go on past their end), as a
spectrum of K frequencies; every fifth frame is rendered with it and compared with the clip's, at the bundle's size or
another. `splat` are the picture's pixels carried along, holes filled with the start frame; `repeat_i0` is the start
frame. `sharp` is `splat` of pixels that bring their slopes, which is what the renderer starts from. Printed last: the
mean over page clips of PSNR minus that of the better of `splat` and `repeat_i0`, and of LPIPS over it.
`--baseline` names a bundle whose renderer is that of the paper's ablation (`--config.model.splatting=learned`, one
level). `--out` gets for each clip a picture: start frame, splat, baseline, ours, truth.
"""

import itertools
import json
from pathlib import Path

import av
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image, ImageOps

from data_pipeline.video import read_frames
from gid_jax import cli, flow
from gid_jax.errors import UserError
from gid_jax.evaluation import rendering
from gid_jax.evaluation.model import BundleModel
from gid_jax.inference.bundle import load_bundle
from gid_jax.motion.spectrum import at_times, to_spectrum
from gid_jax.render.splatting import splat
from gid_jax.render.tangents import from_planes, spline_slopes, to_planes

CAPTURED, CAPTURED_FRAMES, CAPTURED_FPS = "captured_tree", 49, 15
CLIPS = ["fern", "rose", "cloth", "leaves_close", "tree_0", CAPTURED]
FLAGS = flags.FlagValues()
flags.DEFINE_string("bundle", None, "the renderer", flag_values=FLAGS)
flags.DEFINE_string("baseline", None, "a second one", flag_values=FLAGS)
flags.DEFINE_string("out", None, "folder for the pictures", flag_values=FLAGS)
flags.DEFINE_string("clips", "../shared/clips", "folder of the clips", flag_values=FLAGS)
flags.DEFINE_integer("width", None, "px; by default the bundle's", lower_bound=16, flag_values=FLAGS)
flags.DEFINE_integer("height", None, "px; by default the bundle's", lower_bound=16, flag_values=FLAGS)
flags.DEFINE_list("names", CLIPS, "how the files' names begin", flag_values=FLAGS)

NUM_FRAMES, FPS, NUM_FREQUENCIES = 150, 30, 16


def read(name: str, width: int, height: int) -> np.ndarray:
    """[t, h, w, 3] in [0, 1]: five seconds, of the captured clip what is good of it."""
    found = sorted(Path(FLAGS.clips).glob(f"{name}*"))
    if not found:
        raise UserError(f"--clips: no {name}* in {FLAGS.clips}; give a folder of videos, --names chooses among them")
    if name == CAPTURED:
        with av.open(found[0]) as container:
            decoded = itertools.islice(container.decode(video=0), CAPTURED_FRAMES)
            frames = [np.asarray(ImageOps.fit(frame.to_image(), (width, height))) for frame in decoded]
    else:
        resampled = read_frames(found[0], fps=FPS, width=width, height=height, loop="loop" in found[0].name)
        frames = list(itertools.islice(resampled, NUM_FRAMES))
        if len(frames) < NUM_FRAMES:
            raise UserError(f"{found[0]}: {len(frames)} frames at {FPS} a second, {NUM_FRAMES} are needed")
    return np.stack(frames).astype(np.float32) / 255


def motion(frames: np.ndarray, fps: float) -> np.ndarray:
    """Displacements [t, h, w, 2] px of the clip, as far as the frequencies below 3.2 Hz say."""
    exact = np.concatenate([np.zeros((1, *frames.shape[1:3], 2)), flow.estimate(frames[0], frames[1:])])
    below = int(NUM_FREQUENCIES * FPS / NUM_FRAMES * len(frames) / fps)
    return np.asarray(at_times(to_spectrum(exact, below), np.arange(len(frames)), len(frames)))


@jax.jit
def sharp(image: jax.Array, motions: jax.Array, weight: jax.Array) -> jax.Array:
    def frame(motion: jax.Array) -> jax.Array:
        planes, holes = splat(to_planes(image, spline_slopes(image), motion), motion, weight)
        return jnp.where(holes > 0, image, from_planes(planes))

    return jax.lax.map(frame, motions)


def main(arguments: list[str]) -> None:
    if not FLAGS.bundle:
        raise UserError("--bundle is missing: a folder that gid_jax.export wrote")
    named = {"ours": FLAGS.bundle, "baseline": FLAGS.baseline}
    models = {name: BundleModel(load_bundle(folder)) for name, folder in named.items() if folder}
    width, height = FLAGS.width or models["ours"].width, FLAGS.height or models["ours"].height
    table: dict[str, dict[str, dict[str, float]]] = {}
    for clip in FLAGS.names:
        frames = read(clip, width, height)
        times = np.arange(5, len(frames), 5)
        motions, truth = motion(frames, CAPTURED_FPS if clip == CAPTURED else FPS), frames[times]
        weight = np.linalg.norm(motions, axis=-1).mean(axis=0)
        shown = {name: model.render(frames[0], motions[times], weight) for name, model in models.items()}
        shown["splat"] = np.asarray(rendering.splatted(frames[0], motions[times], weight))
        shown["sharp"] = np.asarray(sharp(frames[0], motions[times], weight))
        shown["repeat_i0"] = np.broadcast_to(frames[0], truth.shape)
        table[clip] = {name: rendering.figures(pictures, truth, (width, height)) for name, pictures in shown.items()}
        for name, row in table[clip].items():
            print(f"{clip:14s} {name:10s}" + "".join(f" {key} {value:8.4f}" for key, value in row.items()), flush=True)
        if FLAGS.out:
            most = int(np.argmax(np.linalg.norm(motions[times], axis=-1).mean(axis=(1, 2))))
            columns = ["splat", *(name for name in ("baseline", "ours") if name in shown)]
            strip = [frames[0], *(shown[name][most] for name in columns), truth[most]]
            Path(FLAGS.out).mkdir(parents=True, exist_ok=True)
            pixels = np.round(255 * np.clip(np.concatenate(strip, axis=1), 0, 1)).astype(np.uint8)
            Image.fromarray(pixels).save(Path(FLAGS.out) / f"{clip}.png")
    rows = [row for clip, row in table.items() if clip != CAPTURED] or list(table.values())
    gains = [row["ours"]["psnr"] - max(row["splat"]["psnr"], row["repeat_i0"]["psnr"]) for row in rows]
    shares = [row["ours"]["lpips"] / min(row["splat"]["lpips"], row["repeat_i0"]["lpips"]) for row in rows]
    means = {"PSNR gain, dB": float(np.mean(gains)), "LPIPS share": float(np.mean(shares))}
    print(json.dumps({**table, **{name: round(value, 3) for name, value in means.items()}}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
