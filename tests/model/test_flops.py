"""The formulas of size and cost against real parameter trees, published models, and XLA's own count of a compiled forward pass."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from varietas.launch.settings import config_names, load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import bind, graph_and_shapes
from varietas.model.flops import count_params, forward_flops_per_token, train_flops_per_token

TINY = ModelConfig(**load_config("tiny").model)


@pytest.mark.parametrize(
    "cfg",
    [
        *(ModelConfig(**load_config(name).model) for name in config_names()),
        replace(TINY, tied_embeddings=False, n_kv_heads=2),
        replace(TINY, qk_norm=True, d_head=24, n_layers=3),
    ],
    ids=[*config_names(), "untied, grouped", "qk_norm, wide heads"],
)
def test_parameters_are_counted_as_they_are(cfg: ModelConfig) -> None:
    assert count_params(cfg) == sum(math.prod(x.shape) for x in jax.tree.leaves(graph_and_shapes(cfg)[1]))


PUBLISHED = {  # config.json and model card of https://huggingface.co/utter-project/EuroLLM-1.7B and EuroLLM-9B
    "eurollm_1p7b": ({"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16}, 1.657e9),
    "eurollm_9b": ({"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 42, "num_attention_heads": 32}, 9.154e9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_eurollm_has_the_published_size(name: str) -> None:
    shape, figure = PUBLISHED[name]
    with torch.device("meta"):
        theirs = LlamaForCausalLM(LlamaConfig(vocab_size=128_000, num_key_value_heads=8, **shape))
    count = count_params(ModelConfig(**load_config(name).model))
    assert count == theirs.num_parameters()
    assert count == pytest.approx(figure, rel=5e-4)  # three digits; the card of the 9B is 2 M above the sum of its own shapes


@pytest.mark.parametrize(
    "changes", [{"tied_embeddings": True}, {"tied_embeddings": False, "n_kv_heads": 2, "d_head": 48}], ids=["tied", "grouped"]
)
def test_forward_flops_are_those_that_xla_counts(changes: dict[str, int | bool]) -> None:
    """One layer, so that no loop hides a count, and wide, so that products outweigh norms, softmax and rotations."""
    cfg = replace(TINY, n_layers=1, vocab_size=2000, d_model=512, d_ff=1536, **changes)
    B, L = 2, 64  # one block of queries: XLA multiplies all L * L of a row, the formula counts the L * (L + 1) / 2 that are seen
    graph, params = graph_and_shapes(cfg)
    rows = [jax.ShapeDtypeStruct((B, L), jnp.int32)] * 3

    def logits(params: dict, *rows: jax.Array) -> jax.Array:
        decoder = bind(graph, params)
        return decoder(*rows) @ decoder.head_DV

    counted = jax.jit(logits).lower(params, *rows).compile().cost_analysis()["flops"]
    unseen = 4 * cfg.n_heads * cfg.head_dim * (L - (L + 1) / 2)
    assert counted == pytest.approx(
        B * L * (forward_flops_per_token(cfg, L) + unseen), rel=5e-3
    )  # the rest is norms, rotations and softmax: 2.4e-3 was seen


def test_the_cost_of_attention_grows_with_the_row_and_of_nothing_else() -> None:
    short, long = (forward_flops_per_token(TINY, seq_len) for seq_len in (128, 1128))
    assert long - short == 2 * 2 * TINY.n_layers * TINY.n_heads * TINY.head_dim * 1000 / 2  # scores and sums over values, half the row


def test_training_costs_three_forward_passes() -> None:
    assert train_flops_per_token(TINY, 128) == 3 * forward_flops_per_token(TINY, 128)
