"""A training step of the denoiser's U-Net, ours and PyTorch's with diffusers: forward, mean squared error, backward and
Adam at the same architecture, parameters in float32. Each is a call that waits for its end.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Widths of the levels, all but the first with attention; latents [batch, height, width, 4] and 16 features."""

    widths: tuple[int, ...]
    batch: int
    height: int = 20
    width: int = 32
    blocks: int = 2
    head_channels: int = 32
    groups: int = 8


def jax_step(case: Case, dtype: str = "float32") -> Callable[[], None]:
    import jax
    import jax.numpy as jnp
    import optax

    from gid_jax.models.network import Network
    from gid_jax.models.unet import UNet

    network = Network(
        lambda rngs: UNet(
            base_channels=case.widths[0],
            multipliers=tuple(width // case.widths[0] for width in case.widths),
            attention_levels=tuple(range(1, len(case.widths))),
            blocks_per_level=case.blocks,
            head_channels=case.head_channels,
            norm_groups=case.groups,
            dtype=jnp.dtype(dtype),
            rngs=rngs,
        )
    )
    optimizer = optax.adam(1e-4)
    params = network.init(jax.random.key(0))
    state = params, optimizer.init(params)
    x = jax.random.normal(jax.random.key(1), (case.batch, case.height, case.width, 20))
    target = jax.random.normal(jax.random.key(2), (case.batch, case.height, case.width, 4))
    steps = jnp.arange(case.batch)

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


def torch_step(case: Case, device: str = "cpu", bf16: bool = False, compiled: bool = False) -> Callable[[], None]:
    """In bf16 by autocast, channels last; `compiled` by torch.compile."""
    import torch
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=(case.height, case.width),
        in_channels=20,
        out_channels=4,
        block_out_channels=case.widths,
        layers_per_block=case.blocks,
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (len(case.widths) - 1)),
        up_block_types=(*["AttnUpBlock2D"] * (len(case.widths) - 1), "UpBlock2D"),
        attention_head_dim=case.head_channels,
        norm_num_groups=case.groups,
    ).to(device)
    x = torch.randn(case.batch, 20, case.height, case.width, device=device)
    target = torch.randn(case.batch, 4, case.height, case.width, device=device)
    if bf16:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=device == "cuda")
    predict = torch.compile(model) if compiled else model
    steps = torch.arange(case.batch, device=device)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = torch.nn.functional.mse_loss(predict(x, steps).sample.float(), target)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
