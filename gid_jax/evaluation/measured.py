"""What enters the figures of every row and example: motion and features, kept on disk by what they were made from."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.evaluation import kept, rendering
from gid_jax.evaluation.clip_features import Measure
from gid_jax.evaluation.examples import Example
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.motion import Description
from gid_jax.evaluation.movements import Movement
from gid_jax.evaluation.rows import Row

VERSION = 1  # of what is kept and of how it is made; another one makes it be computed again

Arrays = dict[str, np.ndarray]


class Measured:
    """Measures rows by the networks `chosen`, on windows of clips of `num_frames` frames; keeps it in `folder`."""

    def __init__(self, chosen: Sequence[Measure], config: ConfigDict, num_frames: int, folder: Path):
        self.chosen, self.starts = chosen, {m.tag: starts(config, num_frames, m.window) for m in chosen}
        self._crop, self._folder = (config.crop.width, config.crop.height), folder
        looked_at = {t + i for m in chosen for t in self.starts[m.tag] for i in range(m.window or 1)}
        self._times = np.asarray(sorted(looked_at))  # of the frames that anything looks at: no others are rendered
        self._how = " ".join(f"{tag} {found}" for tag, found in self.starts.items())

    def motion(self, row: Row, batch: Sequence[Example]) -> list[Description | None]:
        """None where the row has no motion to describe."""
        found = self._known(f"motion {row.name}", row, batch, 0, lambda _, movement: _packed(movement.describe()))
        return [_unpacked(arrays) for arrays in found]

    def features(self, row: Row, batch: Sequence[Example]) -> list[list[Path]]:
        """For `load`: the files of each example, one for each sample."""
        files = []
        for sample in range(row.samples):
            self._known(self._how, row, batch, sample, self._features)
            files.append([self._file(self._how, row.recipe(example, sample), example) for example in batch])
        return [list(of_example) for of_example in zip(*files, strict=True)]

    def renderer(self, model: Model, identity: str, example: Example) -> dict[str, dict[str, float]]:
        """`rendering.measure`."""
        file = self._file(f"renderer {self._crop}", identity, example)
        known = kept.load(file)
        if known is None:
            found = rendering.measure(model, example, self._crop)
            known = {f"{who}/{key}": np.array(value) for who, of in found.items() for key, value in of.items()}
            kept.keep(file, **known)
        figures: dict[str, dict[str, float]] = {}
        for name, value in known.items():
            who, _, key = name.partition("/")
            figures.setdefault(who, {})[key] = float(value)
        return figures

    def _known(
        self,
        about: str,
        row: Row,
        batch: Sequence[Example],
        sample: int,
        compute: Callable[[Example, Movement], Arrays],
    ) -> list[Arrays]:
        files = [self._file(about, row.recipe(example, sample), example) for example in batch]
        found = [kept.load(file) for file in files]
        missing = [i for i, arrays in enumerate(found) if arrays is None]
        for i, movement in zip(missing, row.predict([batch[i] for i in missing], sample), strict=True):
            made = found[i] = compute(batch[i], movement)
            kept.keep(files[i], **made)
        return [arrays for arrays in found if arrays is not None]

    def _file(self, about: str, recipe: str, example: Example) -> Path:
        return self._folder / f"{kept.digest(str(VERSION), about, recipe, example.identity)}.npz"

    def _features(self, example: Example, movement: Movement) -> Arrays:
        frames = rendering.centre_crop(movement.frames(example.image, self._times), self._crop)
        found = {}
        for measure in self.chosen:
            first = np.searchsorted(self._times, self.starts[measure.tag])
            inputs = [frames[i] if measure.window is None else frames[i : i + measure.window] for i in first]
            distinct = inputs[:1] if movement.still else inputs
            features = np.stack(list(measure.run(distinct)))
            found[measure.tag] = np.repeat(features, len(inputs) // len(distinct), axis=0)
        return found


def load(files: Sequence[Path], measure: Measure) -> np.ndarray:
    """Features [n, d] of an example's samples, one after the other."""
    found = []
    for file in files:
        with np.load(file) as stored:
            found.append(stored[measure.tag])
    return np.concatenate(found)


def starts(config: ConfigDict, num_frames: int, window: int | None) -> list[int]:
    """First frames of what a network sees of a clip: windows, or for None single frames."""
    if window is None:
        return list(range(0, num_frames, config.windows.frame_step))
    return list(range(0, num_frames - window + 1, config.windows.stride))


def _packed(description: Description | None) -> Arrays:
    if description is None:
        return {}
    coherence = np.nan if description.coherence is None else description.coherence
    numbers = np.array([coherence, description.wrap])
    return {"map": description.map, "bands": description.bands, "numbers": numbers}


def _unpacked(arrays: Arrays) -> Description | None:
    if not arrays:
        return None
    coherence, wrap = arrays["numbers"].tolist()
    return Description(arrays["map"], arrays["bands"], None if np.isnan(coherence) else coherence, wrap)
