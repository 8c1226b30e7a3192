"""A folder of clips: which ones it is to hold, which are there, rendering one."""

import multiprocessing
import os
import signal
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipeline.procedural import scenes
from data_pipeline.procedural.clip import render_clip, save_clip
from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.files import written
from gid_jax.progress import progress


class Order(NamedTuple):
    """One clip to be rendered."""

    path: Path  # without suffix
    seed: int
    size: tuple[int, int, int]  # frames, height, width
    kinds: tuple[str, ...] | None  # scenes to choose from
    held_out: bool
    wind: float = 1.0


_KINDS = len(scenes.TRAIN) + len(scenes.TEST_ONLY)


def orders(out: Path, clips: int, split: str, seed: int, size: tuple[int, int, int], wind: float = 1.0) -> list[Order]:
    """The clips of a folder. `all` takes the last eighth, at least one, from the test split.

    Of every eight test clips the second shows cloth, which no training clip does: its share among eight kinds of scene.
    """
    if split == "all" and clips < 2:
        raise UserError(f"--clips={clips}: --split=all needs at least 2, one of them to test on")
    held_out = {"train": 0, "test": clips, "all": max(1, round(clips / 8))}[split]
    listed = []
    for part, count in enumerate((clips - held_out, held_out)):
        for number in range(count):
            name = f"{('clip', 'test')[part]}_{number:05d}"
            # NumPy cuts numbers into words of 32 bits: the high bits first would be taken for the part.
            words = [seed % 2**32, part, number, seed // 2**32]
            clip_seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
            kinds = tuple(scenes.TEST_ONLY) if part and number % _KINDS == 1 else None
            listed.append(Order(out / name, clip_seed, size, kinds, bool(part), wind))
    return listed


def is_there(order: Order) -> bool:
    """Whether the clip was written, whole (the video comes last). UserError where another clip has its name."""
    video, exact = order.path.with_suffix(".mp4"), order.path.with_suffix(".npz")
    if video.exists() and not exact.exists():
        raise UserError(f"{video}: no clip of this command, {exact.name} is missing; choose another --out or move it")
    if not (video.exists() and exact.exists() and (_picture(order).exists() or not order.held_out)):
        return False
    try:
        with np.load(exact) as stored:
            found = int(stored["seed"]), tuple(stored["size"].tolist()), float(stored.get("wind", 1.0))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return False
    if found != (order.seed, order.size, order.wind):
        raise UserError(f"{video}: a clip of another --seed, --wind, size or split; choose another --out or remove it")
    return True


def render(missing: list[Order], total: int) -> None:
    """Renders clips in as many processes as there are cores, each with one thread."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    workers = min(os.cpu_count() or 1, len(missing))
    kinds = signal.SIGINT, signal.SIGHUP  # which a terminal sends to all; the processes of the pool are ended from here
    ours = [signal.signal(kind, signal.SIG_IGN) for kind in kinds]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        clips = as_completed([pool.submit(_work, order) for order in missing])
        for kind, handler in zip(kinds, ours, strict=True):
            signal.signal(kind, handler)
        try:
            done = total - len(missing)
            for clip in progress(clips, name="rendering clips", total=total, initial=done, unit="clip"):
                clip.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def fulfil(order: Order) -> None:
    """Renders and writes the clip, and for a test clip a picture to animate: its first frame, three times as large."""
    frames, height, width = order.size
    if order.held_out:
        shown = {"width": 3 * width, "height": 3 * height, "num_frames": 1}
        still = render_clip(order.seed, **shown, kinds=order.kinds, wind=order.wind)
        with written(_picture(order)) as partial:
            Image.fromarray(still.frames[0]).save(partial, "PNG")
    shown = {"width": width, "height": height, "num_frames": frames}
    clip = render_clip(order.seed, **shown, kinds=order.kinds, wind=order.wind)
    save_clip(clip, order.path)


def _work(order: Order) -> None:
    try:
        with cli.stoppable():
            fulfil(order)
    except cli.Stopped as stopped:
        os._exit(128 + stopped.number)  # what was in hand is removed; the pool would go on with the next


def _picture(order: Order) -> Path:
    return order.path.with_suffix(".png")
