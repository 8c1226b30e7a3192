"""One training step of the denoiser's U-Net against PyTorch and diffusers at the same architecture, on this CPU.

    python benchmarks/train_step_cpu.py [--threads=2] [--repeats=10] [--only=NAME]

Forward, mean squared error, backward and Adam, float32, alternating in one run; prints the fastest step of each and,
last of every line, PyTorch's time over ours (above 1: we are faster).
"""

import os
import time
from collections.abc import Callable

from absl import flags

from gid_jax import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("threads", os.cpu_count() or 1, "threads of PyTorch (XLA takes every core)", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 10, "timed steps of each", flag_values=FLAGS)
flags.DEFINE_string("only", None, "the one case to run", flag_values=FLAGS)

HEIGHT, WIDTH = 20, 32
CASES = {"demo": {"widths": (32, 64, 128), "batch": 16}, "double": {"widths": (64, 128, 256), "batch": 8}}
BLOCKS, HEAD_CHANNELS, GROUPS = 2, 32, 8


def jax_step(widths: tuple[int, ...], batch: int) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp
    import optax

    from gid_jax.models.network import Network
    from gid_jax.models.unet import UNet

    network = Network(
        lambda rngs: UNet(
            base_channels=widths[0],
            multipliers=tuple(width // widths[0] for width in widths),
            blocks_per_level=BLOCKS,
            head_channels=HEAD_CHANNELS,
            norm_groups=GROUPS,
            rngs=rngs,
        )
    )
    optimizer = optax.adam(1e-4)
    params = network.init(jax.random.key(0))
    state = params, optimizer.init(params)
    x = jax.random.normal(jax.random.key(1), (batch, HEIGHT, WIDTH, 20))
    target = jax.random.normal(jax.random.key(2), (batch, HEIGHT, WIDTH, 4))
    steps = jnp.arange(batch)

    def loss(params):
        return jnp.mean((network.bind(params)(x[..., :4], x[..., 4:], steps, steps) - target) ** 2)

    def step(state):
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    started = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state).compile()
    print(f"compiled in {time.perf_counter() - started:.1f} s", flush=True)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state))

    return run


def torch_step(widths: tuple[int, ...], batch: int) -> Callable[[], None]:
    import torch
    from diffusers import UNet2DModel

    torch.set_num_threads(FLAGS.threads)
    model = UNet2DModel(
        sample_size=(HEIGHT, WIDTH),
        in_channels=20,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=BLOCKS,
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (len(widths) - 1)),
        up_block_types=(*["AttnUpBlock2D"] * (len(widths) - 1), "UpBlock2D"),
        attention_head_dim=HEAD_CHANNELS,
        norm_num_groups=GROUPS,
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    x, target = torch.randn(batch, 20, HEIGHT, WIDTH), torch.randn(batch, 4, HEIGHT, WIDTH)
    steps = torch.arange(batch)

    def run() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x, steps).sample, target).backward()
        optimizer.step()

    return run


def main(arguments: list[str]) -> None:
    for name, case in CASES.items():
        if FLAGS.only not in (None, name):
            continue
        contestants = {"jax": jax_step(**case), "torch": torch_step(**case)}
        fastest = dict.fromkeys(contestants, float("inf"))
        for repeat in range(FLAGS.repeats + 2):
            for contestant, run in contestants.items():
                started = time.perf_counter()
                run()
                if repeat >= 2:
                    fastest[contestant] = min(fastest[contestant], time.perf_counter() - started)
        print(
            f"{name}: jax {fastest['jax'] * 1e3:.0f} ms, torch {fastest['torch'] * 1e3:.0f} ms, "
            f"ratio {fastest['torch'] / fastest['jax']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main, FLAGS)
