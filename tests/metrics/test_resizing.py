"""Pictures brought to a network's size: Pillow's bicubic in float, TensorFlow 1's bilinear, PyTorch's with corners."""

import numpy as np
import pytest
from PIL import Image

from gid_jax.metrics.resizing import resize

SIZES = [(40, 57, 31), (23, 30, 64), (31, 64, 31)]


def pictures(height, width):
    """Noise over black and white squares, so that a cubic oversteps."""
    squares = np.indices((height, width)).sum(0)[None, ..., None] // 7 % 2 * 235
    return (squares + np.random.default_rng(0).integers(0, 21, (2, height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_clean_is_pillows_bicubic_in_float_cut_to_the_range(height, width, size):
    given = pictures(height, width)
    expected = [
        [
            np.asarray(Image.fromarray(p[..., c].astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        for p in given
    ]
    expected = np.moveaxis(np.array(expected), 1, -1)
    assert expected.max() > 255 and expected.min() < 0
    np.testing.assert_allclose(resize(given, size, "clean"), np.clip(expected, 0, 255), atol=5e-3)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_legacy_is_tensorflow_1s_bilinear(height, width, size):
    """Written out: source = target * in / out, from the top left, no half pixel, no antialiasing."""
    given = pictures(height, width)
    expected = np.zeros((2, size, size, 3))
    for y in range(size):
        for x in range(size):
            v, u = y * height / size, x * width / size
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = v - top, u - left
            upper = given[:, top, left] * (1 - b) + given[:, top, right] * b
            lower = given[:, bottom, left] * (1 - b) + given[:, bottom, right] * b
            expected[:, y, x] = upper * (1 - a) + lower * a
    np.testing.assert_allclose(resize(given, size, "legacy"), expected, atol=5e-3)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_corners_is_pytorchs_bilinear_with_aligned_corners(height, width, size):
    torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
    given = pictures(height, width)
    tensor = torch.from_numpy(given).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(resize(given, size, "corners"), expected.permute(0, 2, 3, 1), atol=5e-3)


def test_pictures_of_the_size_stay_and_only_bytes_are_taken():
    given = pictures(31, 31)
    np.testing.assert_array_equal(resize(given, 31, "clean"), given)
    with pytest.raises(ValueError, match="uint8"):
        resize(given.astype(np.float32) / 255, 31, "clean")
