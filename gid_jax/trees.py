"""Nested structures of arrays, and what their leaves are called."""

from typing import Any

import jax

Tree = Any  # a pytree of arrays, or of their shapes or shardings


def path_name(path: tuple) -> str:
    """A leaf's path as sharding rules and messages name it, such as `params/unet/conv_in/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(params: Tree, component: str) -> tuple[Tree, Tree]:
    """Nested dicts of (what lies under a path component of this name, everything else), without empty dicts."""
    inside, outside = {}, {}
    for name, value in params.items():
        if name == component:
            inside[name] = value
        elif isinstance(value, dict):
            first, second = partition(value, component)
            inside.update({name: first} if first else {})
            outside.update({name: second} if second else {})
        else:
            outside[name] = value
    return inside, outside
