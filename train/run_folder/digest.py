"""One SHA-256 over all parameters, which shows whether two runs ended with the same bits."""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from varietas.model.sharding import replicated

AT_ONCE = 1 << 28  # bytes of an array that are gathered at once from several processes


def by_path(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree by their paths, such as "layers/attention/query_DNH"."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def digest(params: Any) -> str:
    """Returns a SHA-256 over name, shape, dtype and bytes of every parameter, in the order of names. It is the same on any mesh."""
    arrays = by_path(params)
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name} {array.shape} {array.dtype.name}\n".encode())
        for value in _parts(array):
            sha.update(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
    return sha.hexdigest()


def _parts(array: Any) -> Iterator[np.ndarray]:
    """Yields an array in parts along its first dimension. All processes have to read them if they hold it together."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        yield np.asarray(array)
        return
    n = max(1, AT_ONCE * array.shape[0] // array.nbytes)  # rows of a part
    assert isinstance(array.sharding, NamedSharding) and isinstance(array.sharding.mesh, Mesh)
    gather = jax.jit(partial(jax.lax.slice_in_dim, axis=0), static_argnums=(1, 2), out_shardings=replicated(array.sharding.mesh))
    for begin in range(0, array.shape[0], n):
        yield np.asarray(gather(array, begin, min(begin + n, array.shape[0])))
