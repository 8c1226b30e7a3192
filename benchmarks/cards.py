"""What a GPU can do at most: operations and bytes a second by its data sheet, else as measured."""

import dataclasses

import clock
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Card:
    """JAX's name of it; FLOP/s without sparsity: matrix products in bf16 and in TF32, float32 outside of the matrix
    units; bytes/s of its memory.
    """

    name: str
    bf16: float
    tf32: float
    fp32: float
    bandwidth: float
    source: str = "data sheet"

    def __str__(self) -> str:
        products = f"bf16 {self.bf16 / 1e12:.4g}, TF32 {self.tf32 / 1e12:.4g}, float32 {self.fp32 / 1e12:.4g} TFLOP/s"
        return f"{self.name}, {self.source}: {products}, {self.bandwidth / 1e9:.4g} GB/s"

    def seconds(self, flops: float, traffic: float, kind: str) -> float:
        """The roofline: the longer of operations at the peak of `kind` ("bf16", ...) and bytes at the bandwidth."""
        return max(flops / getattr(self, kind), traffic / self.bandwidth)


CARDS = {
    card.name: card
    for card in (
        Card("NVIDIA H100 80GB HBM3", 989e12, 495e12, 67e12, 3.35e12),
        Card("NVIDIA H100 PCIe", 756e12, 378e12, 51e12, 2.0e12),
        Card("NVIDIA H100 NVL", 835e12, 418e12, 60e12, 3.9e12),
        Card("NVIDIA H200", 989e12, 495e12, 67e12, 4.8e12),
        Card("NVIDIA H200 NVL", 835e12, 418e12, 60e12, 4.8e12),
        Card("NVIDIA A100-SXM4-40GB", 312e12, 156e12, 19.5e12, 1.555e12),
        Card("NVIDIA A100-SXM4-80GB", 312e12, 156e12, 19.5e12, 2.039e12),
        Card("NVIDIA A100-PCIE-40GB", 312e12, 156e12, 19.5e12, 1.555e12),
        Card("NVIDIA A100 80GB PCIe", 312e12, 156e12, 19.5e12, 1.935e12),
    )
}


def measured(device: jax.Device) -> Card:
    """By products of large matrices, the float32 peak by one of full precision, and by a copy."""
    side, length = (512, 1 << 24) if device.platform == "cpu" else (8192, 1 << 28)

    def product(dtype: jnp.dtype, precision: jax.lax.Precision) -> float:
        matrix = jax.device_put(jnp.ones((side, side), dtype), device)
        multiply = jax.jit(lambda a: jnp.matmul(a, a, precision=precision))
        return 2 * side**3 / clock.steady(lambda: multiply(matrix).block_until_ready(), seconds=0.5)

    array = jax.device_put(jnp.ones(length, jnp.float32), device)
    copy = jax.jit(lambda x: x + 1)
    return Card(
        device.device_kind,
        bf16=product(jnp.bfloat16, jax.lax.Precision.DEFAULT),
        tf32=product(jnp.float32, jax.lax.Precision.DEFAULT),
        fp32=product(jnp.float32, jax.lax.Precision.HIGHEST),
        bandwidth=2 * array.nbytes / clock.steady(lambda: copy(array).block_until_ready(), seconds=0.5),
        source="measured",
    )
