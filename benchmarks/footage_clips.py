"""Renders the scenes of `footage_scenes` as they are, taken otherwise, and spoilt: a folder with its LIST.tsv.

Each scene gives a good clip and a bad one, in turn among all ways to take and to spoil them; captured footage, the
nearest to what is to be judged, gives `CAPTURED` good ones, and is spoilt in every way.
"""

import fnmatch
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import footage_scenes
import made_clips
import numpy as np
from filters import write_video
from made_clips import Pictures

from gid_jax.progress import progress

CAPTURED = 4
LENGTH = 150  # frames of a clip at 30 fps
Taken = tuple[Pictures, int, int]
"""Pictures, frames a second, constant rate factor of the coder."""


def plain(seen: Pictures) -> Taken:
    return seen[:LENGTH], 30, 18


def mirrored(seen: Pictures) -> Taken:
    return seen[:LENGTH, :, ::-1], 30, 18


def cropped(seen: Pictures) -> Taken:
    """Three quarters of the width and height."""
    height, width = seen.shape[1:3]
    return seen[:LENGTH, height // 8 : height // 8 + height * 3 // 4 // 2 * 2, : width * 3 // 4 // 2 * 2], 30, 18


def faster(seen: Pictures) -> Taken:
    return seen, 40, 18


def slower(seen: Pictures) -> Taken:
    return seen[:LENGTH], 22, 18


def darkened(seen: Pictures) -> Taken:
    return (seen[:LENGTH] * 0.5).astype(np.uint8), 30, 18


def noisy(seen: Pictures) -> Taken:
    """A sensor's noise, 3 of 255."""
    noise = np.random.default_rng(0).normal(0, 3, seen[:LENGTH].shape)
    return np.clip(np.round(seen[:LENGTH] + noise), 0, 255).astype(np.uint8), 30, 18


def coarse(seen: Pictures) -> Taken:
    return seen[:LENGTH], 30, 32


TAKES: tuple[Callable[[Pictures], Taken], ...] = (plain, mirrored, cropped, faster, slower, darkened, noisy, coarse)
FAULTS = {name: fault for name, fault in made_clips.FAULTS.items() if fault[1] is not None}
UNSEEN = {
    "flame": {"pan", "tilt", "drift", "zoom", "shake", "flicker", "tea light", "exposure step", "clouds", "lamp"},
    "field": {"tea light", "lamp"},
    "footage": {"time-lapse"},
}
"""Faults that cannot be told, by how the scene's name begins: a camera in the dark, a local light where all moves."""


def clips(scenes: dict[str, footage_scenes.Scene]) -> Iterator[tuple[str, str, str, Callable[[Pictures], Taken]]]:
    """Scene, file name, right verdict, how it is taken."""
    for number, scene in enumerate(scenes):
        captured, there = scene.startswith("footage"), scene.startswith(("footage", "page"))
        takes = TAKES[1:] if there else TAKES  # as they are, these are judged by other benchmarks
        for i in range(CAPTURED if captured else 1):
            take = takes[(number + 2 * i) % len(takes)]
            yield scene, f"{scene}.{take.__name__}.mp4", "accept", take
        unseen = next((faults for begin, faults in UNSEEN.items() if scene.startswith(begin)), set())
        possible = [name for name in FAULTS if name not in unseen]
        for name in possible if captured else [possible[number % len(possible)]]:
            spoil, reason = FAULTS[name]
            yield scene, f"{scene}.{name.replace(' ', '_')}.mp4", str(reason), lambda p, s=spoil: plain(s(p[:LENGTH]))


def first_half(name: str) -> bool:
    """Whether thresholds may be chosen on a clip, by its scene."""
    return zlib.crc32(name.split(".")[0].encode()) % 2 == 0


def render(folder: Path, shared: Path, chosen: str) -> Path:
    """Whatever is not there yet of the clips of scenes that match the glob `chosen`; the path of their list."""
    folder.mkdir(parents=True, exist_ok=True)
    footage = [path for path in sorted((shared / "footage").glob("*.mp4"))]
    scenes = footage_scenes.all_scenes(shared / "clips", footage)
    wanted = [clip for clip in clips(scenes) if fnmatch.fnmatch(clip[0], chosen)]
    latest: tuple[str, Pictures | None] = "", None
    for scene, name, _, take in progress(wanted, name="rendering", total=len(wanted), unit="clip"):
        if (folder / name).is_file():
            continue
        if latest[0] != scene:
            latest = scene, scenes[scene]()
        pictures, rate, factor = take(latest[1])
        write_video(folder / name, pictures, factor, rate)
    lines = [f"{name}\t{verdict}" for _, name, verdict, _ in wanted]
    path = folder / "LIST.tsv"
    path.write_text("\n".join(["file\tverdict", *lines]) + "\n")
    return path
