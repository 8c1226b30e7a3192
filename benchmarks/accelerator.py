"""What one GPU does: training, sampling, rendering, flow, splatting, each against its roofline, and PyTorch beside it.

    PYTHONPATH=. python benchmarks/accelerator.py [--preset=paper] [--parts=denoiser,coordinated,...]

At most six minutes; `--preset=test` tries the script itself, on a CPU too. Each part has a process of its own, so that
none takes another's memory or breaks it, and a limit of time; what no longer fits is skipped and said to be. Results
are printed as they come, JSON last.

    card         matrix products and a copy: the peaks of a card whose data sheet `cards.py` has not
    denoiser     training step of stage 2, as `gid_jax.train` runs it, on batches in memory; as many pictures as fit
    coordinated  that of stage 3, on whole volumes
    sampling     a spectrum by 25 steps of DPM-Solver++ without guidance, 25 evaluations, as `animate` predicts it
    rendering    frames of 512 x 288 by the preset's renderer with random weights, as `animate` renders them
    flow         pairs of pictures, `accurate`
    splat        64 channels at 256 x 160, four pictures, forward and with all gradients
    unet         training step of the U-Net alone, bf16
    pytorch      that step by PyTorch and diffusers: bf16 by autocast, channels last, on a GPU by torch.compile

Times are medians after warm-up, of calls that wait for their results. `roofline` is the longer of operations over peak
and bytes over bandwidth, `of roofline` its share of the time: of training the useful operations (`useful_flops`) and
the bytes that the compiler counts in the program, in bf16; of sampling the same of its networks, of rendering both as
the compiler counts them, in TF32; of flow both as `flow_roofline.py` counts them, in float32; of splatting the least
that must be read and written. On a CPU, whose caches hold small arrays, the share may pass 1. MFU: useful operations
over bf16 peak and time.
"""

import dataclasses
import functools
import importlib
import importlib.util
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import clock
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from cards import CARDS, Card, measured
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from configs import common
from gid_jax import cli
from gid_jax.errors import UserError

Figures = dict[str, Any]
LIMIT = 350.0  # s, of all parts
LEAST = 15.0  # s without which none is begun
GIB_A_VOLUME = 14  # of the memory that JAX takes, for a training step on 16 slices
MOST_VOLUMES = 4
EVALUATIONS = 25


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a part is measured for. `card` and `gibibytes`, its memory, are None before they are known."""

    preset: str
    card: Card | None = None
    gibibytes: float | None = None

    @property
    def large(self) -> bool:
        return self.preset in ("paper", "highres")

    @property
    def seconds(self) -> float:
        """For which calls are repeated."""
        return 4.0 if self.large else 0.5

    @property
    def volumes(self) -> int:
        """How many of 16 slices a training step takes."""
        return int(np.clip((self.gibibytes or 0) // GIB_A_VOLUME, 1, MOST_VOLUMES)) if self.large else 1


Part = Callable[[Setting, Callable[[Figures], None]], None]  # tells figures as it has them


def card(setting: Setting, tell: Callable[[Figures], None]) -> None:
    device = jax.local_devices()[0]
    reached = measured(device)
    sheet = CARDS.get(device.device_kind)
    memory = (device.memory_stats() or {}).get("bytes_limit")
    version = f"{device.platform} {device.client.platform_version}"
    tell({"card": sheet or reached, "reached": reached})
    tell({"GiB for JAX": memory and memory / 2**30, "platform": version.splitlines()[0]})


def against_roofline(setting: Setting, seconds: float, flops: float, traffic: float, kind: str) -> Figures:
    roofline = setting.card.seconds(flops, traffic, kind)
    return {
        "GFLOP": flops / 1e9,
        "GB": traffic / 1e9,
        "roofline, ms": 1e3 * roofline,
        "of roofline": roofline / seconds,
        "peak": kind,
    }


def training(stage: str, setting: Setting, tell: Callable[[Figures], None]) -> None:
    from dispatch import random_batches

    from gid_jax.training import compiled, sharding

    config = config_of(stage, setting.preset)
    if setting.large:
        config.batch_size = setting.volumes * (config.num_frequencies if stage == "denoiser" else 1)
    mesh = sharding.make_mesh(config.mesh, jax.local_devices()[:1])
    task = compiled.task_without_data(config)
    program, lowered = compiled.lower_step(config, mesh)
    began = time.perf_counter()
    step = lowered.compile()
    compiling = time.perf_counter() - began
    with jax.set_mesh(mesh):
        shapes = compiled.batch_shapes(task.kind, config, mesh)
        (batch,) = jax.device_put(random_batches(shapes, 1), [{name: x.sharding for name, x in shapes.items()}])
        state = program.init(jax.jit(task.init)(jax.random.key(1))[1])

        def run() -> None:
            nonlocal state
            state, metrics = step(state, batch)
            jax.block_until_ready((state, metrics))

        seconds = clock.steady(run, setting.seconds)
    rates = {"steps/s": 1 / seconds, f"{task.kind}/s": config.batch_size / seconds, "batch": config.batch_size}
    tell(rates | {"dtype": config.compute_dtype, "compiling, s": compiling})
    flops = compiled.useful_flops(config)
    tell({"MFU": flops / setting.card.bf16 / seconds})
    tell(against_roofline(setting, seconds, flops, step.cost_analysis()["bytes accessed"], "bf16"))


def config_of(stage: str, preset: str) -> ConfigDict:
    return importlib.import_module(f"configs.{stage}").get_config(preset)


def random_bundle(setting: Setting, parts: Iterable[str]) -> Any:
    """A bundle of the preset's networks, those in `parts` with fresh weights."""
    from gid_jax.inference.bundle import MODELS, Bundle
    from gid_jax.models.network import Network

    config, renderer = config_of("coordinated", setting.preset), config_of("renderer", setting.preset)
    models = {"vae": config.vae_model, "denoiser": config.model, "renderer": renderer.model}
    models = {part: model.to_dict() for part, model in models.items()}
    keys = jax.random.split(jax.random.key(0), len(MODELS))
    params = {
        part: Network(lambda rngs, part=part: MODELS[part](**models[part], rngs=rngs)).init(key)
        for part, key in zip(MODELS, keys, strict=True)
        if part in parts
    }
    return Bundle(
        models=models,
        params=params,
        scales=np.ones(config.num_frequencies, np.float32),
        latent_mean=np.zeros(config.vae_model.latent_channels, np.float32),
        latent_std=np.ones(config.vae_model.latent_channels, np.float32),
        width=config.width,
        height=config.height,
        num_frequencies=config.num_frequencies,
        schedule=config.schedule.to_dict(),
        prediction=config.prediction,
    )


def sampling(setting: Setting, tell: Callable[[Figures], None]) -> None:
    from gid_jax import sampling
    from gid_jax.inference import generate

    bundle = random_bundle(setting, ("vae", "denoiser"))
    image = np.random.default_rng(0).random((1, bundle.height, bundle.width, 3), np.float32)

    def run() -> None:  # gives a NumPy array
        generate.predict_spectra(bundle, image, [0], num_steps=EVALUATIONS, method="dpmpp_2m")

    run()
    seconds = clock.steady(run, setting.seconds, warm_up=0)
    tell({"spectra/s": 1 / seconds, "evaluations": EVALUATIONS, "seconds a spectrum": seconds, "dtype": "float32"})

    k, networks, params = bundle.num_frequencies, bundle.networks, bundle.params
    features = sampling._encode_image(networks.denoiser, params["denoiser"], image)
    features = jnp.broadcast_to(features, (k, *features.shape[1:]))
    z, frequency = jnp.zeros((*features.shape[:3], len(bundle.latent_mean))), jnp.arange(k, dtype=jnp.int32)
    times = ((1, sampling._encode_image, (networks.denoiser, params["denoiser"], image)),)
    times += ((1, sampling._decode, (networks.vae, params["vae"], z)),)
    evaluation = (networks.denoiser, k, params["denoiser"], features, frequency, z, jnp.int32(0))
    times += ((EVALUATIONS, sampling._predict, evaluation),)
    flops = sum(count * useful_flops(function, arguments) for count, function, arguments in times)
    traffic = sum(count * traffic_of(function, arguments) for count, function, arguments in times)
    tell(against_roofline(setting, seconds, flops, traffic, "tf32"))


def useful_flops(function: Any, arguments: tuple) -> float:
    """Of a jitted function before optimisation, as `gid_jax.training.compiled.useful_flops` counts."""
    here = SingleDeviceSharding(jax.devices("cpu")[0])

    def shape(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)

    return function.lower(*jax.tree.map(shape, arguments)).cost_analysis()["flops"]


def traffic_of(function: Any, arguments: tuple) -> float:
    """Bytes that the compiled program reads and writes, by the compiler."""
    return function.lower(*arguments).compile().cost_analysis()["bytes accessed"]


def rendering(setting: Setting, tell: Callable[[Figures], None]) -> None:
    from render import HEIGHT, WIDTH, cost, watch

    from gid_jax.inference import generate

    bundle = random_bundle(setting, ("renderer",))
    height, width, count = (HEIGHT, WIDTH, 64) if setting.large else (bundle.height, bundle.width, 8)
    rng = np.random.default_rng(0)
    image = rng.random((height, width, 3), np.float32)
    coarse = 20 * rng.standard_normal((bundle.num_frequencies, 5, 8, 4), np.float32)  # some pixels of motion
    spectrum = np.asarray(jax.image.resize(coarse, (len(coarse), bundle.height, bundle.width, 4), "cubic"))

    def run() -> None:  # frames are NumPy arrays
        watch(generate.render_frames(bundle, image, spectrum, np.arange(count)))

    seconds = clock.steady(run, setting.seconds, warm_up=1) / count
    tell({"frames/s": 1 / seconds, "size": f"{width} x {height}", "dtype": "float32"})
    found = cost(bundle.models["renderer"], height, width)
    tell(against_roofline(setting, seconds, 1e9 * found["GFLOP"], 1e9 * found["GB"], "tf32"))


def flow(setting: Setting, tell: Callable[[Figures], None]) -> None:
    from flow_roofline import of_pair

    from gid_jax import flow

    width, height = common.SIZES[setting.preset]
    count = 149 if setting.large else 4
    rng = np.random.default_rng(0)
    pictures = jax.image.resize(rng.random((count + 1, 20, 32, 3), np.float32), (count + 1, height, width, 3), "cubic")
    devices = None if jax.default_backend() == "cpu" else jax.local_devices()[:1]

    def run() -> None:
        flow.estimate(pictures[0], pictures[1:], "accurate", devices=devices).block_until_ready()

    seconds = clock.steady(run, setting.seconds) / count
    tell({"pairs/s": 1 / seconds, "size": f"{width} x {height}", "targets": count})
    cost = of_pair(flow.PRESETS["accurate"], False, height, width)
    tell(against_roofline(setting, seconds, cost.flops + cost.matrix_flops, cost.bytes, "fp32"))


def splat(setting: Setting, tell: Callable[[Figures], None]) -> None:
    from splat import CHANNELS, HEIGHT, WIDTH, example, ours

    batch, height, width, channels = (4, HEIGHT, WIDTH, CHANNELS) if setting.large else (1, 40, 64, 8)
    calls = ours(*example(batch, height, width, channels))
    tell({"size": f"{batch} x {channels} channels of {width} x {height}"})
    pixels = batch * height * width
    planes = {"forward": 2 * channels + 3, "both": 3 * channels + 6}  # read and written; `both`: cotangent, gradients
    products = {"forward": 8 * (channels + 1), "both": 32 * (channels + 1)}  # four shares; backward value, slopes, dots
    for name, call in calls.items():
        seconds = clock.steady(call, setting.seconds)
        found = against_roofline(setting, seconds, pixels * products[name], 4 * pixels * planes[name], "fp32")
        tell({f"{name}, ms": 1e3 * seconds} | {f"{name}, {key}": value for key, value in found.items()})


def unet_case(setting: Setting) -> Any:
    from unet_steps import Case

    config = config_of("denoiser", setting.preset)
    unet = config.model.unet
    return Case(
        widths=tuple(unet.base_channels * multiplier for multiplier in unet.multipliers),
        batch=8 * setting.volumes,
        height=config.height // 4,
        width=config.width // 4,
        blocks=unet.blocks_per_level,
        head_channels=unet.get("head_channels", 32),
        groups=unet.norm_groups,
    )


def unet(setting: Setting, tell: Callable[[Figures], None]) -> None:
    from unet_steps import jax_step

    case = unet_case(setting)
    tell(
        {
            "steps/s": 1 / clock.steady(jax_step(case, "bfloat16"), setting.seconds),
            "batch": case.batch,
            "dtype": "bfloat16",
        }
    )


def pytorch(setting: Setting, tell: Callable[[Figures], None]) -> None:
    missing = [name for name in ("torch", "diffusers") if importlib.util.find_spec(name) is None]
    if missing:
        return tell({"skipped": f"{' and '.join(missing)} not installed"})
    import torch
    from unet_steps import torch_step

    on_cpu = setting.card.name == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        return tell({"skipped": f"torch {torch.__version__} sees no GPU"})
    if not on_cpu and torch.cuda.get_device_name(0) != setting.card.name:
        return tell({"skipped": f"torch sees {torch.cuda.get_device_name(0)}, JAX {setting.card.name}"})
    case = unet_case(setting)
    step = torch_step(case, "cpu" if on_cpu else "cuda", bf16=True, compiled=not on_cpu)
    figures = {"steps/s": 1 / clock.steady(step, setting.seconds), "batch": case.batch, "torch.compile": not on_cpu}
    return tell(figures | {"torch": torch.__version__})


PARTS: dict[str, tuple[Part, float]] = {  # the most important first; s that each may take
    "denoiser": (functools.partial(training, "denoiser"), 100),
    "coordinated": (functools.partial(training, "coordinated"), 100),
    "sampling": (sampling, 60),
    "rendering": (rendering, 45),
    "flow": (flow, 40),
    "splat": (splat, 25),
    "unet": (unet, 60),
    "pytorch": (pytorch, 100),
}
FLAGS = flags.FlagValues()
flags.DEFINE_enum("preset", "paper", list(common.SIZES), "of the configurations", flag_values=FLAGS)
flags.DEFINE_list("parts", list(PARTS), "what to measure", flag_values=FLAGS)


def child(connection: Connection, part: Part, setting: Setting) -> None:
    try:
        part(setting, connection.send)
    except Exception as error:
        connection.send({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def measure(part: Part, setting: Setting, limit: float) -> Figures:
    """What `part` tells in a process of its own within `limit` s; why there is no more of it under `failed`."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=child, args=(theirs, part, setting))
    end = time.monotonic() + limit
    process.start()
    theirs.close()  # so that the child's end is the end of the pipe
    figures: Figures = {}
    try:
        while ours.poll(max(0.0, end - time.monotonic())):
            figures |= ours.recv()
        figures["failed"] = f"ended after {limit:.0f} s, its limit"
    except EOFError:
        process.join()
        if process.exitcode:
            figures["failed"] = f"its process ended with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    return figures


def measure_all(parts: Mapping[str, tuple[Part, float]], setting: Setting, seconds: float) -> dict[str, Figures]:
    """Of each part its figures, printed as they come; those that do not fit in `seconds` are skipped."""
    end, found = time.monotonic() + seconds, {}
    for name, (part, limit) in parts.items():
        left = end - time.monotonic()
        if left < LEAST:
            found[name] = {"skipped": f"of {seconds:.0f} s only {max(0.0, left):.0f} are left; see --parts"}
        else:
            found[name] = measure(part, setting, min(limit, left))
        show(name, found[name])
    return found


def show(name: str, figures: Figures) -> None:
    def text(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    print(f"{name:12s} " + "; ".join(f"{key} {text(value)}" for key, value in figures.items()), flush=True)


def main(arguments: list[str]) -> None:
    if unknown := [part for part in FLAGS.parts if part not in PARTS]:
        raise UserError(f"--parts: no {unknown[0]!r}; choose from {', '.join(PARTS)}")
    if "cpu" not in os.environ.get("JAX_PLATFORMS", "cpu"):
        os.environ["JAX_PLATFORMS"] += ",cpu"  # where useful operations are counted
    began = time.monotonic()
    machine = measure(card, Setting(FLAGS.preset), 60)
    show("card", machine)
    if "card" not in machine:
        raise UserError(f"the accelerator cannot be used: {machine['failed']}; see its driver, or `nvidia-smi`")
    setting = Setting(FLAGS.preset, machine["card"], machine.get("GiB for JAX"))
    chosen = {name: PARTS[name] for name in PARTS if name in FLAGS.parts}
    found = measure_all(chosen, setting, LIMIT - (time.monotonic() - began))
    figures = {"preset": FLAGS.preset, **machine, "jax": jax.__version__, "parts": found}
    rates = [found.get(name, {}).get("steps/s") for name in ("unet", "pytorch")]
    if all(rates):
        show("unet", ratio := {"PyTorch's time over ours": rates[0] / rates[1]})
        figures |= ratio
    print(json.dumps(figures | {"seconds": round(time.monotonic() - began, 1)}, default=dataclasses.asdict))


if __name__ == "__main__":
    cli.run(main, FLAGS)
