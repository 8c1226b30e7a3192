"""Frechet and kernel distance against torchmetrics, which no extra brings: pip install torchmetrics, beside PyTorch."""

import numpy as np
import pytest

from gid_jax.metrics import distances

torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
reference = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
kernel = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is not installed")


@pytest.mark.parametrize(
    ("n", "d"), [(400, 64), pytest.param(4096, 2048, marks=pytest.mark.slow)], ids=["small", "real size"]
)
def test_distances_are_torchmetrics(n, d):
    random = np.random.default_rng(0)
    mix = random.normal(size=(d, d)) / d**0.5
    real, fake = (np.maximum(random.normal(shift, 1, (n, d)) @ mix, 0) for shift in (0.0, 0.1))
    sides = [torch.from_numpy(side) for side in (real, fake)]
    statistics = [part for side in sides for part in (side.mean(0), side.T.cov())]
    expected = float(reference._compute_fid(*statistics))
    assert distances.fid(real, fake) == pytest.approx(expected, rel=1e-6)
    assert distances.kid(real, fake, size=n) == pytest.approx(100 * float(kernel.poly_mmd(*sides)), rel=1e-6)
