"""Splatting, forward and backward, against a straightforward PyTorch `index_add`, on this CPU.

    python benchmarks/splat.py [--threads=2] [--repeats=20] [--batches=1,4]

64 channels at 256 x 160 along a smooth random motion of up to some 15 px; gradients of features, motion and weight.
Both compute the same, softmax weights included; they take turns. Printed: the fastest of the repeats, ms, of the
forward pass alone and of both passes, the largest difference of the results over their largest value, and last, as
JSON, PyTorch's time over ours (above 1: we are faster).
"""

import json
import os
from collections.abc import Callable

import clock
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from gid_jax import cli
from gid_jax.render.splatting import splat

FLAGS = flags.FlagValues()
flags.DEFINE_integer("threads", os.cpu_count() or 1, "threads of PyTorch (XLA takes every core)", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 20, "timed calls of each", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_multi_integer("batches", [1, 4], "pictures at a time", flag_values=FLAGS)

HEIGHT, WIDTH, CHANNELS = 160, 256, 64


def example(batch: int, height: int = HEIGHT, width: int = WIDTH, channels: int = CHANNELS) -> tuple[np.ndarray, ...]:
    """Features, motion (px), weight, and the cotangent of the result."""
    rng = np.random.default_rng(0)
    features, cotangent = rng.normal(size=(2, batch, height, width, channels)).astype(np.float32)
    coarse = 4 * rng.normal(size=(batch, 10, 16, 2)).astype(np.float32)
    motion = np.array(jax.image.resize(coarse, (batch, height, width, 2), "cubic"))
    return features, motion, np.hypot(motion[..., 0], motion[..., 1]), cotangent


def ours(features: np.ndarray, motion: np.ndarray, weight: np.ndarray, cotangent: np.ndarray) -> dict[str, Callable]:
    arrays, probe = [jnp.asarray(a) for a in (features, motion, weight)], jnp.asarray(cotangent)
    forward = jax.jit(lambda *a: splat(*a)[0])
    both = jax.jit(jax.grad(lambda *a: jnp.sum(splat(*a)[0] * probe), argnums=(0, 1, 2)))
    return {
        "forward": lambda: jax.block_until_ready([forward(*arrays)]),
        "both": lambda: jax.block_until_ready(both(*arrays)),
    }


def pytorch(features: np.ndarray, motion: np.ndarray, weight: np.ndarray, cotangent: np.ndarray) -> dict[str, Callable]:
    import torch

    torch.set_num_threads(FLAGS.threads)
    arrays, probe = [torch.from_numpy(a) for a in (features, motion, weight)], torch.from_numpy(cotangent)

    def splatted(features, motion, weight):
        b, h, w, c = features.shape
        drop = 2 * 256 / w * (weight - weight.amax((1, 2), keepdim=True).detach())
        importance = torch.exp(drop.clamp(min=-60))[..., None]
        values = torch.cat([features * importance, importance], -1).reshape(-1, c + 1)
        x, y = torch.arange(w)[None, None] + motion[..., 0], torch.arange(h)[None, :, None] + motion[..., 1]
        left, top = x.detach().floor(), y.detach().floor()
        fx, fy = x - left, y - top
        first = (torch.arange(b) * (h * w))[:, None, None]
        result = torch.zeros(b * h * w, c + 1)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = left.long() + dx, top.long() + dy
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            share = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * inside
            index = first + row.clamp(0, h - 1) * w + column.clamp(0, w - 1)
            result = result.index_add(0, index.reshape(-1), values * share.reshape(-1, 1))
        total = result[:, -1:]
        arrived = total > 0
        return torch.where(arrived, result[:, :-1] / torch.where(arrived, total, 1.0), 0.0).reshape(b, h, w, c)

    def forward():
        with torch.no_grad():
            return [splatted(*arrays)]

    def both():
        leaves = [a.clone().requires_grad_() for a in arrays]
        (splatted(*leaves) * probe).sum().backward()
        return [leaf.grad for leaf in leaves]

    return {"forward": forward, "both": both}


def main(arguments: list[str]) -> None:
    print(f"{'':24s}{'PyTorch, ms':>14s}{'ours, ms':>14s}{'difference':>14s}")
    ratios = {}
    for batch in FLAGS.batches:
        arrays = example(batch)
        theirs, mine = pytorch(*arrays), ours(*arrays)
        for name in mine:
            pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(mine[name](), theirs[name](), strict=True)]
            difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
            times = clock.fastest({"theirs": theirs[name], "ours": mine[name]}, FLAGS.repeats)
            ratio = times["theirs"] / times["ours"]
            print(
                f"batch {batch}, {name:15s}{1e3 * times['theirs']:14.1f}{1e3 * times['ours']:14.1f}{difference:14.1e}",
                flush=True,
            )
            ratios[f"batch {batch}, {name}"] = round(ratio, 2)
    print(json.dumps(ratios))


if __name__ == "__main__":
    cli.run(main, FLAGS)
