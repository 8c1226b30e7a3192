"""Table 2 of the paper from the points of configs/sweeps/table2.py.

    python -m launch.table2 --workdir=SWEEP --data_dir=DATA --out=OUT [--clips=24] [--document=FILE.md]

For each row and seed that is trained: a bundle, clips of the test pictures, and how they move; then FID, KID, FVD and
FVD32 of all rows against the data set's own clips, and which of the paper's orderings hold. Leaves OUT/ROW/bundle,
OUT/ROW/clips, OUT/table2.json and the document (by default OUT/table2.md). The same command goes on where it stopped,
and takes in what has been trained since.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import flags

from configs.sweeps.table2 import SEEDS
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import check_apart, check_file, check_folder, write_text, written_folder

FLAGS = flags.FlagValues()
cli.DEFINE_path("workdir", None, "workdir of the sweep configs/sweeps/table2.py", flag_values=FLAGS)
cli.DEFINE_path("data_dir", None, "data set that it was trained on, with reference clips", flag_values=FLAGS)
cli.DEFINE_path("out", None, "folder for bundles, clips and figures", flag_values=FLAGS)
cli.DEFINE_path("document", None, "the table, FILE.md; by default OUT/table2.md", flag_values=FLAGS)
flags.DEFINE_integer("clips", 24, "test pictures, spread over the test split", lower_bound=4, flag_values=FLAGS)

FRAMES = 32
"""Of each clip: one window of FVD32, two of FVD. Every picture's begin elsewhere in the period, alike in all rows."""
FRAME_STEP = 8  # FID takes every 8th frame
SAMPLING_STEPS = 12  # of DPM-Solver++
FREQUENCIES = 16  # of the true motion that motion maps are compared with
COMMON = 4  # frequencies that all rows have: amplitudes and phases are compared in these
BATCH = 4


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is called and which points of the sweep it is exported from."""

    title: str
    vae: str = "full_vae"
    denoiser: str = ""
    renderer: str = "renderer"


ROWS = {
    "repeat_i0": Row("Repeat I0"),
    "k4": Row("K = 4", denoiser="k4_coordinated"),
    "k8": Row("K = 8", denoiser="k8_coordinated"),
    "size": Row("without adaptive normalisation", vae="size_vae", denoiser="size_coordinated"),
    "independent": Row("independent prediction of slices", denoiser="full_denoiser"),
    "volume": Row("volume prediction", denoiser="full_volume"),
    "baseline_splat": Row("baseline splat", denoiser="full_coordinated", renderer="baseline_splat_renderer"),
    "full": Row("full, K = 16", denoiser="full_coordinated"),
}


@dataclass(frozen=True)
class Scene:
    """A test picture, where in the period its clip begins, and what is true of it: the clip [FRAMES, h, w, 3] and the
    spectrum [FREQUENCIES, h, w, 4], px."""

    index: int
    video: str
    image: np.ndarray
    first: int
    clip: np.ndarray
    spectrum: np.ndarray


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; everything is given by flags")
    for name in ("workdir", "data_dir", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    out, workdir = Path(FLAGS.out), Path(FLAGS.workdir)
    check_apart({"--workdir": [workdir], "--data_dir": [Path(FLAGS.data_dir)]}, {"--out": [out]})
    check_folder(out)
    document = check_file(FLAGS.document or out / "table2.md", [".md"], "--document")

    from launch import table2_document, table2_figures

    table2_figures.check_networks()
    rows = list(trained(workdir))
    if ("full", SEEDS[0]) not in {(name, seed) for name, seed, _ in rows}:
        raise UserError(
            f"--workdir={workdir}: full_coordinated and what it needs, to compare all rows with, are not trained; "
            "run launch.sweep --config=configs/sweeps/table2.py"
        )
    scenes = read_scenes(FLAGS.data_dir, FLAGS.clips)
    protocol = describe(workdir, FLAGS.data_dir, scenes)
    check_unchanged(out, protocol)
    keep_clips(out / "real", scenes, iter([scene.clip for scene in scenes]))
    made = {}
    for name, seed, row in rows:
        made[name, seed] = out / (f"{name}_seed{seed}" if seed else name)
        make_row(made[name, seed], row, seed, workdir, scenes)
    result = {"protocol": protocol} | table2_figures.measure(out / "real", made, FRAME_STEP)
    write_text(out / "table2.json", json.dumps(result, indent=1) + "\n")
    write_text(document, table2_document.write(result, {name: row.title for name, row in ROWS.items()}), "--document")
    print(f"{out / 'table2.json'}\n{document}")


def read_scenes(data_dir: str, count: int) -> list[Scene]:
    """Of the test split, spread evenly. Raises UserError for a data set without reference clips."""
    from gid_jax.data import codec
    from gid_jax.data.source import open_source
    from gid_jax.evaluation.examples import spread
    from gid_jax.motion.spectrum import PERIOD

    source = open_source(data_dir, "test")
    indices = spread(len(source), count)
    scenes = []
    for index, first in zip(indices, np.linspace(0, PERIOD - FRAMES, len(indices)).round().astype(int), strict=True):
        fields = codec.decode_example(source[index], frequencies=range(FREQUENCIES), pairs=False, clip=True)
        if "reference_clip" not in fields:
            raise UserError(
                f"--data_dir={data_dir}: test example {index} has no reference clip; build the data set with "
                f"--config.reference_clips={len(source)}"
            )
        image = fields["image"].astype(np.float32) / 255
        clip = fields["reference_clip"][first : first + FRAMES]
        truth = fields.get("exact_spectrum", fields["spectrum"])
        scenes.append(Scene(index, fields["video_id"], image, int(first), clip, truth))
    return scenes


def describe(workdir: Path, data_dir: str, scenes: Sequence[Scene]) -> dict:
    from gid_jax.checkpoints.checkpoint import load_config
    from gid_jax.data.source import open_source

    height, width = scenes[0].image.shape[:2]
    steps = {}
    for row in ROWS.values():
        for point in (row.vae, row.denoiser, row.renderer):
            if point and (config := load_config(str(workdir / point))):
                steps[config.task] = int(config.num_steps)
    return {
        "size": [width, height],
        "training_examples": len(open_source(data_dir, "train")),
        "pictures": [scene.index for scene in scenes],
        "videos": len({scene.video for scene in scenes}),
        "frames": FRAMES,
        "frame_step": FRAME_STEP,
        "sampling": f"dpmpp_2m, {SAMPLING_STEPS} steps, no guidance",
        "steps": steps,
    }


def check_unchanged(out: Path, protocol: dict) -> None:
    """Raises UserError where `out` holds clips of another protocol; training steps may have been added to."""
    path = out / "protocol.json"
    fixed = {name: value for name, value in protocol.items() if name != "steps"}
    if path.exists() and json.loads(path.read_text()) != fixed:
        raise UserError(f"--out={out}: holds clips of another data set or other --clips; name another folder")
    write_text(path, json.dumps(fixed))


def trained(workdir: Path) -> Iterator[tuple[str, int, Row]]:
    """Rows and seeds whose points are at their last step. What has no denoiser needs no second seed."""
    from gid_jax.checkpoints.checkpoint import load_config, newest_step

    def finished(point: str) -> bool:
        step, config = newest_step(str(workdir / point)), load_config(str(workdir / point))
        return step is not None and config is not None and step >= config.num_steps

    for name, row in ROWS.items():
        for seed in SEEDS if row.denoiser else SEEDS[:1]:
            points = (row.vae, seeded(row.denoiser, seed), row.renderer)
            if not row.denoiser or all(map(finished, points)):
                yield name, seed, row


def seeded(point: str, seed: int) -> str:
    return f"{point}_seed{seed}" if seed else point


def make_row(folder: Path, row: Row, seed: int, workdir: Path, scenes: Sequence[Scene]) -> None:
    """Clips of a row, and motion.json, written last: a row that has it is made."""
    if (folder / "motion.json").exists():
        return
    if not row.denoiser:
        keep_clips(folder, scenes, (np.repeat(to_bytes(scene.image)[None], FRAMES, axis=0) for scene in scenes))
        write_text(folder / "motion.json", json.dumps([{"map_correlation": 0.0} for _ in scenes]))
        return

    from gid_jax.checkpoints.checkpoint import load_stage
    from gid_jax.export import TASKS, make_bundle
    from gid_jax.inference.bundle import save_bundle
    from gid_jax.inference.generate import predict_spectra, render_frames

    points = {"vae": row.vae, "denoiser": seeded(row.denoiser, seed), "renderer": row.renderer}
    bundle = make_bundle({part: load_stage(str(workdir / points[part]), tasks) for part, tasks in TASKS.items()})
    check_folder(folder)
    save_bundle(bundle, folder / "bundle")
    spectra: list[np.ndarray] = []
    for start in range(0, len(scenes), BATCH):
        batch = [scenes[min(i, len(scenes) - 1)] for i in range(start, start + BATCH)]  # one compiled size
        images, seeds = np.stack([scene.image for scene in batch]), [scene.index for scene in batch]
        made = predict_spectra(bundle, images, seeds, num_steps=SAMPLING_STEPS, method="dpmpp_2m")
        spectra += list(made[: len(scenes) - start])
    frames = (
        np.stack(list(render_frames(bundle, scene.image, spectrum, np.arange(scene.first, scene.first + FRAMES))))
        for scene, spectrum in zip(scenes, spectra, strict=True)
    )
    keep_clips(folder, scenes, frames)
    moved = [motion(spectrum, scene.spectrum) for scene, spectrum in zip(scenes, spectra, strict=True)]
    write_text(folder / "motion.json", json.dumps(moved))


def motion(spectrum: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Figures of one example. Rows differ in K: one truth for all, and by frequency only those that all have."""
    from gid_jax.evaluation.motion import describe
    from gid_jax.metrics.motion import amplitude_error_db, map_correlation, phase_coherence

    return {
        "map_correlation": float(map_correlation(describe(spectrum).map, describe(truth).map)),
        "amplitude_error_db": float(np.abs(amplitude_error_db(spectrum[:COMMON], truth[:COMMON])).mean()),
        "phase_coherence": float(phase_coherence(spectrum[:COMMON])),
        "true_phase_coherence": float(phase_coherence(truth[:COMMON])),
    }


def keep_clips(folder: Path, scenes: Sequence[Scene], clips: Iterator[np.ndarray]) -> None:
    """Each clip uint8 [t, h, w, 3] as a folder of numbered PNGs, FOLDER/clips/INDEX, whole or not at all."""
    from PIL import Image

    from gid_jax.progress import progress

    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for scene, clip in progress(zip(scenes, clips, strict=True), name=folder.name, total=len(scenes), unit="clip"):
        target = folder / "clips" / f"{scene.index:05}"
        if not target.exists():
            with written_folder(target) as partial:
                for number, frame in enumerate(clip):
                    Image.fromarray(frame).save(partial / f"{number:03}.png", compress_level=1)


def to_bytes(image: np.ndarray) -> np.ndarray:
    return np.round(image * 255).astype(np.uint8)


if __name__ == "__main__":
    cli.run(main, FLAGS)
