"""Pairs per second of the optical flow on a TPU v5e chip, by a roofline from counted operations and bytes.

    python benchmarks/flow_roofline.py [--width=256] [--height=160] [--batch=149] [--gather_ns=10]

Counted from the traced program of one pair, loops by their real number of rounds, nothing compiled and nothing run:

FLOPs: one per element of each floating-point arithmetic operation; matrix products (the pyramid) apart.
Bytes: fusions are taken to end at loop bodies, optimisation barriers, gathers and matrix products; each array that
crosses such a boundary is written once and read once, in HBM. Nothing is assumed to stay in on-chip memory.
Gathers: fetched elements. The compiler's cost model prices them like contiguous reads; here each costs `gather_ns`, an
assumption, and the price at which 150 pairs/s are just reached is printed.

`gathers` is the program of CPUs and GPUs, `tpu` the one of TPUs, which warps without gathers (`solver.fetch`).
Assumed of v5e: 4 TFLOP/s float32 elementwise, 197 TFLOP/s bf16 matrix products (float32 ones take six passes), 819
GB/s, 16 GiB. The times add up: no overlap is assumed. Memory: the buffers of a program compiled for this machine.
"""

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from absl import flags
from jax.extend import core

from gid_jax import cli, flow
from gid_jax.flow import coarse_to_fine, pyramid
from gid_jax.flow.presets import Preset

FLAGS = flags.FlagValues()
flags.DEFINE_integer("width", 256, "px", lower_bound=8, flag_values=FLAGS)
flags.DEFINE_integer("height", 160, "px", lower_bound=8, flag_values=FLAGS)
flags.DEFINE_integer("batch", 149, "targets of one program, for its memory", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("gather_ns", 10.0, "ns per gathered element", lower_bound=0, flag_values=FLAGS)

ELEMENTWISE, MATRIX, BANDWIDTH = 4e12, 197e12 / 6, 819e9
TARGET = 150
ARITHMETIC = {"add", "sub", "mul", "div", "neg", "abs", "max", "min", "rsqrt", "sqrt", "exp", "floor", "integer_pow"}
"""Counted where the result is floating-point."""
BOUNDARIES = {"optimization_barrier", "gather", "dot_general"}


@dataclass
class Cost:
    """Of one pair."""

    flops: float = 0.0
    matrix_flops: float = 0.0
    bytes: float = 0.0
    gathers: float = 0.0


def size(variables: list) -> int:
    return sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in variables)


def inner(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else [value]:
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


class Counter:
    """Walks the program of one pair and adds up its cost."""

    def __init__(self, preset: Preset, levels: int, tpu: bool):
        self.cost = Cost()
        self._warps = iter([preset.warps + preset.extra_warps * i for i in reversed(range(levels))])
        self._sweeps, self._branch = preset.sweeps, 0 if tpu else 1

    def walk(self, program: core.Jaxpr, times: int = 1, depth: int = 0) -> None:
        """Loops of unknown length are those of the levels, coarsest first (depth 0), and that of the sweeps within."""
        for equation in program.eqns:
            name = equation.primitive.name
            if name in ("while", "scan"):
                length = equation.params.get("length") or (next(self._warps) if depth == 0 else self._sweeps)
                body = equation.params["jaxpr" if name == "scan" else "body_jaxpr"]
                self.cost.bytes += times * length * (size(equation.invars) + size(equation.outvars))
                self.walk(body.jaxpr, times * length, depth + 1)
            elif name == "cond":
                self.walk(equation.params["branches"][self._branch].jaxpr, times, depth)
            else:
                self._add(equation, times)
                for part in inner(equation):
                    self.walk(part, times, depth)

    def _add(self, equation: core.JaxprEqn, times: int) -> None:
        name, result, cost = equation.primitive.name, equation.outvars[0].aval, self.cost
        if name in ARITHMETIC and jnp.issubdtype(result.dtype, jnp.floating):
            cost.flops += times * result.size
        if name == "reduce_sum":
            cost.flops += times * equation.invars[0].aval.size
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            terms = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            cost.matrix_flops += times * 2 * result.size * terms
        if name in BOUNDARIES:
            cost.bytes += times * 2 * size(equation.outvars)
        if name == "gather":
            cost.gathers += times * result.size
            cost.bytes += times * (size(equation.invars) + size(equation.invars[1:]))


def of_pair(preset: Preset, tpu: bool, height: int, width: int) -> Cost:
    pictures = jnp.zeros((1, height, width, 3))
    warps = jnp.int32(preset.warps)
    program = jax.make_jaxpr(functools.partial(coarse_to_fine._estimate, preset=preset))(pictures[0], warps, pictures)
    counter = Counter(preset, len(pyramid.level_sizes(height, width, preset.ratio, preset.smallest)), tpu)
    counter.walk(program.jaxpr)
    return counter.cost


def memory(preset: Preset) -> float:
    """GiB of HBM of one program on a batch: the compiler's buffers, compiled for this machine."""
    source = jax.ShapeDtypeStruct((FLAGS.height, FLAGS.width, 3), jnp.float32)
    targets = jax.ShapeDtypeStruct((FLAGS.batch, *source.shape), jnp.float32)
    warps = jax.ShapeDtypeStruct((), jnp.int32)
    used = coarse_to_fine._estimate.lower(source, warps, targets, preset=preset).compile().memory_analysis()
    return (used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes) / 2**30


def figures(preset: Preset, tpu: bool) -> dict[str, float]:
    cost = of_pair(preset, tpu, FLAGS.height, FLAGS.width)
    arithmetic = cost.flops / ELEMENTWISE + cost.matrix_flops / MATRIX
    transfer, gathers = cost.bytes / BANDWIDTH, 1e-9 * FLAGS.gather_ns * cost.gathers
    found = {
        "GFLOP": cost.flops / 1e9,
        "GFLOP, matrix products": cost.matrix_flops / 1e9,
        "GB": cost.bytes / 1e9,
        "gathered elements, M": cost.gathers / 1e6,
        "ms, arithmetic": 1e3 * arithmetic,
        "ms, HBM": 1e3 * transfer,
        "ms, gathers": 1e3 * gathers,
        "pairs/s": 1 / (arithmetic + transfer + gathers),
    }
    spare = 1 / TARGET - arithmetic - transfer
    return found | {f"ns a gather for {TARGET} pairs/s": 1e9 * spare / cost.gathers if cost.gathers else math.inf}


def main(arguments: list[str]) -> None:
    table = {}
    for name, preset in flow.PRESETS.items():
        for tpu in (False, True):
            table[f"{name}, {'tpu' if tpu else 'gathers'}"] = figures(preset, tpu)
        table[f"{name}, gathers"]["GiB a batch"] = table[f"{name}, tpu"]["GiB a batch"] = memory(preset)
    print(f"{'':30s}" + "".join(f"{name:>18s}" for name in table))
    for row in next(iter(table.values())):
        print(f"{row:30s}" + "".join(f"{column[row]:18.4f}" for column in table.values()))
    rounded = {name: {row: round(v, 4) for row, v in f.items() if math.isfinite(v)} for name, f in table.items()}
    print(json.dumps(rounded))


if __name__ == "__main__":
    cli.run(main, FLAGS)
