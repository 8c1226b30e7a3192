"""Memory of the worker that reads and judges one long video: procedural scenes joined, a minute each.

    python benchmarks/long_video.py [--minutes=60] [--preset=demo]

A scene of ten seconds goes forth and back for a minute; the same scene comes again mirrored and in other colours. The
build takes one start frame of each shot. Printed last, as JSON: minutes, shots, their seconds in all, those with an
accepted start frame, peak GiB of the build and its decoder together.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from absl import flags
from build import watched

from data_pipeline.procedural import render_clip
from gid_jax import cli
from gid_jax.progress import progress

FLAGS = flags.FlagValues()
flags.DEFINE_integer("minutes", 60, "length of the video", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_enum("preset", "demo", ["paper", "highres", "demo", "test"], "sizes", flag_values=FLAGS)

WIDTH, HEIGHT, FPS, SCENE = 320, 180, 25, 250  # frames of a scene
COLOURS = tuple(itertools.permutations(range(3)))


def shots(minutes: int) -> Iterator[np.ndarray]:
    """uint8 [SCENE, HEIGHT, WIDTH, 3]."""
    for number in range(minutes):
        scene, look = divmod(number, 2 * len(COLOURS))
        if look == 0:
            frames = render_clip(7_000 + scene, width=WIDTH, height=HEIGHT, num_frames=SCENE).frames
        yield np.ascontiguousarray(frames[:, :, :: 1 - 2 * (look % 2)][..., COLOURS[look // 2]])


def write(path: Path, scenes: Iterable[np.ndarray], minutes: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frames in progress(scenes, name="making the video", total=minutes, unit="shot"):
            forth_and_back = itertools.cycle([*range(SCENE), *range(SCENE - 2, 0, -1)])
            for number in itertools.islice(forth_and_back, 60 * FPS):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[number], format="rgb24")))
        container.mux(stream.encode())


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        videos, root = Path(folder) / "videos", Path(folder) / "data"
        videos.mkdir()
        write(videos / "long.mp4", shots(FLAGS.minutes), FLAGS.minutes)
        other = render_clip(1, width=WIDTH, height=HEIGHT, num_frames=SCENE).frames
        write(videos / "other.mp4", [other], 1)  # the test split needs a video too
        command = [sys.executable, "-m", "data_pipeline.build", f"--videos={videos}", f"--data_dir={root}"]
        peak = watched([*command, f"--config=configs/data.py:{FLAGS.preset}", "--config.max_starts=1"])
        entries = json.loads((root / "build_report.json").read_text())["videos"]
    used = next(entry["shots"] for entry in entries if entry["path"].endswith("long.mp4"))
    figures = {
        "minutes": FLAGS.minutes,
        "shots": len(used),
        "seconds": round(sum(shot["to"] - shot["from"] for shot in used)),
        "accepted": sum(shot["accepted"] > 0 for shot in used),
        "peak GiB": round(peak, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
