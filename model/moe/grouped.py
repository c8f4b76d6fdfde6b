"""Products in which each row meets the matrix of its own expert. Rows are sorted by expert.

GPUs and TPUs have kernels for that (`jax.lax.ragged_dot`). XLA's CPU backend would multiply every row with every matrix. There, blocks of
rows are multiplied one after the other, each with the matrices of the experts that its rows belong to.

P are pairs of a token and one of its experts, I and O the inputs and outputs of a matrix.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.lax import RaggedDotDimensionNumbers

from varietas.model.linear.product import PRODUCT
from varietas.model.sharding import as_varying, gathered_here, summed_here

BLOCK = 128  # rows that are multiplied at once on a CPU


def grouped_product(dims: str, x_PI: jax.Array, w: jax.Array, sizes_E: jax.Array) -> jax.Array:
    """Returns the product of each row with the matrix of its expert, (P, O).

    Call it within `each_device`. The matrices are gathered, and cast to the dtype of the rows, for the product alone. Their gradient is
    summed in their own dtype, float32, as in model/linear/product.py.

    Args:
        dims: The dimension letters of `w`: E, then inputs and outputs.
        x_PI: Rows, sorted by expert.
        w: The device's part of the matrices of its experts.
        sizes_E: How many rows each of these experts has, int32. Rows after those of the last expert have a product of zero.
    """
    return checkpoint_name(_grouped_product(dims, x_PI, w, sizes_E), PRODUCT)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _grouped_product(dims: str, x_PI: jax.Array, w: jax.Array, sizes_E: jax.Array) -> jax.Array:
    return _products(x_PI, gathered_here(w, dims, x_PI.dtype), sizes_E)


def _forward(dims: str, x_PI: jax.Array, w: jax.Array, sizes_E: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _grouped_product(dims, x_PI, w, sizes_E), (x_PI, w, sizes_E)


def _backward(dims: str, saved: tuple[jax.Array, ...], d_out: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x_PI, w, sizes_E = saved
    d_x = _products(d_out, gathered_here(w, dims, x_PI.dtype).swapaxes(1, 2), sizes_E)
    return d_x, summed_here(_sums_of_products(x_PI, d_out, sizes_E), dims).astype(w.dtype), None


_grouped_product.defvjp(_forward, _backward)


def _products(x_PI: jax.Array, w_EIO: jax.Array, sizes_E: jax.Array) -> jax.Array:
    def by_kernel(x_PI: jax.Array, w_EIO: jax.Array, sizes_E: jax.Array) -> jax.Array:
        out = jax.lax.ragged_dot(x_PI, w_EIO, sizes_E)
        return jnp.where(jnp.arange(len(out))[:, None] < sizes_E.sum(), out, 0)  # kernels may leave what they like there

    return jax.lax.platform_dependent(x_PI, w_EIO, sizes_E, cpu=_products_in_blocks, default=by_kernel)


def _sums_of_products(x_PI: jax.Array, y_PO: jax.Array, sizes_E: jax.Array) -> jax.Array:
    """Returns xᵀy over the rows of each expert, float32 (E, I, O)."""
    dimensions = RaggedDotDimensionNumbers((((0,), (0,)), ((), ())), lhs_ragged_dimensions=[0], rhs_group_dimensions=[])

    def by_kernel(x_PI: jax.Array, y_PO: jax.Array, sizes_E: jax.Array) -> jax.Array:
        return jax.lax.ragged_dot_general(x_PI, y_PO, sizes_E, dimensions, preferred_element_type=jnp.float32)

    return jax.lax.platform_dependent(x_PI, y_PO, sizes_E, cpu=_sums_in_blocks, default=by_kernel)


def _products_in_blocks(x_PI: jax.Array, w_EIO: jax.Array, sizes_E: jax.Array) -> jax.Array:
    visits = _visits(sizes_E, len(x_PI))
    x = visits.padded(x_PI)

    def visit(n: Any, out: jax.Array) -> jax.Array:
        expert, begin, mine = visits.at(n)
        new = jax.lax.dynamic_slice_in_dim(x, begin, visits.size) @ jax.lax.dynamic_index_in_dim(w_EIO, expert, keepdims=False)
        old = jax.lax.dynamic_slice_in_dim(out, begin, visits.size)
        return jax.lax.dynamic_update_slice_in_dim(out, jnp.where(mine, new, old), begin, 0)

    out = as_varying(jnp.zeros((len(x), w_EIO.shape[2]), x.dtype))
    return jax.lax.fori_loop(0, visits.last_E[-1], visit, out)[: len(x_PI)]


def _sums_in_blocks(x_PI: jax.Array, y_PO: jax.Array, sizes_E: jax.Array) -> jax.Array:
    visits = _visits(sizes_E, len(x_PI))
    x, y = visits.padded(x_PI), visits.padded(y_PO)

    def visit(n: Any, out: jax.Array) -> jax.Array:
        expert, begin, mine = visits.at(n)
        rows = jnp.where(mine, jax.lax.dynamic_slice_in_dim(x, begin, visits.size), 0)
        others = jax.lax.dynamic_slice_in_dim(y, begin, visits.size)
        return out.at[expert].add(jax.lax.dot_general(rows, others, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32))

    out = as_varying(jnp.zeros((len(sizes_E), x.shape[1], y.shape[1]), jnp.float32))
    return jax.lax.fori_loop(0, visits.last_E[-1], visit, out)


class _Visits(NamedTuple):
    """Which experts visit which blocks of rows, one after the other. A block is visited once for each expert that has rows in it."""

    size: int  # rows of a block
    begins_E: jax.Array  # the first row of each expert
    ends_E: jax.Array  # the row after its last
    last_E: jax.Array  # how many visits there are up to its last one

    def padded(self, x: jax.Array) -> jax.Array:
        """Returns rows with zeros after them, so that they are whole blocks."""
        return jnp.pad(x, ((0, -len(x) % self.size), (0, 0)))

    def at(self, n: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the expert of a visit, the first row of the block, and which of its rows are the expert's, (size, 1)."""
        expert = jnp.searchsorted(self.last_E, n, side="right")
        begin, end = self.begins_E[expert], self.ends_E[expert]
        before = jnp.where(expert > 0, self.last_E[expert - 1], 0)
        first = (begin // self.size + n - before) * self.size
        rows = first + jnp.arange(self.size)[:, None]
        return expert, first, (begin <= rows) & (rows < end)


def _visits(sizes_E: jax.Array, n_rows: int) -> _Visits:
    size = min(BLOCK, n_rows)
    ends = jnp.cumsum(sizes_E)
    begins = ends - sizes_E
    blocks = jnp.where(sizes_E > 0, (ends - 1) // size - begins // size + 1, 0)
    return _Visits(size, begins, ends, jnp.cumsum(blocks))
