"""The renderer, its feature pyramid and its way of filling holes."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer, fill_holes
from gid_jax.models.resnet import FeaturePyramid
from gid_jax.render.splatting import splat
from gid_jax.render.tangents import from_planes, spline_slopes, to_planes
from gid_jax.render.warp import backward_warp

KWARGS = {"width": 4, "decoder_channels": (4, 4, 8), "style_channels": 6}


@cache
def build(remat: bool = False) -> Network:
    return Network(lambda rngs: Renderer(**KWARGS, remat=remat, rngs=rngs))


@cache
def apply(remat: bool = False):
    return jax.jit(lambda params, *inputs: build(remat).bind(params)(*inputs))


def scene(height: int = 16, width: int = 24, batch: int = 2):
    keys = jax.random.split(jax.random.key(0), 3)
    image = jax.random.uniform(keys[0], (batch, height, width, 3))
    motion = 2 * jax.random.normal(keys[1], (batch, height, width, 2))
    return image, motion, jnp.abs(jax.random.normal(keys[2], (batch, height, width)))


def trained(params):
    """Parameters with a decoder that has an opinion."""
    return params | {"conv_out": {"kernel": params["conv_out"]["kernel"] + 0.02, "bias": jnp.full(3, 0.01)}}


@pytest.mark.parametrize(("height", "width"), [(16, 24), (3, 5)])
def test_without_motion_an_untrained_renderer_returns_the_picture(height, width):
    image, motion, weight = scene(height, width)
    params = build().init(jax.random.key(1))
    np.testing.assert_allclose(apply()(params, image, 0 * motion, weight), image, atol=1e-6)


def test_untrained_it_is_the_splatted_picture_where_anything_arrived():
    image, motion, weight = scene()
    result = apply()(build().init(jax.random.key(1)), image, motion, weight)
    planes, holes = splat(to_planes(image, spline_slopes(image), motion), motion, weight)
    warped = from_planes(planes)
    assert 0 < float(jnp.mean(holes)) < 1
    np.testing.assert_allclose(jnp.where(holes > 0, 0, result - warped), jnp.zeros_like(result), atol=1e-5)
    arrived = np.asarray(warped)[np.asarray(holes)[..., 0] == 0]
    filled = np.asarray(result)[np.asarray(holes)[..., 0] == 1]
    assert arrived.min() <= filled.min() and filled.max() <= arrived.max()


@pytest.mark.parametrize("splatting", ["average", "learned", "backward"])
def test_baselines_untrained_are_their_own_warp_of_the_picture(splatting):
    image, motion, weight = scene()
    network = Network(lambda rngs: Renderer(**KWARGS, splatting=splatting, rngs=rngs))
    params = network.init(jax.random.key(1))
    result = jax.jit(lambda params, *inputs: network.bind(params)(*inputs))(params, image, motion, weight)
    if splatting == "backward":
        planes = backward_warp(to_planes(image, spline_slopes(image), 0 * motion), -motion)
        expected, holes = from_planes(planes, -motion), jnp.zeros((*image.shape[:-1], 1))
    else:  # a fresh learned weight is the same everywhere
        planes, holes = splat(to_planes(image, spline_slopes(image), motion), motion, mode="average")
        expected = from_planes(planes)
    np.testing.assert_allclose(jnp.where(holes > 0, 0, result - expected), jnp.zeros_like(result), atol=1e-5)


def test_a_learned_weight_decides_who_is_in_front():
    image, motion, weight = scene()
    network = Network(lambda rngs: Renderer(**{**KWARGS, "decoder_channels": (4,)}, splatting="learned", rngs=rngs))
    params = network.init(jax.random.key(1))

    def loss(params):
        return jnp.mean(jnp.square(network.bind(params)(image, motion, weight) - image))

    gradient = jax.jit(jax.grad(loss))(params)["importance"]["kernel"]
    assert float(jnp.max(jnp.abs(gradient))) > 0


def test_an_unknown_way_of_splatting_is_refused():
    with pytest.raises(ValueError, match="softmax, average, learned, backward"):
        Network(lambda rngs: Renderer(**KWARGS, splatting="nearest", rngs=rngs))


def test_the_pyramid_is_encoded_once_for_all_frames():
    image, motion, weight = scene()
    params = trained(build().init(jax.random.key(1)))

    @jax.jit
    def split(params):
        model = build().bind(params)
        return model.render(model.encode(image), image, motion, weight)

    np.testing.assert_allclose(split(params), apply()(params, image, motion, weight), atol=1e-5)
    plain = apply()(build().init(jax.random.key(1)), image, motion, weight)
    assert float(jnp.abs(split(params) - plain).max()) > 1e-3


def test_gradients_reach_every_part_and_remat_changes_none():
    image, motion, weight = scene()
    params = trained(build().init(jax.random.key(1)))

    def gradient(remat):
        return jax.jit(jax.grad(lambda params: jnp.mean(build(remat).bind(params)(image, motion, weight) ** 2)))(params)

    plain, again = gradient(False), gradient(True)
    for part in ("decoder", "pyramid", "style", "conv_out", "latent"):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain[part]))
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain[part])) > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), again, plain)


def test_modulated_convolutions_equal_their_definition():
    """StyleGAN 2, eq. 1 and 3: weights scaled by the style of each picture, then normalised for each output."""
    from gid_jax.models.renderer import ModulatedConv

    network = Network(lambda rngs: ModulatedConv(3, 5, 4, dtype=jnp.float32, rngs=rngs))
    params = network.init(jax.random.key(0))
    generator = np.random.default_rng(0)
    x, style = (generator.normal(size=shape).astype(np.float32) for shape in ((2, 6, 7, 3), (2, 4)))
    for sample in range(2):
        scale = 1 + style[sample] @ params["style"]["kernel"] + params["style"]["bias"]
        weights = np.array(params["conv"]["kernel"]) * np.array(scale)[None, None, :, None]
        weights /= np.sqrt((weights**2).sum(axis=(0, 1, 2), keepdims=True))
        y = jax.lax.conv_general_dilated(
            x[sample : sample + 1], weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        expected = np.where(y > 0, y, 0.2 * y) * np.sqrt(2)
        np.testing.assert_allclose(network.bind(params)(x, style)[sample], expected[0], rtol=1e-4, atol=1e-5)


def test_what_comes_from_below_is_doubled_within_the_convolution():
    from gid_jax.models.layers import double
    from gid_jax.models.renderer import ModulatedConv

    network = Network(lambda rngs: ModulatedConv(7, 5, 4, dtype=jnp.float32, rngs=rngs))
    conv = network.bind(network.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), 3)
    shapes = ((2, 6, 8, 3), (2, 3, 4, 4), (2, 4))
    x, below, style = (jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
    whole = conv(jnp.concatenate([double(below), x], axis=-1), style)
    np.testing.assert_allclose(conv(x, style, below), whole, atol=1e-5)


def test_holes_take_the_mean_of_the_nearest_filled_block():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    holes = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0].set(1).at[0, 2:, 2:].set(1)
    still = image + 100
    filled = fill_holes(image * (1 - holes), holes, still, levels=3)[0, ..., 0]
    expected = np.arange(16.0).reshape(4, 4)
    expected[0, 0] = (1 + 4 + 5) / 3
    expected[2:, 2:] = (image * (1 - holes)).sum() / (1 - holes).sum()
    np.testing.assert_allclose(filled, expected, rtol=1e-6)
    everywhere = fill_holes(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1)), still, levels=2)[0, ..., 0]
    np.testing.assert_allclose(everywhere, np.kron([[102.5, 104.5], [110.5, 112.5]], np.ones((2, 2))))


def test_pyramid_has_the_shape_of_resnet_34():
    network = Network(lambda rngs: FeaturePyramid(width=64, levels=6, dtype=jnp.float32, rngs=rngs))
    params = jax.eval_shape(network.init, jax.random.key(0))
    pyramid = jax.eval_shape(lambda params: network.bind(params)(jnp.zeros((1, 64, 96, 3))), params)
    assert [level.shape for level in pyramid] == [
        (1, 64, 96, 64),
        (1, 32, 48, 64),
        (1, 16, 24, 64),
        (1, 8, 12, 128),
        (1, 4, 6, 256),
        (1, 2, 3, 512),
    ]
    # torchvision's ResNet-34 has 21,284,672 parameters before its classifier, each batch norm as a scale and a bias.
    extra = sum(leaf.size for leaf in jax.tree.leaves(params["full"]))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) - extra == 21_284_672
    with pytest.raises(ValueError, match="1 to 6 levels"):
        FeaturePyramid(width=64, levels=7, dtype=jnp.float32, rngs=None)
