"""Two evaluations beside each other, example by example."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gid_jax.errors import UserError
from gid_jax.evaluation.subjects import Subjects

FIGURES = {
    "map_correlation": "correlation of motion maps",
    "amplitude_error_db": "amplitude error, dB",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "lpips": "LPIPS",
}


@dataclass(frozen=True)
class Other:
    """An earlier metrics.json."""

    path: Path
    metrics: dict

    @classmethod
    def read(cls, path: Path, wanted: int) -> "Other":
        """Raises UserError for a file that is missing, is none, or is not of the format `wanted`."""
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            found = metrics["format"]
            if found == wanted:
                [(_key(row), row["motion"], row["renderer"]) for row in metrics["examples"]]
                metrics["summary"]["truth"], metrics["distributions"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            raise UserError(f"--compare={path}: no metrics.json of gid_jax.eval ({reason})") from error
        if found != wanted:
            raise UserError(
                f"--compare={path}: of format {found}, this program writes {wanted}; evaluate that bundle again"
            )
        return cls(path, metrics)

    def compare(self, metrics: dict, subjects: Subjects) -> dict:
        """`figures`: means of both over the examples common to both, and the mean of the paired differences, ours minus
        theirs, with its interval; `distances`: the values of both over their own examples.

        Raises UserError where no example is common.
        """
        truth = metrics["summary"]["truth"]
        theirs = {_key(row): row for row in self.metrics["examples"]}
        pairs = [(row, theirs[_key(row)]) for row in metrics["examples"] if _key(row) in theirs]
        pairs = [pair for pair in pairs if all(truth in row["motion"] for row in pair)]
        if not pairs:
            raise UserError(f"--compare={self.path}: has no example in common with this data set")
        figures = {}
        for name in FIGURES:
            known = [(_value(ours, truth, name), _value(other, truth, name), ours["video"]) for ours, other in pairs]
            values = [(a, b, video) for a, b, video in known if a is not None and b is not None]
            if values:
                this, that, videos = zip(*values, strict=True)
                figures[name] = {
                    "this": subjects.estimate(this, videos),
                    "other": subjects.estimate(that, videos),
                    "difference": subjects.estimate(np.subtract(this, that), videos),
                }
        distances = {
            name: {"this": row["value"], "other": self.metrics["distributions"].get(name, {}).get("value")}
            for name, row in metrics["distributions"].items()
            if row.get("value") is not None
        }
        return {"with": str(self.path), "examples": len(pairs), "figures": figures, "distances": distances}


def _key(row: dict) -> tuple[str, int]:
    return row["video"], row["start"]


def _value(row: dict, truth: str, name: str) -> float | None:
    of = row["motion"][truth] if name in ("map_correlation", "amplitude_error_db") else row["renderer"]
    return of["model"].get(name)
