"""Activations times weights, with the gradients written out.

The gradient of the weights is asked for as activations times gradients, in the order of the weights' own dimensions. Automatic
differentiation asks for its transpose, for which XLA's CPU backend first copies the larger operand, at some 30 ns an element.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

PRODUCT = "product"  # what rematerialisation knows them by


def product(dims: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """einsum(dims, x, w) for "BLD,DF->BLF" and the like: every letter in two of the three. Weights are cast to the dtype of x."""
    return checkpoint_name(_product(dims, x, w), PRODUCT)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(dims: str, x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.einsum(dims, x, w.astype(x.dtype))


def _forward(dims: str, x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(dims, x, w), (x, w)


def _backward(dims: str, saved: tuple[jax.Array, jax.Array], d_out: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    inputs, out = dims.split("->")
    left, right = inputs.split(",")
    d_x = jnp.einsum(f"{out},{right}->{left}", d_out, w.astype(x.dtype))
    return d_x, jnp.einsum(f"{left},{out}->{right}", x, d_out).astype(w.dtype)


_product.defvjp(_forward, _backward)
