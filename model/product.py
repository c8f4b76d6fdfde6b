"""Activations times weights, with the gradients written out.

The gradient of the weights is asked for as activations times gradients, in the order of the weights' own dimensions. Automatic
differentiation asks for its transpose, for which XLA's CPU backend first copies the larger operand, at some 30 ns an element.
It has the weights' dtype, float32, before it is summed over devices: a thousand addends in bfloat16 would lose what is small.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from varietas.model.sharding import gathered

PRODUCT = "product"  # what rematerialisation knows them by


def product(dims: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """einsum(dims, x, w) for "BLD,DF->BLF" and the like: the last letters of x and the first of w are summed over, the others stay in
    their order. Weights are cast to the dtype of x. Raises ValueError for other dims.
    """
    inputs, out = dims.split("->")
    left, weights = inputs.split(",")
    n = len(set(left) & set(weights))
    if left[-n:] != weights[:n] or out != left[:-n] + weights[n:]:
        raise ValueError(f"product {dims}: the last letters of x have to be the first of w, the others the result's, as in BLNH,NHD->BLD")
    return checkpoint_name(_product(dims, x, w, gathered(w, weights, x.dtype)), PRODUCT)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(dims: str, x: jax.Array, w: jax.Array, whole: jax.Array) -> jax.Array:
    """`whole` is what is computed with, and `w` has the gradient: so both directions share what was gathered."""
    return _contract(dims, x, whole)


def _forward(dims: str, x: jax.Array, w: jax.Array, whole: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _product(dims, x, w, whole), (x, whole, jnp.zeros(0, w.dtype))


def _backward(dims: str, saved: tuple[jax.Array, ...], d_out: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x, whole, like_w = saved
    inputs, out = dims.split("->")
    left, right = inputs.split(",")
    d_x = _contract(f"{out},{right}->{left}", d_out, whole)
    return d_x, _contract(f"{left},{out}->{right}", x, d_out, like_w.dtype), None


def _contract(dims: str, a: jax.Array, b: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """As jnp.einsum of letters in that order, which however sums over N, H as H, N: XLA's CPU backend then first copies both operands."""
    left, right = dims.split("->")[0].split(",")
    summed = [letter for letter in left if letter in right]
    over = [left.index(letter) for letter in summed], [right.index(letter) for letter in summed]
    return jax.lax.dot_general(a, b, (over, ((), ())), preferred_element_type=dtype)


_product.defvjp(_forward, _backward)
