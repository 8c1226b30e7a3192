"""What a set of real clips comes to, in one file that can be given instead of them."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gid_jax.errors import UserError
from gid_jax.evaluation.clip_features import Side
from gid_jax.files import written
from gid_jax.metrics import distances
from gid_jax.metrics.frechet import Normal

FORMAT = 1
_FLAGS = {"crop": "--crop", "inception_resize": "--resize", "inception_frames": "--frame_step"}


@dataclass(frozen=True)
class Saved:
    """Normal distributions of the features by tag, beside the protocol that they were made by; `folder` is the file."""

    folder: Path
    protocol: dict
    count: int
    left_out: dict[str, str]
    too_short: dict[str, str]
    halves: dict[str, float | None]
    normals: dict[str, Normal]

    def check(self, protocol: dict) -> None:
        """Raises UserError unless `protocol` (`compare.describe`), as far as it goes, is what this was made by."""
        for name, flag in _FLAGS.items():
            if protocol[name] != self.protocol[name]:
                raise UserError(
                    f"{self.folder}: made with {flag} {self.protocol[name] or 'none'}, here it is "
                    f"{protocol[name] or 'none'}; give the same flags or make it again by --save_stats"
                )
        for network, source in protocol["networks"].items():
            theirs = self.protocol["networks"].get(network)
            if theirs is not None and theirs.get("sha256") != source.get("sha256"):
                raise UserError(
                    f"{self.folder}: made with other weights of {network} ({theirs.get('source')}); make it again by "
                    "--save_stats"
                )
        for name in ("of", "size"):
            if name in protocol and protocol[name] != self.protocol[name]:
                raise UserError(
                    f"{self.folder}: made of {self.protocol['of']} of {self.protocol['size']}, FAKE holds "
                    f"{protocol['of']} of {protocol['size']}; --crop=WIDTHxHEIGHT takes the same centre of all"
                )


def save(path: Path, side: Side, protocol: dict) -> None:
    """Writes the statistics of `side`. Raises UserError where it cannot."""
    arrays: dict[str, np.ndarray] = {}
    halves = {}
    for tag, features in side.features.items():
        normal = distances.normal_of(np.concatenate(features))
        arrays |= {f"{tag}/mean": normal.mean, f"{tag}/factor": normal.factor, f"{tag}/n": np.array(normal.count)}
        halves[tag] = distances.of_halves(features)
    about = {
        "format": FORMAT,
        "protocol": protocol,
        "count": side.count,
        "left_out": side.left_out,
        "too_short": side.too_short,
        "halves": halves,
    }
    with written(path, "--save_stats") as partial:
        np.savez(partial, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Saved:
    """Raises UserError for a file that is missing or something else."""
    try:
        with np.load(path) as stored:
            about = json.loads(str(stored["about"]))
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']}")
            normals = {
                tag: Normal(int(stored[f"{tag}/n"]), stored[f"{tag}/mean"], stored[f"{tag}/factor"])
                for tag in about["halves"]
            }
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no statistics of --save_stats ({error}); make it again") from error
    return Saved(
        path, about["protocol"], about["count"], about["left_out"], about["too_short"], about["halves"], normals
    )
