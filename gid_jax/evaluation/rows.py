"""The rows of the table: who gives pictures their motion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gid_jax.data import codec
from gid_jax.data.source import Source
from gid_jax.evaluation import baselines, examples, kept
from gid_jax.evaluation.examples import Example
from gid_jax.evaluation.model import Model
from gid_jax.evaluation.movements import Flow, Movement, Recorded, Still, Waves
from gid_jax.streams import LAST_SEED

ROWS = {
    "real": "the videos themselves, one half against the other: as near as sets of half the size come",
    "model": "the model's motion for the picture",
    "uncoordinated": "the same without attention over frequencies, as stage 2 left it",
    "nearest": "the motion of the training picture that is most like it, by VGG16's features, carried over",
    "mean_spectrum": "mean motion map and mean power of the training set, at random phases: the picture sways in step",
    "eulerian": "constant flow: the model's velocity at the start, integrated, splatted symmetrically (no network)",
    "repeat_i0": "the start frame, standing still",
}


@dataclass(frozen=True)
class Row:
    """`recipe(example, sample)` names all that decides its clip, the picture aside; `predict` makes the movements of
    some examples, of which it has `samples` each."""

    name: str
    recipe: Callable[[Example, int], str]
    predict: Callable[[Sequence[Example], int], Sequence[Movement]]
    samples: int = 1


class Sampled:
    """The spectra that a model draws for examples, those of the last ones kept."""

    def __init__(self, model: Model, config: ConfigDict, stride: int):
        self._model, self._config, self._stride = model, config, stride
        self._last: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, wanted: Sequence[Example], sample: int = 0) -> list[np.ndarray]:
        missing = [example for example in wanted if (example.index, sample) not in self._last]
        size = self._config.batch_size
        for first in range(0, len(missing), size):
            self._predict(missing[first : first + size], sample)
        return [self._last[example.index, sample] for example in wanted]

    def forget(self) -> None:
        self._last.clear()

    def seed(self, example: Example, sample: int) -> int:
        return (self._config.seed + example.index + sample * self._stride) % (LAST_SEED + 1)

    def _predict(self, batch: Sequence[Example], sample: int) -> None:
        """A last, smaller batch is filled up, so that only one shape is compiled."""
        filled = [batch[min(i, len(batch) - 1)] for i in range(self._config.batch_size)]
        images = np.stack([example.image for example in filled])
        spectra = self._model.predict(images, [self.seed(example, sample) for example in filled])
        for example, spectrum in zip(batch, np.asarray(spectra), strict=False):
            self._last[example.index, sample] = spectrum


def rows(
    model: Model,
    sampled: Sampled,
    independent: Sampled | None,
    identity: str,
    train: Source,
    neighbours: dict[int, int],
    swaying: np.ndarray,
    config: ConfigDict,
) -> list[Row]:
    """All rows. `neighbours` are the training examples nearest to test examples by their indices, `swaying` is the
    spectrum of the mean, `identity` that of the model."""

    def of_model(name: str, source: Sampled) -> Row:
        return Row(
            name,
            lambda example, sample: f"{name} {identity} {source.seed(example, sample)}",
            lambda wanted, sample: [Waves(model, spectrum) for spectrum in source(wanted, sample)],
            config.samples,
        )

    def neighbour(example: Example) -> np.ndarray:
        raw = train[neighbours[example.index]]
        frequencies = range(model.num_frequencies)
        return codec.decode_example(raw, frequencies=frequencies, pairs=False)["spectrum"]

    def neighbour_recipe(example: Example, sample: int) -> str:
        raw = train[neighbours[example.index]]
        return f"nearest {identity} {kept.digest(*map(bytes, raw['spectrum']))}"

    def flow(example: Example) -> Flow:
        return Flow(baselines.velocity(sampled([example])[0]), model.num_frequencies)

    of_mean = kept.digest(swaying.tobytes())
    found = [
        Row("real", lambda example, _: "real", lambda wanted, _: [Recorded(example.reference) for example in wanted]),
        of_model("model", sampled),
        Row("nearest", neighbour_recipe, lambda wanted, _: [Waves(model, neighbour(example)) for example in wanted]),
        Row(
            "mean_spectrum",
            lambda example, _: f"mean {identity} {of_mean}",
            lambda wanted, _: [Waves(model, swaying)] * len(wanted),
        ),
        Row(
            "eulerian",
            lambda example, _: f"eulerian {identity} {sampled.seed(example, 0)}",
            lambda wanted, _: [flow(example) for example in wanted],
        ),
        Row("repeat_i0", lambda example, _: "still", lambda wanted, _: [Still()] * len(wanted)),
    ]
    if independent is not None:
        found.insert(2, of_model("uncoordinated", independent))
    return found


def find_neighbours(train: Source, test: Source, indices: Sequence[int], count: int, folder: Path) -> dict[int, int]:
    """The nearest of `count` training pictures to each test example of `indices`; kept in `folder`."""
    among = examples.spread(len(train), count)
    pictures = [bytes(source[i]["image"]) for source, chosen in ((train, among), (test, indices)) for i in chosen]
    file = folder / f"{kept.digest('nearest', *pictures)}.npz"
    known = kept.load(file)
    if known is None:
        images = (codec.decode_image(picture) for picture in pictures[len(among) :])
        known = {"nearest": np.asarray(baselines.nearest(train, among, images))}
        kept.keep(file, **known)
    return dict(zip(indices, known["nearest"].tolist(), strict=True))
