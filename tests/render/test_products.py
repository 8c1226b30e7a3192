"""Splatting by matrix products against scatters and gathers, its gradients in float64, and its program for TPUs."""

import functools
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from gid_jax.render import accumulation, products
from gid_jax.render.splatting import splat

INTERPRETED = {
    "scatter": jax.jit(functools.partial(products.scatter, interpret=True)),
    "gather": jax.jit(functools.partial(products.gather, interpret=True)),
}


def example(height, width, channels, reach, dtype=np.float32):
    rng = np.random.default_rng(height)
    values = rng.normal(size=(2, height, width, channels)).astype(dtype)
    motion = rng.uniform(-reach, reach, (2, height, width, 2)).astype(dtype)
    motion[0, 0], motion[1, 1, 1] = 1.0, 1e9  # whole pixels, and out of sight
    return jnp.asarray(values), jnp.asarray(motion)


@pytest.mark.parametrize("size", [(19, 37, 5, 3.0), (5, 8, 130, 2.0), (12, 130, 3, 9.0), (2, 520, 2, 300.0)])
def test_products_equal_scatters_and_gathers(size):
    values, motion = example(*size)
    sums, _ = accumulation._sums_by_scatters(values, values[..., 0], motion)
    np.testing.assert_allclose(INTERPRETED["scatter"](values, motion), sums, atol=1e-5, rtol=1e-5)
    expected = accumulation._gather(values, accumulation._ends(motion))
    for ours, theirs in zip(
        INTERPRETED["gather"](values, motion), (expected.value, expected.by_x, expected.by_y), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(19, 7, 3, 3.0), (48, 16, 2, 9.0), (1, 4, 2, 2.0)])
def test_strips_of_rows_add_up_to_the_same(size):
    values, motion = example(max(size[0], 2), *size[1:])
    arrays = [x[:, : size[0]] for x in (values, jnp.abs(values[..., 0]), motion)]
    for ours, theirs in zip(
        accumulation._sums_by_strips(*arrays), accumulation._sums_by_scatters(*arrays), strict=True
    ):
        assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.fixture
def by_products(monkeypatch):
    """The branch for TPUs on this machine, its kernels interpreted."""
    for name, function in INTERPRETED.items():
        monkeypatch.setattr(products, name, function)
    monkeypatch.setattr(accumulation.lax, "platform_dependent", lambda *arguments, tpu, **_: tpu(*arguments))


@pytest.mark.parametrize("path", ["scatters", "products"])
@pytest.mark.parametrize("mode", ["softmax", "linear"])
def test_gradients_equal_finite_differences_in_float64(path, mode, request):
    if path == "products":
        request.getfixturevalue("by_products")
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        arrays = [rng.normal(size=(6, 7, 2)), rng.uniform(-2, 2, (6, 7, 2)), rng.uniform(0.1, 0.5, (6, 7))]
        probe, directions = rng.normal(size=(6, 7, 2)), [rng.normal(size=a.shape) for a in arrays]
        directions[1] *= np.abs(arrays[1] - np.round(arrays[1])) > 1e-3  # kinks lie at whole pixels

        @jax.jit
        def value(*arrays):
            return jnp.sum(probe * splat(*arrays, mode=mode, alpha=1.0)[0])

        gradients = jax.grad(value, argnums=(0, 1, 2))(*map(jnp.asarray, arrays))
        for i, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
            assert gradient.dtype == jnp.float64
            ends = [[a + sign * 1e-5 * direction if i == j else a for j, a in enumerate(arrays)] for sign in (1, -1)]
            numeric = (value(*map(jnp.asarray, ends[0])) - value(*map(jnp.asarray, ends[1]))) / 2e-5
            assert float(jnp.sum(gradient * direction)) == pytest.approx(float(numeric), rel=1e-6, abs=1e-6)


def test_both_ways_splat_alike_and_by_vmap(by_products):
    values, motion = example(9, 12, 3, 4.0)
    weight = jnp.abs(motion[..., 0]) % 3 + 0.1
    ours, holes = splat(values, motion, weight)
    importance = jnp.exp(jnp.maximum(2 * 256 / 12 * (weight - weight.max((1, 2), keepdims=True)), -60.0))
    sums, total = accumulation._sums_by_scatters(values * importance[..., None], importance, motion)
    total = total[..., None]
    expected = jnp.where(total > 0, sums / total, 0)
    np.testing.assert_array_equal(holes, (total <= 0).astype(np.float32))
    reliable = np.asarray(total[..., 0] > 1e-20)
    np.testing.assert_allclose(np.asarray(ours)[reliable], np.asarray(expected)[reliable], atol=1e-5, rtol=1e-4)
    mapped, _ = jax.vmap(splat)(values, motion, weight)
    np.testing.assert_allclose(mapped, ours, atol=1e-6)


def test_on_a_mesh_every_device_splats_its_own_examples():
    values, motion = example(8, 16, 3, 2.0)
    mesh = jax.make_mesh((2, 1, 1), ("data", "fsdp", "freq"), devices=jax.devices()[:2])
    expected = INTERPRETED["scatter"](values, motion)
    with jax.set_mesh(mesh):
        scatter = jax.jit(lambda *arrays: products.scatter(*arrays, interpret=True))
        batch = jax.sharding.NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
        placed = jax.device_put((values, motion), batch)
        compiled = scatter.lower(*placed).compile()
        assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", compiled.as_text())
        result = compiled(*placed)
    assert result.sharding.shard_shape(result.shape) == (1, 8, 16, 3)
    np.testing.assert_allclose(result, expected, atol=1e-6)


TPU = """
import jax, jax.numpy as jnp, re
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from gid_jax.render.splatting import splat
from gid_jax.training.compiled import QUICKLY, topology_devices
from gid_jax.training.sharding import make_mesh
mesh = make_mesh({"data": 4, "fsdp": 1, "freq": 1}, topology_devices("v5e:2x2")[0])
batch = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
shapes = [jax.ShapeDtypeStruct((4, 20, 32, *s), jnp.float32, sharding=batch) for s in ((5,), (2,), ())]
with jax.set_mesh(mesh):
    step = jax.jit(jax.value_and_grad(lambda *a: jnp.sum(splat(*a)[0] ** 2, axis=(1, 2, 3)).mean(), argnums=(0, 1, 2)))
    text = step.lower(*shapes).compile(QUICKLY).as_text()
for name in ("scatter", "gather", "all-gather", "all-to-all", "collective-permute"):
    assert not re.search(rf" {name}(-start)?\\(", text), name
print("kernels", text.count('custom_call_target="tpu_custom_call"'))
"""


@pytest.mark.slow
def test_the_program_for_tpus_has_kernels_and_neither_scatter_nor_gather():
    environment = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run([sys.executable, "-c", TPU], capture_output=True, text=True, env=os.environ | environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-2:] == ["kernels", "2"]
