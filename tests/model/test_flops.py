"""The formulas of size and cost agree with real parameter trees, published models and XLA's count of a compiled forward pass."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from varietas.launch.config import config_names, load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import bind, graph_and_shapes
from varietas.model.flops import count_params, forward_flops_per_token, layer_kinds, newton_schulz_flops, train_flops_per_token
from varietas.model.moe import grouped
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import make_optimizer

TINY = replace(ModelConfig(**load_config("tiny").model), vocab_size=1024)
LATENT = replace(TINY, kv_rank=24, q_rank=16, d_head=16, d_rope=8, d_value=12)
EXPERTS = replace(
    TINY, feed_forward="experts", n_layers=3, n_dense_layers=1, n_experts=8, n_experts_per_token=3, d_expert=24, n_shared_experts=2,
    router_bias=True,
)  # fmt: skip


@pytest.mark.parametrize(
    "cfg",
    [
        *(replace(ModelConfig(**load_config(name).model), vocab_size=512) for name in config_names()),
        replace(TINY, tied_embeddings=False, n_kv_heads=2),
        replace(TINY, qk_norm=True, d_head=24, n_layers=3),
        replace(TINY, feed_forward="xielu", qkv_bias=True),
        EXPERTS,
        replace(EXPERTS, n_shared_experts=0, n_dense_layers=0, router_bias=False),
        LATENT,
        replace(LATENT, q_rank=0),
    ],
    ids=[
        *config_names(),
        "untied, grouped",
        "qk_norm, wide heads",
        "xielu, biases",
        "experts",
        "experts alone",
        "latent",
        "latent, wide queries",
    ],
)
def test_parameter_count_equals_that_of_the_parameter_tree(cfg: ModelConfig) -> None:
    assert count_params(cfg) == sum(math.prod(x.shape) for x in jax.tree.leaves(graph_and_shapes(cfg)[1]))


def test_experts_cost_as_much_as_a_dense_part_of_the_width_that_a_token_meets() -> None:
    """Besides its router, D × E. Parameters that are not met are those of five of eight experts."""
    dense, sparse = replace(TINY, n_layers=2, d_ff=(3 + 2) * 24), replace(EXPERTS, n_layers=2, n_dense_layers=0)
    routers = 2 * TINY.d_model * 8
    assert forward_flops_per_token(sparse, 128) == forward_flops_per_token(dense, 128) + 2 * routers
    assert count_params(sparse, active=True) == count_params(dense) + routers + 2 * 8  # biases of the routers
    assert count_params(sparse) - count_params(sparse, active=True) == 2 * 5 * 3 * TINY.d_model * 24
    mixed = replace(EXPERTS, d_ff=(3 + 2) * 24)  # the first layer is dense
    assert forward_flops_per_token(mixed, 128) == forward_flops_per_token(replace(dense, n_layers=3), 128) + 2 * routers


PUBLISHED = {  # config.json and model card of https://huggingface.co/utter-project/EuroLLM-1.7B and EuroLLM-9B
    "eurollm_1p7b": ({"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16}, 1.657e9),
    "eurollm_9b": ({"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 42, "num_attention_heads": 32}, 9.154e9),
}


@pytest.mark.heavy("torch")
@pytest.mark.parametrize("name", PUBLISHED)
def test_eurollm_has_the_published_size(name: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, figure = PUBLISHED[name]
    with torch.device("meta"):
        theirs = LlamaForCausalLM(LlamaConfig(vocab_size=128_000, num_key_value_heads=8, **shape))
    count = count_params(replace(ModelConfig(**load_config(name).model), vocab_size=128_000))
    assert count == theirs.num_parameters()
    assert count == pytest.approx(figure, rel=5e-4)  # three digits; the model card of the 9B says 2 M more than its shapes sum to


@pytest.mark.parametrize(
    "changes",
    [
        {"tied_embeddings": True},
        {"tied_embeddings": False, "n_kv_heads": 2, "d_head": 48},
        {"kv_rank": 64, "q_rank": 96, "d_head": 48, "d_rope": 32, "d_value": 80},
        {"feed_forward": "experts", "n_experts": 8, "n_experts_per_token": 3, "d_expert": 256, "n_shared_experts": 2},
    ],
    ids=["tied", "grouped", "latent", "experts"],
)
def test_forward_flops_agree_with_the_count_of_xla(changes: dict[str, int | bool | str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has one layer, since XLA counts a loop once, and is wide, so that products outweigh norms, softmax and rotations.

    For the same reason the rows of all experts are one block, so that XLA counts one product of each row with one matrix.
    """
    monkeypatch.setattr(grouped, "BLOCK", 10**6)
    cfg = replace(TINY, n_layers=1, vocab_size=2000, d_model=512, d_ff=1536, **changes)
    B, L = 2, 64  # one block of queries: XLA counts all L * L scores of a row, the formula the L * (L + 1) / 2 unmasked ones
    graph, params = graph_and_shapes(cfg)
    rows = [jax.ShapeDtypeStruct((B, L), jnp.int32)] * 3

    def logits(params: dict, *rows: jax.Array) -> jax.Array:
        decoder = bind(graph, params)
        return decoder(*rows) @ decoder.head_DV

    counted = jax.jit(logits).lower(params, *rows).compile().cost_analysis()["flops"]
    widths = cfg.head_dim + cfg.d_rope + cfg.d_value if cfg.kv_rank else 2 * cfg.head_dim
    unseen = 2 * cfg.n_heads * widths * (L - (L + 1) / 2)
    # The difference is norms, rotations and softmax; observed: 2.4e-3.
    assert counted == pytest.approx(B * L * (forward_flops_per_token(cfg, L) + unseen), rel=5e-3)


def test_only_the_cost_of_attention_grows_with_the_row() -> None:
    short, long = (forward_flops_per_token(TINY, seq_len) for seq_len in (128, 1128))
    assert long - short == 2 * 2 * TINY.n_layers * TINY.n_heads * TINY.head_dim * 1000 / 2  # scores and weighted values, over half the row


def test_training_costs_three_forward_passes() -> None:
    assert train_flops_per_token(TINY, 128) == 3 * forward_flops_per_token(TINY, 128)


@pytest.mark.parametrize("changes", [{"n_kv_heads": 2, "d_head": 48}, {"feed_forward": "xielu", "d_ff": 300}], ids=["grouped", "xielu"])
def test_the_matrices_of_a_layer_and_the_cost_to_make_them_orthogonal(changes: dict[str, int | str]) -> None:
    """Muon treats the heads of a layer as one matrix."""
    cfg = replace(TINY, d_model=512, **changes)
    stacks = graph_and_shapes(cfg)[1]["layers"]
    weights = {name: x for part in ("attention", "feed_forward") for name, x in stacks[part].items() if not name.startswith("alpha")}
    [(n_layers, matrices)] = layer_kinds(cfg)
    assert n_layers == cfg.n_layers
    assert sorted(matrix.elements for matrix in matrices) == sorted(math.prod(x.shape[1:]) for x in weights.values())
    optimizer = make_optimizer(replace(OptimConfig(**load_config("tiny").optim), name="muon"), 1)
    trees = {"layers": weights}
    counted = jax.jit(optimizer.update).lower(trees, jax.eval_shape(optimizer.init, trees), trees).compile().cost_analysis()["flops"]
    # The difference is everything but products; observed: 0.5 %
    assert counted == pytest.approx(n_layers * sum(map(newton_schulz_flops, matrices)), rel=0.01)
