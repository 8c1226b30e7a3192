"""Bytes, error and decoding time of stored examples of real clips at 256 x 160.

    python benchmarks/codec.py [--videos=../shared/clips] [--data_dir=out/benchmark_data] [--flow=fast]

An example is the picture, 25 frequencies and four renderer pairs. The error is that of the trajectories over 150 frames
against the series of 25 terms before coding: root mean square over pixels and frames of the vector error, px. Times are
medians over the examples, in one thread.
"""

import json
import time

import numpy as np
import page_clips
import tensorflow_datasets as tfds
from absl import flags

from gid_jax import cli
from gid_jax.data import codec
from gid_jax.motion.spectrum import to_trajectories

FLAGS = flags.FlagValues()
page_clips.define_flags(FLAGS)


def stored_bytes(raw: dict) -> dict[str, int]:
    pairs = sum(map(len, raw["target_frames"])) + sum(map(len, raw["target_flows"]))
    parts = {"image": len(raw["image"]), "spectrum": sum(map(len, raw["spectrum"])), "pairs": pairs}
    parts["motion weight"] = np.asarray(raw["motion_weight"]).nbytes
    return parts | {"all": sum(parts.values())}


def timed_ms(call, repeats: int = 3) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.thread_time()
        call()
        seconds.append(time.thread_time() - began)
    return 1e3 * min(seconds)


def measure(raw: dict, recorder: page_clips.Recorder) -> dict[str, float]:
    decoded = codec.decode_example(raw, frequencies=range(25), pairs=True)
    before = np.load(recorder.path(decoded["image"].astype(np.float32) / 255))
    error = np.asarray(to_trajectories(decoded["spectrum"] - before, 150, 150), np.float64)
    return {
        **{f"{part} MB": size / 1e6 for part, size in stored_bytes(raw).items()},
        "error px": float(np.sqrt((error**2).sum(-1).mean())),
        "decode all ms": timed_ms(lambda: codec.decode_example(raw, frequencies=range(25), pairs=True)),
        "decode slice ms": timed_ms(lambda: codec.decode_example(raw, frequencies=(5,), pairs=False)),
    }


def main(arguments: list[str]) -> None:
    directory = page_clips.build(FLAGS)
    sources = tfds.builder_from_directory(directory).as_data_source()
    recorder = page_clips.make_recorder(FLAGS)
    rows = {}
    for raw in (raw for split in sources.values() for raw in split):
        name = f"{bytes(raw['video_id']).decode()} {int(raw['start'])}"
        rows[name] = measure(raw, recorder)
        print(f"{name:32s}" + "  ".join(f"{what} {value:.4g}" for what, value in rows[name].items()))
    columns = {what: [row[what] for row in rows.values()] for what in next(iter(rows.values()))}
    figures = {
        what: {"median": round(float(np.median(values)), 4), "max": round(max(values), 4)}
        for what, values in columns.items()
    }
    print(json.dumps({"flow": FLAGS.flow, "examples": len(rows), **figures}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
