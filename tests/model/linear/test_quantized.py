"""Quantized matrices: how near their weights are, and that a model computes with exactly these, on any mesh."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes, init_params
from varietas.model.linear.lora import linear_layers, whole
from varietas.model.linear.quantize import GROUP, quantize
from varietas.model.linear.quantized import Quantized, QuantizedTable, is_quantized
from varietas.model.sharding import make_mesh, param_shardings

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
TIED = replace(CFG, tied_embeddings=True, remat="full", d_model=128, d_ff=256)  # wide enough for products in blocks
EXPERTS = replace(CFG, feed_forward="experts", n_experts=4, d_expert=32, n_shared_experts=1, n_dense_layers=1)
LATENT = replace(CFG, kv_rank=16, q_rank=16, d_rope=8, d_value=8, n_kv_heads=CFG.n_heads)
ROW = (jnp.arange(32).reshape(4, 8), jnp.ones((4, 8), jnp.int32), jnp.tile(jnp.arange(8), (4, 1)))
ONE = make_mesh(1, 1, 1, jax.devices()[:1])
initial = jax.jit(partial(init_params, seed=0), static_argnums=0)


def expanded(small: Params, params: Params) -> Params:
    """The float32 parameters that a quantized model stands for."""

    def one(x: Any, like: jax.Array) -> jax.Array:
        if isinstance(x, QuantizedTable):
            return x.T.weights(jnp.float32).T
        return x.weights(jnp.float32).reshape(like.shape) if isinstance(x, Quantized) else x

    return jax.tree.map(one, small, params, is_leaf=is_quantized)


@partial(jax.jit, static_argnums=1)
def logits(params: Params, cfg: ModelConfig) -> jax.Array:
    decoder = bind(graph_and_shapes(cfg)[0], params)
    return decoder(*ROW) @ whole(decoder.head_DV)


@pytest.mark.parametrize("form", ["int8", "int4"])
@pytest.mark.parametrize("cfg", [CFG, TIED, EXPERTS, LATENT], ids=["dense", "tied", "experts", "latent"])
def test_a_model_computes_with_the_weights_that_are_kept(cfg: ModelConfig, form: str) -> None:
    params = initial(cfg)
    small = quantize(params, form, ONE)
    n_matrices = len(linear_layers(params)) + 2 - cfg.tied_embeddings
    assert n_matrices > 7 and sum(map(is_quantized, jax.tree.leaves(small, is_leaf=is_quantized))) == n_matrices
    found = logits(small, cfg)
    np.testing.assert_allclose(found, logits(expanded(small, params), cfg), rtol=0, atol=2e-5)
    assert np.abs(found - logits(params, cfg)).max() > 1e-4


def test_the_error_of_a_weight_is_half_a_step() -> None:
    params = initial(CFG)
    params["layers"]["attention"]["out_NHD"] = params["layers"]["attention"]["out_NHD"].at[1, :, :, 3].set(0)
    small = expanded(quantize(params, "int8", ONE), params)
    for keys, axes in ((("attention", "out_NHD"), (1, 2)), (("feed_forward", "up_DF"), (1,)), (("attention", "query_DNH"), (1,))):
        x, y = (tree["layers"][keys[0]][keys[1]] for tree in (params, small))
        step = jnp.abs(x).max(axes, keepdims=True) / 127
        assert (jnp.abs(x - y) <= step * 0.5001).all() and float(jnp.abs(x - y).max()) > 0
    x, y = params["embedding_VD"], small["embedding_VD"]
    assert (jnp.abs(x - y) <= jnp.abs(x).max(1, keepdims=True) / 127 * 0.5001).all()


def test_four_bits_are_nearer_than_rounding_between_the_extremes_of_a_group() -> None:
    params = initial(CFG)
    small = quantize(params, "int4", ONE)
    up = small["layers"]["feed_forward"]["up_DF"]
    assert up.numbers.dtype == jnp.uint8 and up.numbers.size * 2 == params["layers"]["feed_forward"]["up_DF"].size
    x = np.asarray(params["layers"]["feed_forward"]["up_DF"])
    error = ((x - np.asarray(up.weights(jnp.float32))) ** 2).sum()
    parts = x.reshape(len(x), -1, GROUP, x.shape[-1])
    low = parts.min(2, keepdims=True)
    step = (parts.max(2, keepdims=True) - low) / 15
    assert error < 0.9 * ((np.rint((parts - low) / step) * step + low - parts) ** 2).sum()


def test_inputs_that_are_large_count_more() -> None:
    """The error of outputs, over inputs some of which are much larger than others."""
    rng, params = np.random.default_rng(0), initial(CFG)
    x = np.asarray(params["layers"]["feed_forward"]["up_DF"])
    inputs = rng.standard_normal((300, x.shape[1])) * np.exp(1.5 * rng.standard_normal(x.shape[1]))
    keys = ("layers", "feed_forward", "up_DF")
    by = {keys: np.tile((inputs**2).mean(0).astype(np.float32), (len(x), 1))}
    plain, calibrated = (
        np.asarray(quantize(params, "int4", ONE, known)["layers"]["feed_forward"]["up_DF"].weights(jnp.float32)) for known in ({}, by)
    )
    errors = [((inputs @ (found - x)) ** 2).sum() for found in (plain, calibrated)]
    assert errors[1] < 0.75 * errors[0]


def test_inputs_that_do_not_divide_into_groups_stay_at_8_bits() -> None:
    odd = replace(CFG, d_ff=72)
    small = quantize(initial(odd), "int4", ONE)["layers"]["feed_forward"]
    assert (small["down_FD"].low is None, small["up_DF"].low is None) == (True, False)


def nearly_equal(ours: jax.Array, theirs: jax.Array) -> None:
    """Sums in another order may let a weight that is half-way between two numbers become the other one."""
    assert np.mean(np.asarray(ours) != np.asarray(theirs)) < 1e-2


@pytest.mark.parametrize(("cfg", "form"), [(CFG, "int4"), (EXPERTS, "int8")], ids=["dense", "experts"])
def test_a_mesh_changes_nothing(cfg: ModelConfig, form: str) -> None:
    params, mesh = initial(cfg), make_mesh(2, 2, 2)
    sharded = jax.device_put(params, param_shardings(params, mesh))
    small, alone = quantize(sharded, form, mesh), quantize(params, form, ONE)
    jax.tree.map(nearly_equal, small, alone)
    up = small["layers"]["attention"]["query_DNH"].numbers
    assert up.addressable_shards[0].data.size * 4 == up.size
    with jax.set_mesh(mesh):
        found = logits(small, cfg)
    np.testing.assert_allclose(found, logits(alone, cfg), rtol=0, atol=2e-5 if form == "int8" else 2e-2)
