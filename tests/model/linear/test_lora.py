"""Adapters: merged equals applied, nothing else changes, and only they are trained."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from varietas.launch.config import load_config
from varietas.model.config import LINEAR_LAYERS, ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes, init_params
from varietas.model.linear.lora import ADAPTERS, applied, halves, linear_layers, merged, names, without_adapters
from varietas.model.sharding import make_mesh, param_shardings

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, lora_rank=4, lora_alpha=6.0)
EXPERTS = replace(CFG, feed_forward="experts", n_experts=4, d_expert=32, n_shared_experts=1, n_dense_layers=1)
LATENT = replace(CFG, kv_rank=16, q_rank=16, d_rope=8, d_value=8, n_kv_heads=CFG.n_heads)
ROW = (jnp.arange(24).reshape(2, 12), jnp.ones((2, 12), jnp.int32), jnp.tile(jnp.arange(12), (2, 1)))

initial = jax.jit(partial(init_params, seed=0), static_argnums=0)


def some(cfg: ModelConfig) -> Params:
    """Parameters whose adapters do something."""
    params, rng = initial(cfg), np.random.default_rng(0)
    adapters = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.1, x.shape), jnp.float32), params[ADAPTERS])
    return {**params, ADAPTERS: adapters}


@pytest.mark.parametrize("cfg", [CFG, replace(CFG, remat="full"), EXPERTS, LATENT], ids=["unrolled", "scanned", "experts", "latent"])
def test_merged_equals_applied(cfg: ModelConfig) -> None:
    params, (graph, _) = some(cfg), graph_and_shapes(cfg)

    @jax.jit
    def hidden(params: Params) -> jax.Array:
        return bind(graph, params)(*ROW)

    found = hidden(applied(params, cfg))
    np.testing.assert_allclose(found, hidden(merged(params, cfg)), rtol=0, atol=2e-5)
    without = hidden(without_adapters(params))
    assert float(jnp.abs(found - without).max()) > 0.3
    np.testing.assert_allclose(hidden(applied(initial(cfg), cfg)), without, rtol=0, atol=2e-6)  # a model begins as it was


@pytest.mark.parametrize("cfg", [CFG, replace(CFG, remat="full"), EXPERTS], ids=["unrolled", "scanned", "experts"])
def test_gradients_are_those_of_the_merged_matrices(cfg: ModelConfig) -> None:
    params, (graph, _) = some(cfg), graph_and_shapes(cfg)
    weights = jax.random.normal(jax.random.key(1), (2, 12, cfg.d_model))

    def of(join: Callable[[Params, ModelConfig], Params]) -> Any:
        def total(adapters: Any) -> jax.Array:
            return (bind(graph, join({**params, ADAPTERS: adapters}, cfg))(*ROW) * weights).sum()

        return jax.jit(jax.grad(total))(params[ADAPTERS])

    ours, theirs = of(applied), of(merged)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * scale), ours, theirs)


def test_a_matrix_gets_the_product_of_its_adapter() -> None:
    params = some(CFG)
    out, adapter = params["layers"]["attention"]["out_NHD"], params[ADAPTERS]["layers"]["attention"]["out_NHD"]
    down, up = (np.asarray(x, np.float64) for x in (adapter["down_NHU"], adapter["up_UD"]))
    expected = np.asarray(out, np.float64)
    for layer in range(len(expected)):
        expected[layer] += 1.5 * np.tensordot(down[layer], up[layer], 1)
    np.testing.assert_allclose(merged(params, CFG)["layers"]["attention"]["out_NHD"], expected, rtol=0, atol=1e-6)
    assert merged(params, CFG)["embedding_VD"] is params["embedding_VD"]


def test_letters_of_both_halves() -> None:
    expected = {"DNH": ("DU", "UNH"), "NHD": ("NHU", "UD"), "FD": ("FU", "UD"), "EDX": ("EDU", "EUX"), "ZNH": ("ZU", "UNH")}
    assert {dims: halves(dims) for dims in expected} == expected


@pytest.mark.parametrize(
    ("cfg", "lora_on", "expected"),
    [
        (CFG, "query, value", {"query_DNH", "value_DKH"}),
        (CFG, "feed_forward", {"gate_DF", "up_DF", "down_FD"}),
        (EXPERTS, "shared,out", {"out_NHD", "gate_DF", "up_DF", "down_FD"}),
        (LATENT, "attention", {"query_down_DQ", "query_up_ZNH", "latent_down_DQ", "latent_up_ZNH", "out_NHD"}),
    ],
)
def test_which_layers_have_adapters(cfg: ModelConfig, lora_on: str, expected: set[str]) -> None:
    _, shapes = graph_and_shapes(replace(cfg, lora_on=lora_on))
    leaves = jax.tree_util.tree_leaves_with_path(shapes[ADAPTERS])
    assert {path[-2].key for path, _ in leaves} == expected  # type: ignore[attr-defined]


def test_every_matrix_of_a_layer_has_a_name_but_routers() -> None:
    shapes = [graph_and_shapes(replace(cfg, lora_rank=0))[1] for cfg in (CFG, EXPERTS, LATENT)]
    found = [{name for keys in linear_layers(params) for name in names(keys)} for params in shapes]
    assert found[0] | found[1] == {"attention", "feed_forward", "shared", "query", "key", "value", "out", "gate", "up", "down"}
    assert set().union(*found) == set(LINEAR_LAYERS)


def test_a_word_that_names_nothing() -> None:
    with pytest.raises(ValueError, match=r"model.lora_on: no linear layer is called 'querry'; there are attention, down, "):
        graph_and_shapes(replace(CFG, lora_on="querry, value"))
    with pytest.raises(ValueError, match=r"model.lora_on='' names no linear layer; there are attention, "):
        graph_and_shapes(replace(CFG, lora_on=""))


def test_adapters_are_sharded_as_their_matrices() -> None:
    _, shapes = graph_and_shapes(CFG)
    shardings: Any = param_shardings(shapes, make_mesh(2, 2, 2))[ADAPTERS]["layers"]
    assert shardings["attention"]["query_DNH"]["down_DU"].spec == P(None, "fsdp", None)
    assert shardings["attention"]["query_DNH"]["up_UNH"].spec == P(None, None, "tensor", None)
    assert shardings["feed_forward"]["down_FD"]["down_FU"].spec == P(None, "tensor", None)
