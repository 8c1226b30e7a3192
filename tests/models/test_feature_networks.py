"""Inception-v3 of FID and I3D of FVD: random weights in every published layout against PyTorch definitions."""

import jax
import numpy as np
import pytest

from gid_jax.metrics.networks import ENTRIES, nested
from gid_jax.models import pooling
from gid_jax.models.archives import read_tensors
from gid_jax.models.feature_weights import check_whole, convert_i3d, convert_inception

torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
theirs = pytest.importorskip("feature_networks")


def channels_last(x):
    return x.movedim(1, -1).numpy()


def assert_close(ours, expected):
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    assert expected.std() > 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("layout", [theirs.Inception, theirs.PytorchFid])
def test_inception_is_the_definition(tmp_path, layout):
    network = theirs.randomise(layout())
    torch.save(network.state_dict(), tmp_path / "inception.pt")
    entry = ENTRIES["fid-inception"]
    arrays = convert_inception(read_tensors(tmp_path / "inception.pt"))
    check_whole(entry.network, arrays)
    pictures = torch.rand(1, 3, 139, 107, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = network(pictures).numpy()
    run = jax.jit(lambda params, x: entry.network.bind(params)(x))
    assert_close(run(nested(arrays), channels_last(pictures)), expected)


@pytest.mark.parametrize(
    ("name", "classes", "epsilon", "frames", "length", "legacy"),
    [
        ("i3d-kinetics400", 400, 1e-3, 2, 11, True),  # rgb_imagenet.pt is older than PyTorch's zip format
        ("i3d-dtdb32", 18, 1e-5, 4, 32, False),
    ],
)
def test_i3d_is_the_definition(tmp_path, name, classes, epsilon, frames, length, legacy):
    network = theirs.randomise(theirs.I3D(classes, epsilon, frames))
    saved = network.state_dict() if legacy else {"epoch": 9, "state_dict": network.state_dict()}
    torch.save(saved, tmp_path / "i3d.pt", _use_new_zipfile_serialization=not legacy)
    arrays = ENTRIES[name].convert(read_tensors(tmp_path / "i3d.pt"))
    check_whole(ENTRIES[name].network, arrays)
    video = torch.rand(1, 3, length, 67, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        representation, expected = network.representation(video)[..., 0, 0], network(video).numpy()
    run = jax.jit(lambda params, x: (bind(params).features(x), bind(params)(x)))
    bind = ENTRIES[name].network.bind
    features, logits = run(nested(arrays), channels_last(video))
    assert_close(features, channels_last(representation))
    assert_close(logits, expected)


def as_flax(state: dict) -> dict:
    """pytorch-i3d's arrays under the names and in the shapes of the published Flax checkpoint, without scales."""
    inner = {
        **{"b0": "Branch_0/Conv3d_0a_1x1", "b1a": "Branch_1/Conv3d_0a_1x1", "b1b": "Branch_1/Conv3d_0b_3x3"},
        **{"b2a": "Branch_2/Conv3d_0a_1x1", "b2b": "Branch_2/Conv3d_0b_3x3", "b3b": "Branch_3/Conv3d_0b_1x1"},
    }
    leaves = {
        "bias": ("params", "bias"),
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    flax = {}
    for name, value in state.items():
        *path, layer, leaf = name.split(".")
        place = ".".join(inner.get(part, part) for part in path).replace("logits", "Logits/Conv3d_0c_1x1")
        value = value.numpy()
        if layer == "conv3d":
            value = value.transpose(2, 3, 4, 1, 0) if leaf == "weight" else value
            flax[f"params.{place}.Conv_0.{'kernel' if leaf == 'weight' else leaf}"] = value
        elif leaf in leaves:
            tree, theirs = leaves[leaf]
            flax[f"{tree}.{place}.BatchNorm_0.{theirs}"] = value if tree == "params" else value.reshape(1, 1, 1, 1, -1)
    return flax


def test_both_layouts_of_i3d_lead_to_the_same_arrays():
    state = theirs.randomise(theirs.I3D(400, 1e-3, 2)).state_dict()
    state = {name: torch.ones_like(value) if name.endswith("bn.weight") else value for name, value in state.items()}
    other = convert_i3d({name: value.numpy() for name, value in state.items()}, 1e-3)
    ours = convert_i3d(as_flax(state), 1e-3)
    check_whole(ENTRIES["i3d-kinetics400"].network, ours)
    assert ours.keys() == other.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_what_is_absent_or_of_another_network_is_named():
    state = {name: value.numpy() for name, value in theirs.I3D(18, 1e-5, 2).state_dict().items()}
    with pytest.raises(ValueError, match=r"logits/bias is \[18\], should be \[400\]"):
        check_whole(ENTRIES["i3d-kinetics400"].network, convert_i3d(state, 1e-5))
    del state["Mixed_4c.b2a.conv3d.weight"]
    with pytest.raises(ValueError, match=r"mixed/3/b2a/\w+ is"):
        check_whole(ENTRIES["i3d-dtdb16"].network, convert_i3d(state, 1e-5))
    with pytest.raises(ValueError, match="should be"):
        check_whole(ENTRIES["fid-inception"].network, convert_inception(state))


def test_too_few_frames_are_refused():
    network = ENTRIES["i3d-dtdb32"].network
    params = jax.eval_shape(network.init, jax.random.key(0))
    video = jax.ShapeDtypeStruct((1, 24, 224, 224, 3), np.float32)
    with pytest.raises(ValueError, match="25 frames or more, not 24"):
        jax.eval_shape(lambda params, x: network.bind(params)(x), params, video)


@pytest.mark.parametrize("size", [(1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_maxima_are_reduce_window(size, padding, stride):
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 7, 3)).astype(np.float32) - 3
    whole = (1, *size, 1), (1, stride, stride, stride, 1)
    expected = jax.lax.reduce_window(x, -np.inf, jax.lax.max, *whole, padding)
    np.testing.assert_array_equal(pooling.max_pool(x, size, (stride,) * 3, padding), expected)


def test_means_of_neighbours_do_not_count_what_lies_outside():
    x = torch.rand(2, 3, 5, 4)
    expected = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    np.testing.assert_allclose(pooling.mean_of_neighbours(channels_last(x)), channels_last(expected), rtol=1e-5)
