"""What a data set says of itself: the scales of the adaptive normalisation and the mean power spectrum."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from gid_jax.errors import UserError

FILE_NAME = "statistics.json"


@dataclasses.dataclass(frozen=True, eq=False)
class DatasetStatistics:
    """Statistics of the training split, in pixels of the stored resolution.

    `scales` float32 [k]: s_k, 95th percentile of the modulus of the complex coefficients at frequency k, pooled over
    pixels, x and y, and examples (eq. 4). `mean_power` float32 [k]: mean of the squared modulus, px^2. The spectra
    come from `num_frames` frames at `fps`; pictures are `width` x `height`. `num_examples` counts training examples.
    """

    scales: np.ndarray
    mean_power: np.ndarray
    num_examples: int
    width: int
    height: int
    fps: float
    num_frames: int

    def save(self, path: str | os.PathLike) -> None:
        """Writes JSON, all or nothing."""
        path = Path(path)
        fields = dataclasses.asdict(self)
        for name in ("scales", "mean_power"):
            fields[name] = np.asarray(fields[name], np.float64).tolist()
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(fields, indent=2) + "\n")
        temporary.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "DatasetStatistics":
        """Reads what `save` wrote. Raises `UserError` if the file is missing or is something else."""
        try:
            fields = json.loads(Path(path).read_text())
            for name in ("scales", "mean_power"):
                fields[name] = np.asarray(fields[name], np.float32)
            return cls(**fields)
        except FileNotFoundError:
            raise UserError(f"{path}: missing; the data set is not finished: run data_pipeline.build again") from None
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: not the statistics of a data set ({error}); build the data set again") from None
