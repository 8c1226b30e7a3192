"""The data set that the benchmarks of codec and loader share: real clips, or procedural scenes, at the preset `paper`.

Built once into --data_dir and resumable. The spectra are kept as they were before coding, beside the set.
"""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import flags

from configs.data import get_config
from data_pipeline import dataset
from gid_jax import flow
from gid_jax.motion.spectrum import to_spectrum


def define_flags(flag_values: flags.FlagValues) -> None:
    flags.DEFINE_string("videos", "../shared/clips", "clips; procedural ones if absent", flag_values=flag_values)
    flags.DEFINE_string("data_dir", "out/benchmark_data", "where the data set is kept", flag_values=flag_values)
    flags.DEFINE_enum("flow", "fast", ["fast", "accurate"], "preset of the flow", flag_values=flag_values)
    flags.DEFINE_integer("starts", 1, "start frames a clip", lower_bound=1, flag_values=flag_values)


def build(flag_values: flags.FlagValues) -> Path:
    """Folder of the finished set."""
    root = Path(flag_values.data_dir).absolute()
    videos = Path(flag_values.videos)
    if not videos.exists():
        videos = _render(root / "clips")
    config = get_config("paper")
    with config.unlocked():
        config.flow_preset, config.max_starts = flag_values.flow, flag_values.starts
    return dataset.build(str(videos), str(root), config, loops="*_loop*", estimator=make_recorder(flag_values))


def make_recorder(flag_values: flags.FlagValues) -> "Recorder":
    spectra = Path(flag_values.data_dir).absolute() / "spectra"
    spectra.mkdir(parents=True, exist_ok=True)
    return Recorder(str(spectra), get_config("paper").num_frequencies)


@dataclasses.dataclass(frozen=True)
class Recorder:
    """`flow.follow` that writes the spectrum of each clip to a folder, under a name made from its first picture."""

    folder: str
    num_frequencies: int

    def __call__(self, source: np.ndarray, targets: np.ndarray, preset: str) -> np.ndarray:
        motion = np.asarray(flow.follow(source, targets, preset), np.float32)
        if len(targets) > 1:
            whole = np.concatenate([np.zeros_like(motion[:1]), motion])
            np.save(self.path(source), np.asarray(to_spectrum(whole, self.num_frequencies)))
        return motion

    def path(self, picture: np.ndarray) -> Path:
        """`picture`: float32 [h, w, 3] in [0, 1]."""
        return Path(self.folder) / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:16]}.npy"


def _render(clips: Path) -> Path:
    size = ["--width=256", "--height=160", "--clips=16"]
    subprocess.run([sys.executable, "-m", "data_pipeline.procedural", f"--out={clips}", *size], check=True)
    return clips
