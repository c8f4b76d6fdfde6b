"""The same logits as transformers' models with the same weights: alone, packed, padded, and over a long context."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pytest
import torch
from llama import llama_shape
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from varietas.launch.settings import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes

torch.set_num_threads(1)  # for products as small as these, threads wait for one another

TOLERANCE = 1e-4  # of logits up to 6: float32 sums in other orders through two layers leave 1e-5, over a thousand tokens 2e-5
SMALL = replace(ModelConfig(**load_config("tiny").model), vocab_size=97, d_ff=96, max_seq_len=1024)
CASES = {
    "llama": replace(SMALL, n_kv_heads=2, tied_embeddings=False, rope_theta=10_000.0, norm_eps=1e-5),
    "llama_tied": replace(SMALL, n_kv_heads=4, tied_embeddings=True, rope_theta=500_000.0, norm_eps=1e-6),
    "qwen3": replace(SMALL, n_kv_heads=2, d_head=16, tied_embeddings=False, rope_theta=1_000_000.0, norm_eps=1e-6, qk_norm=True),
}


@dataclass(frozen=True)
class Pair:
    """Logits by Varietas, of (tokens, segments, positions), and by transformers, of one document."""

    ours: Callable[..., np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(CASES[request.param])


def make_pair(cfg: ModelConfig) -> Pair:
    params = random_params(cfg)
    graph, _ = graph_and_shapes(cfg)
    model = transformer(cfg, params)

    @jax.jit
    def run(params: Params, *batch: jax.Array) -> jax.Array:
        decoder = bind(graph, params)
        return decoder(*batch) @ decoder.head_DV

    def theirs(document: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(document)[None].long()).logits[0].numpy()

    return Pair(lambda *batch: np.asarray(run(params, *batch)), theirs)


def random_params(cfg: ModelConfig) -> Params:
    """Weights so large that each part changes the logits, and an embedding so small that norm_eps does."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        noise = rng.standard_normal(leaf.shape).astype(np.float32)
        return 1 + 0.3 * noise if name.startswith("scale") else {"embedding_VD": 0.02, "query_DNH": 0.4}.get(name, 0.15) * noise

    return jax.tree_util.tree_map_with_path(draw, graph_and_shapes(cfg)[1])


def transformer(cfg: ModelConfig, params: Params) -> PreTrainedModel:
    """transformers' model with these parameters; every weight of it is set."""
    config_class, model_class = (Qwen3Config, Qwen3ForCausalLM) if cfg.qk_norm else (LlamaConfig, LlamaForCausalLM)
    model = model_class(config_class(**llama_shape(cfg)))
    embedding, D = params["embedding_VD"], cfg.d_model
    weights = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": params["final_norm"]["scale_D"],
        "lm_head.weight": embedding if cfg.tied_embeddings else params["unembedding_DV"].T,
    }
    for i in range(cfg.n_layers):
        layer = jax.tree.map(lambda stacked, i=i: stacked[i], params["layers"])
        attention, feed_forward = layer["attention"], layer["feed_forward"]
        names = {
            "input_layernorm": layer["attention_norm"]["scale_D"],
            "post_attention_layernorm": layer["feed_forward_norm"]["scale_D"],
            "self_attn.q_proj": attention["query_DNH"].reshape(D, -1).T,
            "self_attn.k_proj": attention["key_DKH"].reshape(D, -1).T,
            "self_attn.v_proj": attention["value_DKH"].reshape(D, -1).T,
            "self_attn.o_proj": attention["out_NHD"].reshape(-1, D).T,
            "mlp.gate_proj": feed_forward["gate_DF"].T,
            "mlp.up_proj": feed_forward["up_DF"].T,
            "mlp.down_proj": feed_forward["down_FD"].T,
        }
        if cfg.qk_norm:
            names |= {f"self_attn.{x[0]}_norm": attention[f"{x}_norm"]["scale_H"] for x in ("query", "key")}
        weights |= {f"model.layers.{i}.{name}.weight": weight for name, weight in names.items()}
    model.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(weight)) for name, weight in weights.items()}, strict=True)
    return model.eval()


def row_of(lengths: tuple[int, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Segments and positions of documents of these lengths in a row, padding behind them."""
    segments, positions = np.zeros(size, np.int32), np.zeros(size, np.int32)
    begin = 0
    for number, length in enumerate(lengths, 1):
        segments[begin : begin + length] = number
        positions[begin : begin + length] = np.arange(length)
        begin += length
    return segments, positions


def batch_of(rows: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random tokens, also under padding, with segments and positions."""
    segments, positions = (np.stack(x) for x in zip(*(row_of(row, size) for row in rows), strict=True))
    return np.random.default_rng(1).integers(0, SMALL.vocab_size, segments.shape, np.int32), segments, positions


@pytest.mark.parametrize("rows", [[(77,), (77,)], [(30, 1, 23, 23), (64, 13)], [(51,), (9, 40)]], ids=["whole", "packed", "padded"])
def test_each_document_has_the_logits_of_transformers(pair: Pair, rows: list[tuple[int, ...]]) -> None:
    tokens, segments, positions = batch_of(rows, 77)
    ours = pair.ours(tokens, segments, positions)
    for row, lengths in enumerate(rows):
        for segment in range(1, len(lengths) + 1):
            here = segments[row] == segment
            np.testing.assert_allclose(ours[row, here], pair.theirs(tokens[row, here]), rtol=0, atol=TOLERANCE)


def test_what_stands_under_padding_does_not_matter(pair: Pair) -> None:
    tokens, segments, positions = batch_of([(51,), (9, 40)], 77)
    other = np.where(segments > 0, tokens, (tokens + 1) % SMALL.vocab_size)
    before, after = (pair.ours(x, segments, positions) for x in (tokens, other))
    assert np.array_equal(before[segments > 0], after[segments > 0])
    assert not np.array_equal(before[segments == 0], after[segments == 0])


def test_a_context_of_a_thousand_tokens() -> None:
    pair = make_pair(CASES["llama"])
    tokens, segments, positions = batch_of([(1000,)], 1000)
    np.testing.assert_allclose(pair.ours(tokens, segments, positions)[0], pair.theirs(tokens[0]), rtol=0, atol=TOLERANCE)
