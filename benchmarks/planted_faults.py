"""Which figure notices which fault: real clips, damaged in ways that are known.

    python benchmarks/planted_faults.py --clips=FOLDER --out=FOLDER [--count=24] [--width=128]

Of each video (a loop) two stretches of 32 frames are taken, half a loop apart. One is the truth, the other is compared
with it undamaged, which is the reference, and with each fault. A figure's reading is its change from the reference in
standard errors, both of the same videos (bootstrap over videos), positive for the worse. Amplitudes are changed by
rendering the first frame along its own optical flow; their reference is that motion unchanged, rendered alike.
Motion is measured by optical flow from each stretch's first frame. Frames and features are kept: a second run is quick.
The table in standard errors comes last.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image
from scipy import ndimage

from gid_jax import cli, flow
from gid_jax.errors import UserError
from gid_jax.evaluation import clip_features
from gid_jax.evaluation.clip_features import Protocol
from gid_jax.evaluation.clips import Clip
from gid_jax.files import write_text, written_folder
from gid_jax.inference.bundle import Bundle, load_bundle
from gid_jax.inference.command import DEMO
from gid_jax.metrics import distances, i3d, inception
from gid_jax.metrics.bootstrap import RESAMPLES
from gid_jax.metrics.image import psnr
from gid_jax.metrics.lpips import lpips
from gid_jax.metrics.motion import amplitude_error_db, map_correlation, phase_coherence
from gid_jax.metrics.paired import paired_resamples
from gid_jax.motion.spectrum import to_spectrum
from gid_jax.progress import progress
from gid_jax.rendering import render

FLAGS = flags.FlagValues()
cli.DEFINE_path("clips", None, "folder of looping videos", flag_values=FLAGS)
cli.DEFINE_path("out", None, "folder for frames and measured motion", flag_values=FLAGS)
flags.DEFINE_integer("count", 24, "videos, the first ones by name", lower_bound=4, flag_values=FLAGS)
flags.DEFINE_integer("width", 128, "px, to which frames are reduced", lower_bound=64, flag_values=FLAGS)

FRAMES = 32
FRAME_STEP = 8  # FID takes every 8th frame
BANDS = 12  # of the spectrum of 32 frames: up to 10 Hz
BLUR = 1.0  # px at 128 wide
DRIFT = 0.1  # of red, up, and of blue, down, by the last frame
SWAY = 1.0  # px at 128 wide, 1 Hz, where the clip moves less than its median
NOTICED = 3.0  # standard errors


def main(arguments: list[str]) -> None:
    if arguments or not FLAGS.clips or not FLAGS.out:
        raise UserError("give --clips=FOLDER --out=FOLDER and nothing else")
    paths = sorted(path for path in Path(FLAGS.clips).glob("*.mp4"))[: FLAGS.count]
    if len(paths) < FLAGS.count:
        raise UserError(f"--clips={FLAGS.clips}: {len(paths)} mp4 files, --count={FLAGS.count} are needed")
    out = Path(FLAGS.out) / f"{FLAGS.width}"
    bundle = load_bundle(DEMO)
    for path in progress(paths, name="planting", unit="video"):
        plant(path, out, bundle)
    names = [path.stem for path in paths]
    sets = sorted({*REFERENCE, *REFERENCE.values()} - {"truth"})
    readings = of_each(out, names, sets)
    print(table(readings), flush=True)
    print(table(readings | of_distances(out, sets)))


REFERENCE = {
    "shuffled frames": "undamaged",
    "doubled speed": "undamaged",
    "frozen": "undamaged",
    "blurred": "undamaged",
    "colour drift": "undamaged",
    "motion added to the background": "undamaged",
    "amplitude doubled": "rendered",
    "amplitude halved": "rendered",
}
"""What each fault is compared with."""


def plant(path: Path, out: Path, bundle: Bundle) -> None:
    """Keeps the frames of the truth, both references and all faults as OUT/SET/VIDEO/NUMBER.png."""
    if all((out / name / path.stem).exists() for name in {"truth", *REFERENCE, *REFERENCE.values()}):
        return
    frames = np.stack([_reduce(frame) for frame in Clip(path).frames()])

    def stretch(begin: int, step: int = 1) -> np.ndarray:
        return frames[(begin + step * np.arange(FRAMES)) % len(frames)]

    plain = stretch(0)
    motion = trajectories(plain)
    keep(out / "truth" / path.stem, stretch(len(frames) // 2))
    keep(out / "undamaged" / path.stem, plain)
    keep(out / "shuffled frames" / path.stem, np.random.default_rng(0).permutation(plain))
    keep(out / "doubled speed" / path.stem, stretch(0, 2))
    keep(out / "frozen" / path.stem, np.repeat(plain[:1], FRAMES, axis=0))
    sigma = BLUR * FLAGS.width / 128
    keep(out / "blurred" / path.stem, ndimage.gaussian_filter(plain.astype(np.float32), (0, sigma, sigma, 0)))
    gain = 1 + DRIFT * np.linspace(0, 1, FRAMES)[:, None, None, None] * np.array([1, 0, -1])
    keep(out / "colour drift" / path.stem, plain * gain)
    keep(out / "motion added to the background" / path.stem, sway(plain, motion))
    for name, factor in {"rendered": 1.0, "amplitude doubled": 2.0, "amplitude halved": 0.5}.items():
        keep(out / name / path.stem, moved(bundle, plain[0], factor * motion))


def _reduce(frame: np.ndarray) -> np.ndarray:
    height = round(frame.shape[0] * FLAGS.width / frame.shape[1])
    return np.asarray(Image.fromarray(frame).resize((FLAGS.width, height), Image.Resampling.BOX))


def keep(folder: Path, frames: np.ndarray) -> None:
    with written_folder(folder) as partial:
        for number, frame in enumerate(np.clip(np.round(frames), 0, 255).astype(np.uint8)):
            Image.fromarray(frame).save(partial / f"{number:03}.png")


def read(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def trajectories(frames: np.ndarray) -> np.ndarray:
    """[t, h, w, 2] px from the first frame, by optical flow."""
    frames = frames.astype(np.float32) / 255
    found = np.asarray(flow.estimate(frames[0], frames[1:], "fast"))
    return np.concatenate([np.zeros_like(found[:1]), found])


def sway(frames: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Still places go to and fro as waves that cross the picture."""
    height, width = frames.shape[1:3]
    still = np.linalg.norm(motion, axis=-1).mean(axis=0)
    still = ndimage.gaussian_filter((still < np.median(still)).astype(np.float32), 2 * width / 128)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = 2 * np.pi * x / width
    swaying = np.empty(frames.shape, np.float32)
    for t, c in np.ndindex(len(frames), 3):
        shift = SWAY * width / 128 * still * (np.sin(2 * np.pi * t / 30 - phase) + np.sin(phase))
        plane = frames[t, ..., c].astype(np.float32)
        swaying[t, ..., c] = ndimage.map_coordinates(plane, [y, x - shift], order=1, mode="nearest")
    return swaying


def moved(bundle: Bundle, first: np.ndarray, motion: np.ndarray) -> np.ndarray:
    image, weight = first.astype(np.float32) / 255, np.linalg.norm(motion, axis=-1).mean(axis=0)
    return np.stack(list(render(bundle.networks.renderer, bundle.params["renderer"], image, motion, weight)))


def of_distances(out: Path, sets: list[str]) -> dict[str, dict[str, float]]:
    """Readings of FID, KID, FVD, FVD32 and of the last windows of the sliding ones."""
    protocol = Protocol(windows=(16, 32), all_windows=True, frame_step=FRAME_STEP)
    chosen = clip_features.measures(protocol, videos=True)
    if {measure.network for measure in chosen} < {inception.NAME, i3d.NAME}:
        raise UserError("get the networks first: python -m gid_jax.weights fid-inception i3d-kinetics400")
    features: dict[str, dict] = {}
    for name in ["truth", *sets]:
        side = clip_features.open_folder(out / name, protocol)
        clip_features.measure(side, protocol, chosen)
        features[name] = {(m.network, m.window): side.features[m.tag] for m in chosen}
    everything, end = slice(None), slice(-1, None)
    figures = {
        "FID": (inception.NAME, None, everything, False),
        "KID": (inception.NAME, None, everything, True),
        "FID at the end": (inception.NAME, None, end, False),
        "FVD": (i3d.NAME, 16, everything, False),
        "FVD32": (i3d.NAME, 32, everything, False),
        "FVD at the end": (i3d.NAME, 16, end, False),
    }
    readings = {}
    for figure, (network, window, part, kernel) in figures.items():
        true, *made = ([clip[part] for clip in features[name][network, window]] for name in ["truth", *sets])
        distance = distances.kid if kernel else distances.fid
        values = dict(zip(sets, (distance(np.concatenate(true), np.concatenate(side)) for side in made), strict=True))
        draws = dict(zip(sets, paired_resamples(true, made, kernel=kernel).T, strict=True))
        print(figure, {name: round(value, 3) for name, value in values.items()}, flush=True)
        readings[figure] = {
            fault: (values[fault] - values[plain]) / float(np.std(draws[fault] - draws[plain], ddof=1))
            for fault, plain in REFERENCE.items()
        }
    return readings


def of_each(out: Path, names: list[str], sets: list[str]) -> dict[str, dict[str, float]]:
    """Readings of figures that every clip has; each is the larger the worse."""
    each: dict[str, list[dict[str, float]]] = {name: [] for name in sets}
    for video in progress(names, name="motion", unit="video"):
        for name in sets:
            file = out / name / f"{video}.json"
            if not file.exists():
                write_text(file, json.dumps(figures_of(out, name, video)))
            each[name].append(json.loads(file.read_text()))
    figures = list(each[sets[0]][0])
    readings: dict[str, dict[str, float]] = {figure: {} for figure in figures}
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    for figure in figures:
        print(figure, {name: round(float(np.mean([row[figure] for row in each[name]])), 3) for name in sets})
        for fault, plain in REFERENCE.items():
            change = np.array([a[figure] - b[figure] for a, b in zip(each[fault], each[plain], strict=True)])
            readings[figure][fault] = float(change.mean() / max(change[drawn].mean(axis=1).std(ddof=1), 1e-12))
    return readings


def figures_of(out: Path, name: str, video: str) -> dict[str, float]:
    sides = [out / place / video for place in (name, "truth")]
    frames = [read(side) for side in sides]
    found, true = (motion_of(*side) for side in zip(sides, frames, strict=True))
    pictures = [clip[::FRAME_STEP].astype(np.float32) / 255 for clip in frames]
    return {
        "LPIPS": float(np.mean(lpips(*pictures))),
        "PSNR": -float(np.mean(psnr(*pictures))),
        "motion map": -float(map_correlation(found["map"], true["map"])),
        "amplitude": float(np.abs(amplitude_error_db(found["spectrum"], true["spectrum"])[1:]).mean()),
        "coherence": abs(float(phase_coherence(found["spectrum"]) - phase_coherence(true["spectrum"]))),
    }


def motion_of(folder: Path, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Motion map [h, w] and spectrum [BANDS, h, w, 4], px; kept beside the frames."""
    file = folder.parent / f"{folder.name}.npz"
    if not file.exists():
        motion = trajectories(frames)
        spectrum = np.asarray(jax.device_get(to_spectrum(motion, BANDS)), np.float32)
        np.savez(file, map=np.linalg.norm(motion, axis=-1).mean(axis=0), spectrum=spectrum)
    with np.load(file) as stored:
        return dict(stored)


def table(readings: dict[str, dict[str, float]]) -> str:
    lines = [f"| fault | {' | '.join(readings)} | noticed by |", "|---" * (len(readings) + 2) + "|"]
    for fault in REFERENCE:
        values = {figure: row[fault] for figure, row in readings.items()}
        noticed = sorted((figure for figure in values if values[figure] >= NOTICED), key=lambda f: -values[f])
        cells = [f"**{value:.1f}**" if value >= NOTICED else f"{value:.1f}" for value in values.values()]
        lines.append(f"| {fault} | {' | '.join(cells)} | {noticed[0] if noticed else 'none'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, FLAGS)
