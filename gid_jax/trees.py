"""Nested structures of arrays, and what their leaves are called."""

from typing import Any

import jax

Tree = Any  # a pytree of arrays, or of their shapes or shardings


def path_name(path: tuple) -> str:
    """A leaf's path as sharding rules and messages name it, such as `params/unet/conv_in/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
