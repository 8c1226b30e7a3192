"""Rendering in tiles against the whole, and how far a renderer sees."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gid_jax.models.network import Network
from gid_jax.models.renderer import Renderer
from gid_jax.rendering import cut, render, windows

HEIGHT, WIDTH = 150, 203


@cache
def renderer(splatting="softmax"):
    """One that sees far: its decoder has an opinion, and its pyramid's blocks are no shortcuts."""
    network = Network(
        lambda rngs: Renderer(width=4, decoder_channels=(4, 4, 8), style_channels=6, splatting=splatting, rngs=rngs)
    )
    leaves = jax.random.key(1)

    def shaken(path, leaf):
        key = jax.random.fold_in(leaves, hash(jax.tree_util.keystr(path)) % 2**31)
        return leaf + 0.1 * jax.random.normal(key, leaf.shape)

    return network, jax.tree_util.tree_map_with_path(shaken, network.init(jax.random.key(0)))


def scene(frames=3):
    rng = np.random.default_rng(0)
    image = np.kron(rng.uniform(size=(25, 34, 3)), np.ones((6, 6, 1)))[:HEIGHT, :WIDTH].astype(np.float32)
    motions = rng.uniform(-2, 2, (frames, 10, 13, 2)).astype(np.float32)
    return image, motions, rng.uniform(0, 6, (HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("splatting", ["softmax", "learned", "backward"])
def test_tiles_equal_the_whole(splatting):
    image, motions, weight = scene()
    network, params = renderer(splatting)
    whole = np.stack(list(render(network, params, image, motions, weight)))
    assert whole.shape == (3, HEIGHT, WIDTH, 3) and whole.dtype == np.uint8
    assert whole.std() > 20 and np.abs(whole[1].astype(int) - whole[2]).mean() > 2
    tiles = np.stack(list(render(network, params, image, motions, weight, tile=20_000)))
    assert np.abs(tiles.astype(int) - whole).max() <= 1


def test_frames_are_the_renderers_whatever_is_made_together():
    image, motions, weight = scene(11)
    network, params = renderer()
    frames = list(render(network, params, image, iter(motions), weight))
    assert len(frames) == 11
    scale = np.asarray([WIDTH / 13, HEIGHT / 10], np.float32)
    for index in (0, 10):
        motion = scale * np.asarray(jax.image.resize(motions[index], (HEIGHT, WIDTH, 2), "linear"))
        expected = jax.jit(lambda m: network.bind(params)(image[None], m[None], weight[None])[0])(motion)
        np.testing.assert_allclose(frames[index], 255 * np.clip(expected, 0, 1), atol=1.01)


def test_nothing_beyond_its_reach_matters():
    """One pixel changed: what becomes of features and of frames far from it."""
    network, params = renderer()
    bound = network.bind(params)
    size = 2 * bound.features_reach + 8 * bound.stride
    image = jnp.asarray(np.random.default_rng(1).uniform(size=(1, size, size, 3)), jnp.float32)
    place = size // 2
    encode = jax.jit(lambda image: network.bind(params).encode(image))
    before, after = encode(image), encode(image.at[0, place, place].add(0.5))
    for level, (old, new) in enumerate(zip(before.pyramid, after.pyramid, strict=True)):
        touched = np.argwhere(np.abs(np.asarray(old - new)).sum(axis=(0, -1)) > 0) * 2**level
        assert 0 < np.abs(touched - place).max() < bound.features_reach
    still, weight = jnp.zeros((1, size, size, 2)), jnp.ones((1, size, size))
    decode = jax.jit(lambda encoded: network.bind(params).render(encoded, image, still, weight))
    changed = before._replace(
        pyramid=[x.at[0, place >> level, place >> level].add(0.5) for level, x in enumerate(before.pyramid)]
    )
    touched = np.argwhere(np.abs(np.asarray(decode(before) - decode(changed))).sum(axis=(0, -1)) > 0)
    assert bound.stride < np.abs(touched - place).max() < bound.reach


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5), st.integers(0, 5), st.integers(64, 4000))
def test_windows_show_every_pixel_once_and_keep_their_margins(height, width, down, across, limit):
    size, margins = (16 * height, 16 * width), (16 * down, 16 * across)
    for length, margin, found in zip(size, margins, cut(size, margins, 16 * limit, 16), strict=True):
        assert len({window.size for window in found}) == 1
        assert [w.first for w in found] == [0, *(w.end for w in found[:-1])] and found[-1].end == length
        for before, window in itertools.pairwise([None, *found]):
            assert window.start % 16 == 0 and window.start >= 0 and window.start + window.size <= length
            assert before is None or window.first >= window.start + margin
            assert window.end == length or window.end <= window.start + window.size - margin


def test_windows_of_one_tile():
    assert windows(48, 48, 16, 16) == [(0, 48, 0, 48)]
