"""Small networks in the cache under the names of those that metrics stand on."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from gid_jax import placement
from gid_jax.metrics import i3d, inception
from gid_jax.metrics.networks import ENTRIES, Entry
from gid_jax.trees import path_name


class Means(nnx.Module):
    """Colours' means and mean squares over everything but the batch, times a kernel, rectified."""

    def __init__(self, outputs, rngs):
        self.kernel = nnx.Param(rngs.uniform((6, outputs), 1.0))

    def __call__(self, x):
        axes = tuple(range(1, x.ndim - 1))
        means = jnp.concatenate([x.mean(axes), (x**2).mean(axes)], axis=-1)
        return means @ placement.whole(self.kernel[...], x.dtype)


def install(folder, monkeypatch):
    monkeypatch.setenv("GID_JAX_CACHE", str(folder))
    for name, outputs in ((inception.NAME, inception.DIMENSIONS), (i3d.NAME, i3d.DIMENSIONS)):
        entry = Entry("a test", lambda rngs, outputs=outputs: Means(outputs, rngs), dict)
        monkeypatch.setitem(ENTRIES, name, entry)
        leaves = jax.tree_util.tree_leaves_with_path(entry.network.init(jax.random.key(3)))
        arrays = {path_name(path): np.asarray(leaf) for path, leaf in leaves}
        save_file(arrays, folder / f"{name}.safetensors", {"network": name, "sha256": f"of {name}", "source": "a test"})
