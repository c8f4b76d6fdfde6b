"""Floating-point operations of traced programs, against what the shapes say."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.flops import train_flops_per_token
from varietas.model.sharding import make_mesh
from varietas.train.accounting.compute import counted_flops
from varietas.train.experiment import OptimConfig
from varietas.train.step import abstract_state, make_step, trace_step

X, W = jnp.ones((6, 3)), jnp.ones((3, 5))
PRODUCT = 2 * 6 * 3 * 5


def test_products_loops_branches_and_gradients() -> None:
    def count(fn: object, *args: object) -> float:
        return counted_flops(jax.make_jaxpr(fn)(*args))  # type: ignore[arg-type]

    assert count(lambda x, w: x @ w + 1, X, W) == PRODUCT
    assert count(lambda x, w: jax.lax.scan(lambda c, _: (c, x @ w), 0.0, None, 7), X, W) == 7 * PRODUCT
    assert count(lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: (x @ w).sum(), lambda: 0.0), X, W) == PRODUCT
    assert count(jax.grad(lambda w, x: ((x @ w) ** 2).sum()), W, X) == 2 * PRODUCT
    again = jax.checkpoint(lambda w, x: jnp.sin(x @ w).sum())
    assert count(jax.grad(again), W, X) == 3 * PRODUCT  # the product is computed again


def test_each_row_of_a_ragged_product_meets_one_matrix() -> None:
    matrices, sizes = jnp.ones((2, 3, 5)), jnp.array([2, 4])
    assert counted_flops(jax.make_jaxpr(jax.lax.ragged_dot)(X, matrices, sizes)) == PRODUCT
    gradient = jax.grad(lambda x, w: jax.lax.ragged_dot(x, w, sizes).sum(), (0, 1))
    assert counted_flops(jax.make_jaxpr(gradient)(X, matrices)) == pytest.approx(2 * PRODUCT, abs=PRODUCT)


@pytest.mark.parametrize(("remat", "least", "most"), [("none", 1.0, 1.15), ("full", 1.15, 1.45)])
def test_a_step_does_what_the_formula_says_and_what_it_computes_again(remat: str, least: float, most: float) -> None:
    """The formula leaves out the masked half of attention, of which blocks compute a part."""
    cfg = replace(ModelConfig(**load_config("tiny").model), vocab_size=256, max_seq_len=64, loss_chunk=64, remat=remat)
    optim = OptimConfig(**load_config("tiny").optim)
    found = []
    for sizes in ((1, 1, 1), (2, 2, 1)):
        mesh = make_mesh(*sizes, devices=jax.devices()[: math.prod(sizes)])
        traced = trace_step(make_step(cfg, optim, 10, 3, 1), abstract_state(cfg, optim, mesh), 8, 64, mesh)
        found.append(counted_flops(traced.jaxpr))
    formula = train_flops_per_token(cfg, 64) * 8 * 64
    assert least * formula < found[0] < most * formula
    assert found[1] == found[0]  # on all devices together
