"""Products of activations and weights, with hand-written gradients.

The gradient of the weights is computed as activations times gradients, in the order of the dimensions of the weights. Automatic
differentiation computes its transpose, for which XLA's CPU backend first copies the larger operand, at about 30 ns an element.
The gradient has the dtype of the weights, float32, before it is summed over devices: a sum of a thousand bfloat16 numbers would lose the
small ones.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from varietas.model.linear.lora import LowRank, halves
from varietas.model.linear.quantized import InPlaceOfArray, Quantized
from varietas.model.sharding import gathered

PRODUCT = "product"  # the name by which rematerialisation finds these products
BLOCK = 128  # inputs of a quantized matrix that are multiplied at once on a CPU


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Observed(InPlaceOfArray):
    """A matrix whose inputs are observed: the gradient with respect to `squares` is the sum of their squares over all tokens."""

    matrix: Any
    squares: Any  # of the shape of an input


@jax.custom_vjp
def _observed(x: jax.Array, squares: jax.Array) -> jax.Array:
    """Returns x. What flows back to `squares` is no gradient of a loss."""
    return x


_observed.defvjp(
    lambda x, squares: (x, (x, squares)),
    lambda saved, d_x: (d_x, (saved[0].astype(jnp.float32) ** 2).sum(range(saved[0].ndim - saved[1].ndim))),
)


def product(dims: str, x: jax.Array, w: jax.Array | LowRank | Observed | Quantized) -> jax.Array:
    """Computes einsum(dims, x, w) where the last dimensions of x are the first of w, as in "BLD,DF->BLF".

    These dimensions are summed over; the others keep their order.

    Args:
        dims: Dimension letters as for einsum.
        x: Activations.
        w: Weights, perhaps with an adapter, observed or quantized. They are cast to the dtype of x.

    Raises:
        ValueError: If `dims` are in another order.
    """
    inputs, out = dims.split("->")
    left, weights = inputs.split(",")
    n = len(set(left) & set(weights))
    if left[-n:] != weights[:n] or out != left[:-n] + weights[n:]:
        raise ValueError(
            f"product {dims}: the last letters of x must be the first of w, and the others in order the result's, as in BLNH,NHD->BLD"
        )
    if isinstance(w, Observed):
        return product(dims, _observed(x, w.squares), w.matrix)
    if isinstance(w, Quantized):
        return quantized_product(x, w, n)
    if isinstance(w, LowRank):
        down, up = halves(weights)
        narrow = product(f"{left},{down}->{left[:-n]}U", x, w.down)
        return product(dims, x, w.matrix) + product(f"{left[:-n]}U,{up}->{out}", narrow, w.up)
    return checkpoint_name(_product(dims, x, w, gathered(w, weights, x.dtype)), PRODUCT)


def quantized_product(x: jax.Array, w: Quantized, n: int = 1, dtype: DTypeLike | None = None) -> jax.Array:
    """Computes the product of activations and a quantized matrix.

    Args:
        x: Activations (…, *inputs).
        w: The matrix.
        n: How many dimensions of x its inputs are.
        dtype: Of the result; None for that of x.
    """
    flat = x.reshape(*x.shape[: x.ndim - n], -1)
    on_one_device = math.prod(jax.sharding.get_abstract_mesh().shape.values()) == 1
    if flat.shape[-1] % BLOCK or not on_one_device:
        return _at_once(flat, w).astype(dtype or x.dtype)
    return jax.lax.platform_dependent(flat, w, cpu=_in_blocks, default=_at_once).astype(dtype or x.dtype)


def _at_once(x: jax.Array, w: Quantized) -> jax.Array:
    if w.low is None:  # scaled afterwards: the numbers are exact in any dtype
        return _last_with_first(x, w.numbers.astype(x.dtype)) * w.scale
    return _last_with_first(x, w.weights(x.dtype))


def _in_blocks(x: jax.Array, w: Quantized) -> jax.Array:
    """Sums the products of BLOCK inputs at a time, whose weights stay in the cache: XLA's CPU backend would write all of them to memory."""

    def part(y: Any, i: jax.Array, n: int) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(y, i * n, n)

    def block(i: jax.Array, total: jax.Array) -> jax.Array:
        inputs = jax.lax.dynamic_slice_in_dim(x, i * BLOCK, BLOCK, axis=x.ndim - 1)
        if w.low is None:
            return total + _last_with_first(inputs, part(w.numbers, i, BLOCK).astype(x.dtype))
        n, half = BLOCK * len(w.numbers) // x.shape[-1], w.numbers.shape[1]
        of_block = Quantized(w.n_outputs, *(part(y, i, n) for y in (w.numbers, w.scale, w.low)))
        inputs = inputs.reshape(*x.shape[:-1], n, 2, half)
        for k, weights in enumerate(of_block.halves(x.dtype)):
            total += _last_with_first(inputs[..., k, :].reshape(*x.shape[:-1], -1), weights.reshape(-1, *w.scale.shape[1:]))
        return total

    zeros = jnp.zeros((*x.shape[:-1], *w.scale.shape[w.low is not None :]), jnp.float32)
    total = jax.lax.fori_loop(0, x.shape[-1] // BLOCK, block, zeros)
    return total * w.scale if w.low is None else total


def _last_with_first(x: jax.Array, w: jax.Array) -> jax.Array:
    return jax.lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(dims: str, x: jax.Array, w: jax.Array, whole: jax.Array) -> jax.Array:
    """The product is computed with `whole`, the gathered weights; the gradient belongs to `w`. Both passes thus share one all-gather."""
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
    """Computes jnp.einsum(dims, a, b), summing in the order of the letters of `a`.

    jnp.einsum itself sums over N, H as H, N, for which XLA's CPU backend first copies both operands.
    """
    left, right = dims.split("->")[0].split(",")
    summed = [letter for letter in left if letter in right]
    over = [left.index(letter) for letter in summed], [right.index(letter) for letter in summed]
    return jax.lax.dot_general(a, b, (over, ((), ())), preferred_element_type=dtype)


_product.defvjp(_forward, _backward)
