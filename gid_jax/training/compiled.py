"""What a compiled training step costs on a TPU slice: memory, operations, traffic, projected time.

Nothing runs: the compiler for TPUs works on any machine, and says what it made. Its cost model gives the time.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from gid_jax import libtpu
from gid_jax.checkpoints.state import TrainState
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError
from gid_jax.tasks import Task, make_task
from gid_jax.training import sharding
from gid_jax.training.step import Program, compile_for

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """JAX's name of it, bf16 FLOP/s, bytes of HBM for a program, bytes/s of it, bytes/s over all links to other chips.

    All of the data sheet but the HBM: what libtpu 0.0.42 says that there is, which it refuses larger programs with.
    """

    device_kind: str
    flops: float
    memory: float
    bandwidth: float
    links: float


CHIPS = {  # cloud.google.com/tpu/docs
    "v4": Chip("TPU v4", 275e12, 30.75 * GIB, 1228e9, 300e9),
    "v5e": Chip("TPU v5 lite", 197e12, 15.75 * GIB, 819e9, 200e9),
    "v5p": Chip("TPU v5", 459e12, 95.74 * GIB, 2765e9, 600e9),
    "v6e": Chip("TPU v6 lite", 918e12, 31.25 * GIB, 1640e9, 448e9),
}
QUICKLY: dict[str, Any] = {"optimization_level": 9}  # O0, by number for JAX 0.10; the default takes ten times longer
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")
_SHORTAGE = re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)")
_SHORTAGE_OF_OLD = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(")


def topology_devices(name: str) -> tuple[list[jax.Device], Chip]:
    """The chips of a slice such as "v5e:16x16". Raises UserError for names that libtpu does not know."""
    kind = name.split(":")[0]
    if kind not in CHIPS or not re.fullmatch(r"\w+:\d+(x\d+)+", name):
        raise UserError(f"--topology={name}: write KIND:AxB, KIND one of {', '.join(CHIPS)}; for example v5e:16x16")
    libtpu.ask()
    cores = {"chip_config_name": "megacore"} if kind == "v4" else {}  # a chip is one device, as where there are chips
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **cores).devices
    except ImportError as error:
        raise UserError("libtpu is missing: `pip install -e .[tpu]`") from error
    except (RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(f"--topology={name}: {detail}; is libtpu installed (`pip install -e .[tpu]`)?") from error
    return list(devices), CHIPS[kind]


def task_without_data(config: ConfigDict) -> Task:
    """The task of a configuration with scales of 1: shapes and programs are those of any data set."""
    ones = np.ones(config.num_frequencies, np.float32)
    return make_task(config, DatasetStatistics(ones, ones, 1, config.width, config.height, 30.0, 150))


def batch_shapes(kind: str, config: ConfigDict, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """The global batch of `kind`, as `gid_jax.data.loader` gives it and the mesh splits it."""
    size = (config.batch_size, config.height, config.width)
    volume = (config.batch_size, config.num_frequencies, config.height, config.width, 4)
    arrays: dict[str, tuple[tuple[int, ...], Any]] = {
        "slices": {"image": (*size, 3), "spectrum": (*size, 4), "frequency": (config.batch_size,)},
        "volumes": {"image": (*size, 3), "spectrum": volume},
        "pairs": {"image": (*size, 3), "target": (*size, 3), "motion": (*size, 2), "weight": size},
    }[kind]
    kinds: dict[str, type] = {"frequency": np.int32}
    return {
        name: jax.ShapeDtypeStruct(
            shape,
            kinds.get(name, np.float32),
            sharding=NamedSharding(mesh, sharding.batch_spec(kind, name)),
        )
        for name, shape in arrays.items()
    }


def lower_step(config: ConfigDict, mesh: Mesh) -> tuple[Program, jax.stages.Lowered]:
    """The program that `gid_jax.train` runs, its step traced for the mesh."""
    task = task_without_data(config)
    sharding.check_batch(task.kind, config, mesh)
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        return program, program.step.lower(_placed(program), batch_shapes(task.kind, config, mesh))


def _placed(program: Program) -> TrainState:
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        program.shapes,
        program.shardings,
    )


def useful_flops(config: ConfigDict) -> float:
    """Operations of one step that the mathematics needs: the forward pass and the backward passes of what is trained.

    Counted on the program before any optimisation, without rematerialisation, for the whole batch.
    """
    plain = config.copy_and_resolve_references()
    plain.remat, plain.microbatches = False, 1
    plain.mesh = ConfigDict({"data": 1, "fsdp": 1, "freq": 1})
    mesh = sharding.make_mesh(plain.mesh, jax.devices("cpu")[:1])
    cost: Any = lower_step(plain, mesh)[1].cost_analysis()
    return float(cost["flops"])


def collectives(text: str) -> dict[str, dict[str, float]]:
    """Count and bytes (of the results, on one chip) of each kind in a compiled program; loop bodies count once."""
    found: dict[str, dict[str, float]] = {}
    for shapes, kind, start in _COLLECTIVE.findall(text):
        sizes = [_bytes(*shape) for shape in _SHAPE.findall(shapes)]
        both = start and kind in ("all-gather", "collective-permute")  # operand and result
        entry = found.setdefault(kind, {"count": 0, "bytes": 0})
        entry["count"] += 1
        entry["bytes"] += max(sizes) if both else sum(sizes)
    return found


def _bytes(kind: str, sizes: str) -> int:
    bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
    return math.prod(int(size) for size in sizes.split(",") if size) * bits // 8


def memory_shortage(message: str) -> tuple[float, float] | None:
    """Bytes of HBM that a program takes and that there are, from the compiler's refusal; None for another message."""
    found = _SHORTAGE.search(message) or _SHORTAGE_OF_OLD.search(message)
    if found is None:
        return None
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    taken, unit, available, other_unit = found.groups()
    return float(taken) * units[unit], float(available) * units[other_unit]


def report(config: ConfigDict, devices: list[jax.Device], chip: Chip) -> dict[str, Any]:
    """Compiles the step of `config` for the devices; see docs/tpu.md for every entry.

    Of a step that the compiler refuses for want of memory there is no cost: those figures are None.
    """
    mesh = sharding.make_mesh(config.mesh, devices)
    program, lowered = lower_step(config, mesh)
    cost: dict[str, Any] = dict.fromkeys(("flops_per_chip", "bytes_per_chip", "mfu", "days", "chip_hours"))
    cost |= {"collectives": {}, "seconds": dict.fromkeys(("step", "compiler", "roofline", "collectives"))}
    needed = useful_flops(config)
    try:
        compiled = lowered.compile(QUICKLY)
    except jax.errors.JaxRuntimeError as error:
        if (shortage := memory_shortage(str(error))) is None:
            raise
        peak, available = shortage
        chip = dataclasses.replace(chip, memory=available)
        batch = batch_shapes(task_without_data(config).kind, config, mesh)
        arguments = sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves((_placed(program), batch))
        )
        temporary = peak - arguments
    else:
        memory: Any = compiled.memory_analysis()
        arguments, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
        results = memory.output_size_in_bytes - memory.alias_size_in_bytes
        peak = arguments + temporary + results + memory.generated_code_size_in_bytes
        cost = _cost(config, compiled, len(devices), chip, needed)
    return {
        "mesh": dict(mesh.shape),
        "chips": len(devices),
        "batch_size": config.batch_size,
        "remat": bool(config.remat),
        "parameters": {"trained": _count(program.shapes.params), "frozen": _count(program.shapes.frozen)},
        "hbm": {
            "arguments": arguments,
            "temporaries": temporary,
            "peak": peak,
            "available": chip.memory,
            "fits": bool(peak <= chip.memory),
        },
        "useful_flops": needed,
        **cost,
        "steps": config.num_steps,
        "suggestion": suggest(config, mesh.shape, arguments, temporary, peak, chip),
    }


def _cost(config: ConfigDict, compiled: jax.stages.Compiled, chips: int, chip: Chip, needed: float) -> dict[str, Any]:
    """What the compiler's cost model says of the step."""
    cost: Any = compiled.cost_analysis()
    communication = collectives(compiled.as_text() or "")
    times = config.microbatches  # a loop, which the cost model enters once
    flops, traffic = times * cost["flops"], times * cost["bytes accessed"]
    roofline = max(flops / chip.flops, traffic / chip.bandwidth)
    sending = sum(entry["bytes"] for entry in communication.values()) / chip.links
    modelled = times * cost.get("optimal_seconds", 0.0)
    seconds = modelled if modelled > 0 else roofline + sending
    days = seconds * config.num_steps / 86400
    return {
        "flops_per_chip": flops,
        "bytes_per_chip": traffic,
        "collectives": communication,
        "seconds": {"step": seconds, "compiler": modelled, "roofline": roofline, "collectives": sending},
        "mfu": needed / (chips * chip.flops * seconds),
        "days": days,
        "chip_hours": 24 * days * chips,
    }


def suggest(
    config: ConfigDict, mesh: Mapping[str, int], arguments: float, temporary: float, peak: float, chip: Chip
) -> str:
    """What to change when the step does not fit, the cheapest first; "" when it does."""
    if peak <= chip.memory:
        return ""
    if temporary > arguments and not config.remat:
        return "--config.remat=True: activations are computed again in the backward pass"
    if arguments > 0.3 * chip.memory and mesh["data"] > 1:
        return f"--config.mesh.fsdp={2 * mesh['fsdp']}: parameters and optimiser state over more chips"
    rows, parts = mesh["data"] * mesh["fsdp"], 2 * config.microbatches
    if config.batch_size % (rows * parts) == 0:
        return f"--config.microbatches={parts}: the same step in parts"
    if config.task == "coordinated" and mesh["freq"] < config.num_frequencies:
        return f"--config.mesh.freq={2 * mesh['freq']}: the slices of a volume over more chips"
    return "a larger topology: one example a chip does not fit"


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
