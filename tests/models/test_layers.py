"""Single layers against numpy, torch and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.models import layers
from gid_jax.models.network import Network

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, (1, 1)), (3, 2, (1, 1)), (3, 2, (0, 1)), (1, 1, (0, 0))]
)
@pytest.mark.parametrize("height", [6, 7])
def test_convolution_and_its_gradients_equal_torch(size, stride, padding, height):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, height, 5, 3)).astype(np.float32)
    kernel = generator.normal(size=(size, size, 3, 4)).astype(np.float32)
    x_torch = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    kernel_torch = torch.from_numpy(kernel).permute(3, 2, 0, 1).requires_grad_()
    before, after = padding
    padded = torch.nn.functional.pad(x_torch, (before, after, before, after))
    expected = torch.nn.functional.conv2d(padded, kernel_torch, stride=stride)
    result, pullback = jax.vjp(lambda x, kernel: layers.convolve(x, kernel, stride, padding), x, kernel)
    np.testing.assert_allclose(result, expected.detach().permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
    cotangent = generator.normal(size=result.shape).astype(np.float32)
    expected.backward(torch.from_numpy(cotangent).permute(0, 3, 1, 2))
    gradient_x, gradient_kernel = pullback(cotangent)
    np.testing.assert_allclose(gradient_x, x_torch.grad.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient_kernel, kernel_torch.grad.permute(2, 3, 1, 0), rtol=1e-4, atol=1e-4)


def test_group_norm_equals_torch():
    x = np.random.default_rng(0).normal(3, 2, size=(2, 5, 4, 12)).astype(np.float32)
    network = Network(lambda rngs: layers.GroupNorm(12, 4, epsilon=1e-5, dtype=jnp.float32))
    params = {"scale": jnp.linspace(0.5, 2, 12), "bias": jnp.linspace(-1, 1, 12)}
    reference = torch.nn.functional.group_norm(
        torch.from_numpy(x).permute(0, 3, 1, 2), 4, *(torch.from_numpy(np.array(params[n])) for n in ("scale", "bias"))
    )
    np.testing.assert_allclose(network.bind(params)(x), reference.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_groups_must_divide_channels():
    with pytest.raises(ValueError, match="do not divide"):
        layers.GroupNorm(12, 5, epsilon=1e-5, dtype=jnp.float32)


def test_attention_equals_torch():
    generator = np.random.default_rng(0)
    query, key, value = generator.normal(size=(3, 2, 5, 3, 4)).astype(np.float32)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(torch.from_numpy(x).transpose(1, 2) for x in (query, key, value))
    ).transpose(1, 2)
    np.testing.assert_allclose(layers.attend(query, key, value), expected, rtol=1e-5, atol=1e-5)


def test_upsampling_equals_torch_then_convolution():
    """Cropped to odd sizes: torch's nearest interpolation to the size of the skip."""
    network = Network(lambda rngs: layers.Upsample(4, dtype=jnp.float32, rngs=rngs))
    params = network.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    kernel = torch.from_numpy(np.array(params["conv"]["kernel"])).permute(3, 2, 0, 1)
    for size in ((6, 8), (5, 8), (6, 7), (5, 7)):
        nearest = torch.nn.functional.interpolate(torch.from_numpy(x).permute(0, 3, 1, 2), size=size, mode="nearest")
        expected = torch.nn.functional.conv2d(nearest, kernel, padding=1).permute(0, 2, 3, 1)
        np.testing.assert_allclose(network.bind(params)(x, size), expected, rtol=1e-5, atol=1e-5)


def test_time_embedding_is_that_of_latent_diffusion():
    """cos(t w_i), sin(t w_i), w_i = 10000^(-i / half)."""
    time = np.array([0, 1, 999])
    rates = 10000.0 ** (-np.arange(4) / 4)
    expected = np.concatenate([np.cos(time[:, None] * rates), np.sin(time[:, None] * rates)], axis=1)
    np.testing.assert_allclose(layers.sinusoids(jnp.asarray(time), 8), expected, atol=1e-4)
