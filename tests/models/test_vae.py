"""The autoencoder beyond its parity with diffusers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.models.network import Network
from gid_jax.models.vae import VAE

KWARGS = {"base_channels": 8, "multipliers": (1, 2), "blocks_per_level": 1, "norm_groups": 4}


def build(**kwargs) -> Network:
    return Network(lambda rngs: VAE(**KWARGS, **kwargs, rngs=rngs))


def test_sizes_and_gradients_with_and_without_remat():
    x = jax.random.normal(jax.random.key(0), (2, 12, 20, 4))
    results = []
    for remat in (False, True):
        network = build(mid_attention=True, remat=remat)

        def loss(params, network=network):
            model = network.bind(params)
            mean, log_variance = model.encode(x)
            assert mean.shape == log_variance.shape == (2, 6, 10, 4)
            return jnp.mean((model.decode(mean) - x) ** 2) + jnp.mean(log_variance**2)

        results.append(jax.jit(jax.value_and_grad(loss))(network.init(jax.random.key(1))))
    (value, gradient), (value_again, gradient_again) = results
    np.testing.assert_allclose(value, value_again, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), gradient, gradient_again)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_size_that_is_no_multiple_of_the_stride_is_refused():
    network = build(mid_attention=False)
    params = network.init(jax.random.key(0))
    with pytest.raises(ValueError, match="multiples of 2"):
        jax.eval_shape(lambda params: network.bind(params).encode(jnp.zeros((1, 9, 12, 4))), params)


def test_no_channel_of_a_fresh_encoder_is_lost_in_noise():
    network = Network(lambda rngs: VAE(base_channels=16, norm_groups=8, blocks_per_level=1, rngs=rngs))
    x = jax.random.normal(jax.random.key(0), (2, 16, 24, 4))
    for seed in range(3):
        mean, log_variance = network.bind(network.init(jax.random.key(seed))).encode(x)
        assert (np.var(mean, axis=(0, 1, 2)) > 3 * np.exp(log_variance).mean((0, 1, 2))).all()
