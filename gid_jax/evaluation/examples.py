"""Which test examples are measured, and what they are measured against."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gid_jax.data import codec
from gid_jax.data.source import Source
from gid_jax.evaluation import kept
from gid_jax.progress import progress


@dataclass(frozen=True)
class Example:
    """One start frame of the test split. Pictures float32 in [0, 1], motion in px; spectra hold the model's K
    frequencies.

    `exact` is the spectrum of a rendered scene's true motion, None for real videos, whose `stored` one comes from
    estimated optical flow. `targets` [r, h, w, 3] are frames `times` [r] of the video, `flows` [r, h, w, 2] the motion
    to them, `weight` [h, w] the splatting weight. `reference` is the coded clip, empty where the data set keeps none;
    `identity` stands for all that is stored.
    """

    index: int
    video: str
    start: int
    image: np.ndarray
    stored: np.ndarray
    exact: np.ndarray | None
    weight: np.ndarray
    targets: np.ndarray
    flows: np.ndarray
    times: np.ndarray
    reference: bytes
    identity: str

    @property
    def truths(self) -> dict[str, np.ndarray]:
        return {"stored": self.stored} if self.exact is None else {"stored": self.stored, "exact": self.exact}


def spread(available: int, wanted: int) -> list[int]:
    """At most `wanted` distinct indices, evenly spread over range(available)."""
    return sorted({int(i) for i in np.linspace(0, available - 1, min(wanted, available)).round()})


def read(source: Source, index: int, num_frequencies: int) -> Example:
    raw = source[index]
    fields = codec.decode_example(raw, frequencies=range(num_frequencies), pairs=True)
    return Example(
        index=index,
        video=fields["video_id"],
        start=int(fields["start"]),
        image=fields["image"].astype(np.float32) / 255,
        stored=fields["spectrum"],
        exact=fields.get("exact_spectrum"),
        weight=fields["motion_weight"].astype(np.float32),
        targets=fields["target_frames"].astype(np.float32) / 255,
        flows=fields["target_flows"],
        times=fields["target_times"],
        reference=bytes(raw.get("reference_clip", b"")),
        identity=kept.digest(*(part for _, value in sorted(raw.items()) for part in _parts(value))),
    )


def _parts(value: Any) -> list[bytes]:
    """A stored field as bytes."""
    if isinstance(value, list):
        return [part for item in value for part in _parts(item)]
    return [
        value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else np.asarray(value).tobytes()
    ]


def video(source: Source, index: int) -> str:
    return bytes(source[index]["video_id"]).decode()


def mean_motion_map(train: Source, count: int) -> np.ndarray:
    """Mean over `count` training examples of the mean over t of |F_t|, float32 [h, w], px: where things move, picture
    unseen."""
    indices = spread(len(train), count)
    total = np.zeros((train.statistics.height, train.statistics.width), np.float32)
    for i in progress(indices, name="training maps"):
        total += train[i]["motion_weight"]
    return total / len(indices)


def others(videos: list[str]) -> list[int | None]:
    """For each example the next one, cyclically, of another video: the picture that its motion is *not* predicted from.

    Where all are of one video, the next one; None for a single example.
    """
    count = len(videos)
    found: list[int | None] = []
    for i, video in enumerate(videos):
        following = [(i + step) % count for step in range(1, count)]
        found.append(next((j for j in following if videos[j] != video), following[0] if following else None))
    return found


def siblings(videos: list[str], starts: list[int]) -> list[int | None]:
    """For each example the one of the same video that starts farthest from it, None where there is no other."""
    found: list[int | None] = []
    for i, video in enumerate(videos):
        same = [j for j, other in enumerate(videos) if other == video and j != i]
        found.append(max(same, key=lambda j: abs(starts[j] - starts[i])) if same else None)
    return found
