"""The U-Net with its frequency embedding and frequency attention."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.models.denoiser import Denoiser
from gid_jax.models.network import Network
from gid_jax.models.unet import UNet

K = 3
KWARGS = {
    "base_channels": 8,
    "multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_levels": (1,),
    "head_channels": 4,
    "num_frequencies": K,
    "norm_groups": 4,
}


ONE_LEVEL = KWARGS | {"multipliers": (1,), "attention_levels": (0,), "frequency_attention": True}


@cache
def build(frequency_attention: bool) -> Network:
    return Network(lambda rngs: UNet(**KWARGS, frequency_attention=frequency_attention, rngs=rngs))


def paths(params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def randomised(params, scale: float = 0.1):
    """`params` plus noise, so that no layer is at its initial zero."""
    generator = np.random.default_rng(7)
    return jax.tree.map(lambda leaf: leaf + scale * generator.normal(size=leaf.shape).astype(np.float32), params)


def batch(volumes: int = 2, height: int = 5, width: int = 7):
    """Odd sizes, so that every test passes through the rounding of down- and upsampling."""
    generator = np.random.default_rng(1)
    n = volumes * K
    latents = generator.normal(size=(n, height, width, 4)).astype(np.float32)
    features = generator.normal(size=(n, height, width, 16)).astype(np.float32)
    time = np.repeat(np.array([3, 700], np.int32)[:volumes], K)
    return latents, features, time, np.tile(np.arange(K, dtype=np.int32), volumes)


@cache
def apply(frequency_attention: bool):
    network = build(frequency_attention)
    return jax.jit(lambda params, *inputs: network.bind(params)(*inputs, K))


def merged(base, coordinated):
    """The base's parameters in the coordinated network, which keeps its own frequency attention."""
    return {
        name: merged(base[name], value) if isinstance(value, dict) and name in base else base.get(name, value)
        for name, value in coordinated.items()
    }


def test_base_parameters_are_the_same_with_and_without_frequency_attention():
    base = paths(jax.eval_shape(build(False).init, jax.random.key(0)))
    coordinated = paths(jax.eval_shape(build(True).init, jax.random.key(0)))
    new = {path for path in coordinated if "frequency_attention" in path.split("/")}
    assert {path: shape for path, shape in coordinated.items() if path not in new} == base
    assert not any("frequency_attention" in path for path in base)
    # Every spatial block has one: a block is where a `resnet` is.
    blocks = {path.split("/resnet/")[0] for path in base if "/resnet/" in path}
    assert blocks == {path.split("/frequency_attention/")[0] for path in new}


def test_untrained_frequency_attention_changes_nothing():
    base, coordinated = build(False).init(jax.random.key(0)), build(True).init(jax.random.key(1))
    base = randomised(base)
    inputs = batch()
    expected = apply(False)(base, *inputs)
    np.testing.assert_allclose(apply(True)(merged(base, coordinated), *inputs), expected, rtol=0, atol=1e-6)


def test_slices_mix_within_a_volume_and_never_across():
    params = randomised(build(True).init(jax.random.key(0)))
    latents, *rest = batch()
    before = apply(True)(params, latents, *rest)
    changed = latents.copy()
    changed[0] += 1.0
    difference = np.abs(apply(True)(params, changed, *rest) - before).max(axis=(1, 2, 3))
    assert (difference[:K] > 1e-4).all()
    assert (difference[K:] == 0).all()


def test_frequency_attention_looks_at_one_position_only():
    """Its own receptive field is one pixel: two pixels of one slice do not meet in it."""
    from gid_jax.models.layers import FrequencyAttention

    network = Network(
        lambda rngs: FrequencyAttention(8, 4, K, norm_groups=8, epsilon=1e-5, dtype=jnp.float32, rngs=rngs)
    )
    params = randomised(network.init(jax.random.key(0)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(K, 4, 5, 8)), jnp.float32)
    apply = jax.jit(lambda x: network.bind(params)(x, jnp.arange(K), K))
    swapped = x[:, ::-1, ::-1]  # leaves the normalisation's statistics as they are
    result = apply(x)
    np.testing.assert_allclose(apply(swapped)[:, ::-1, ::-1], result, rtol=1e-5, atol=1e-5)
    assert float(jnp.abs(result - x).max()) > 1e-2


def test_frequency_embedding_starts_without_effect_and_then_tells_frequencies_apart():
    params = build(False).init(jax.random.key(0))
    params["conv_out"]["kernel"] += 0.1
    latents, features, time, frequency = batch()
    other = np.roll(frequency, 1)
    run = apply(False)
    np.testing.assert_array_equal(
        run(params, latents, features, time, frequency), run(params, latents, features, time, other)
    )
    params = randomised(params)
    moved = jnp.abs(run(params, latents, features, time, frequency) - run(params, latents, features, time, other))
    assert (jnp.max(moved, axis=(1, 2, 3)) > 1e-4).all()


def test_rematerialisation_changes_no_value_and_no_gradient():
    networks = [Network(lambda rngs, remat=remat: UNet(**ONE_LEVEL, remat=remat, rngs=rngs)) for remat in (False, True)]
    params = randomised(networks[0].init(jax.random.key(0)))
    inputs = batch(volumes=1)
    (expected, expected_gradient), (value, gradient) = (
        jax.jit(jax.value_and_grad(lambda params, network=network: jnp.mean(network.bind(params)(*inputs, K) ** 2)))(
            params
        )
        for network in networks
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), gradient, expected_gradient)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    program = jax.make_jaxpr(lambda params: networks[1].bind(params)(*inputs, K))(params)
    blocks = {path.split("/resnet/")[0] for path in paths(params) if "/resnet/" in path}
    assert sum("prevent_cse" in equation.params for equation in program.eqns) == len(blocks)


def test_bfloat16_stays_near_float32():
    inputs = batch(volumes=1)
    results = []
    for dtype in (jnp.float32, jnp.bfloat16):
        network = Network(lambda rngs, dtype=dtype: UNet(**ONE_LEVEL, dtype=dtype, rngs=rngs))
        params = randomised(network.init(jax.random.key(0)))
        results.append(jax.jit(lambda params, network=network: network.bind(params)(*inputs, K))(params))
    expected, result = results
    assert result.dtype == jnp.float32
    assert float(jnp.sqrt(jnp.mean((result - expected) ** 2) / jnp.mean(expected**2))) < 0.05


def test_initial_parameters_depend_on_the_key_only():
    network = build(True)
    first, again = network.init(jax.random.key(3)), jax.jit(network.init)(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first["conv_in"]["kernel"] != network.init(jax.random.key(4))["conv_in"]["kernel"]).all()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(first))
    kernel = first["conv_in"]["kernel"]
    assert float(jnp.abs(kernel).max()) <= 1 / np.sqrt(9 * 20)
    np.testing.assert_allclose(jnp.std(kernel), np.sqrt(1 / 3 / (9 * 20)), rtol=0.1)


def test_parameters_of_another_network_are_refused():
    with pytest.raises(ValueError, match="paths"):
        build(True).bind(build(False).init(jax.random.key(0)))


def test_denoiser_encodes_a_picture_to_the_latents_size():
    network = Network(
        lambda rngs: Denoiser(image_encoder={"base_channels": 8, "norm_groups": 4}, unet=KWARGS, rngs=rngs)
    )
    params = network.init(jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), (K, 20, 28, 3))
    latents, _, time, frequency = batch(volumes=1)

    @jax.jit
    def run(params, image):
        model = network.bind(params)
        features = model.encode_image(image)
        return features, model(latents, features, time, frequency)

    features, noise = run(params, image)
    assert features.shape == (K, 5, 7, 16)
    assert noise.shape == (K, 5, 7, 4)


def test_a_joint_network_sees_the_slices_of_a_volume_as_channels():
    encoder = {"out_channels": 16, "base_channels": 4, "norm_groups": 4}
    unet = {**KWARGS, "in_channels": 4 * K + 16, "out_channels": 4 * K}
    network = Network(lambda rngs: Denoiser(image_encoder=encoder, unet=unet, joint=True, rngs=rngs))
    params = randomised(network.init(jax.random.key(0)))
    latents, features, time, frequency = batch()
    features = np.repeat(features[::K], K, axis=0)

    @jax.jit
    def both(params, latents):
        model = network.bind(params)
        stacked = jnp.concatenate([latents[k::K] for k in range(K)], axis=-1)
        whole = model.unet(stacked, features[::K], time[::K], frequency[::K])
        return model(latents, features, time, frequency, K), whole

    joint, whole = both(params, latents)
    for k in range(K):
        np.testing.assert_allclose(joint[k::K], whole[..., 4 * k : 4 * k + 4], atol=1e-5)
