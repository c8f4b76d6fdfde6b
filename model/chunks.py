"""Splits arrays into chunks along one dimension, for jax.lax.scan, and joins them again."""

import jax
import jax.numpy as jnp


def split(x: jax.Array, size: int, axis: int) -> jax.Array:
    """Splits `axis` into chunks, which become the first dimension: (…, L, …) -> (n, …, size, …). The last chunk is padded with zeros."""
    x = jnp.pad(x, [(0, -x.shape[axis] % size if i == axis else 0) for i in range(x.ndim)])
    return jnp.moveaxis(x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :]), axis, 0)


def join(x: jax.Array, length: int, axis: int) -> jax.Array:
    """Undoes `split` and removes its padding: (n, …, size, …) -> (…, length, …)."""
    x = jnp.moveaxis(x, 0, axis)
    return jax.lax.slice_in_dim(x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :]), 0, length, axis=axis)
