"""One SHA-256 over all parameters: the simple way to see that two runs ended with the same bits."""

import hashlib
from typing import Any

import jax
import numpy as np


def by_path(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their paths, "layers/attention/query_DNH"."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def digest(params: Any) -> str:
    """SHA-256 over name, shape, dtype and bytes of every parameter, in name order: the same on any mesh."""
    arrays = by_path(params)
    sha = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name])
        sha.update(f"{name} {value.shape} {value.dtype.name}\n".encode())
        sha.update(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
    return sha.hexdigest()
