"""Products of sorted rows with the matrices of their experts, beside a loop over experts, and beside jax's own kernel."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.model.moe.grouped import BLOCK, grouped_product

I, O = 6, 5  # noqa: E741  # letters of the dimensions
SIZES = {
    "several blocks": [BLOCK + 3, 0, 7, 2 * BLOCK],
    "whole blocks": [BLOCK, BLOCK],
    "few rows": [1, 2, 0, 1],
    "rows of no expert": [3, 0, BLOCK],
    "no rows at all": [0, 0, 0],
}
MORE = {"rows of no expert": 40, "no rows at all": 9}  # rows after those of the last expert


def drawn(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows, matrices and sizes."""
    rng, sizes = np.random.default_rng(0), np.array(SIZES[case], np.int32)
    return (
        rng.standard_normal((sizes.sum() + MORE.get(case, 0), I)).astype(np.float32),
        rng.standard_normal((len(sizes), I, O)).astype(np.float32),
        sizes,
    )


def plain(x: np.ndarray, w: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    out = np.zeros((len(x), O))
    for row, e in enumerate(np.repeat(np.arange(len(sizes)), sizes)):
        out[row] = x[row].astype(np.float64) @ w[e]
    return out


@pytest.mark.parametrize("case", SIZES)
def test_each_row_meets_the_matrix_of_its_expert(case: str) -> None:
    x, w, sizes = drawn(case)
    found = jax.jit(grouped_product, static_argnums=0)("EDX", x, w, sizes)
    np.testing.assert_allclose(found, plain(x, w, sizes), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", SIZES)
def test_gradients_are_those_of_the_kernel_of_jax(case: str) -> None:
    x, w, sizes = drawn(case)

    def gradients(product: Any) -> Any:
        return jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.sin(product(x, w))), (0, 1)))(x, w)

    found = gradients(lambda x, w: grouped_product("EDX", x, w, sizes))
    for ours, theirs in zip(found, gradients(lambda x, w: jax.lax.ragged_dot(x, w, sizes)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


def test_the_gradient_of_float32_weights_is_summed_in_float32() -> None:
    """In bfloat16 a sum of a thousand ones would end at 256."""
    x, sizes = jnp.ones((1000, 1), jnp.bfloat16), jnp.array([1000])
    gradient = jax.grad(lambda w: jnp.sum(grouped_product("EDX", x, w, sizes).astype(jnp.float32)))(jnp.ones((1, 1, 1)))
    assert gradient.dtype == jnp.float32 and gradient[0, 0, 0] == 1000
