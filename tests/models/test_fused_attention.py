"""The kernels against PyTorch's attention, run as plain operations, and compiled for a TPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gid_jax.models import fused_attention
from gid_jax.models.layers import Attention
from gid_jax.models.network import Network
from gid_jax.training import compiled


def arrays(count, shape):
    return [np.random.default_rng(i).normal(size=shape).astype(np.float32) for i in range(count)]


@pytest.mark.parametrize(
    ("tokens", "channels", "head_channels", "scores"),
    [(40, 128, 32, 1 << 19), (96, 256, 64, 32 * 96), (16, 256, 256, 1 << 19)],
    ids=["four heads", "some queries at a time", "one wide head"],
)
def test_equals_pytorch_with_its_gradients(monkeypatch, tokens, channels, head_channels, scores):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(fused_attention, "SCORES", scores)
    *inputs, change = arrays(4, (2, tokens, channels))
    ours, pullback = jax.vjp(lambda *x: fused_attention.attend(*x, head_channels, True), *map(jnp.asarray, inputs))
    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    heads = [x.reshape(2, tokens, -1, head_channels).transpose(1, 2) for x in theirs]
    expected = torch.nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, tokens, channels)
    expected.backward(torch.tensor(change))
    np.testing.assert_allclose(ours, expected.detach().numpy(), atol=2e-6)
    for mine, leaf in zip(pullback(jnp.asarray(change)), theirs, strict=True):
        np.testing.assert_allclose(mine, leaf.grad.numpy(), atol=2e-5)


@pytest.fixture(scope="module")
def chip():
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install -e .[test]")
    devices, _ = compiled.topology_devices("v5e:2x2")
    return jax.make_mesh((1, 1, 2), ("data", "fsdp", "freq"), devices=devices[:2], axis_types=(AxisType.Auto,) * 3)


@pytest.mark.parametrize("channels", [64, 128], ids=["too narrow for a kernel", "fused"])
def test_a_tpu_keeps_the_scores_on_the_chip(chip, channels):
    """Two pictures on two chips: each runs the kernels on its own; what does not fit is left to the compiler."""
    network = Network(lambda rngs: Attention(channels, 32, dtype=jnp.bfloat16, rngs=rngs))
    whole = NamedSharding(chip, PartitionSpec())
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole),
        jax.eval_shape(network.init, jax.random.key(0)),
    )
    tokens = jax.ShapeDtypeStruct(
        (2, 160, channels), jnp.bfloat16, sharding=NamedSharding(chip, PartitionSpec(("data", "fsdp", "freq")))
    )

    def loss(params, tokens):
        return jnp.sum(network.bind(params)(tokens).astype(jnp.float32))

    with jax.set_mesh(chip):
        program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, tokens).compile(compiled.QUICKLY)
    text = program.as_text()
    assert ("tpu_custom_call" in text) == (channels == 128)
    assert ("160,160]" in text) == (channels == 64)
    assert "all-gather" not in text


def test_chips_without_enough_memory_leave_it_to_the_compiler(chip):
    with jax.set_mesh(chip):
        assert fused_attention.fits(2560, 512, 512)
        assert not fused_attention.fits(64 * 2560, 512, 512)
        assert not fused_attention.fits(7 * 1009, 128, 32)  # no parts of the queries
