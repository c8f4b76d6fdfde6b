"""With the same weights the logits equal those of transformers' models: for single, packed and padded documents and a long context."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file
from transformers import PreTrainedModel

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.formats.config_json import architecture_of, config_json
from varietas.model.formats.tensors import constants, tensors

pytestmark = pytest.mark.heavy("torch")

torch.set_num_threads(1)  # more threads are slower for products as small as these

TOLERANCE = 1e-4  # for logits up to 6; float32 sums in another order differ by 1e-5 after two layers, by 2e-5 over a thousand tokens
SMALL = replace(ModelConfig(**load_config("tiny").model), vocab_size=97, d_ff=96, max_seq_len=1024)
YARN = replace(SMALL, d_head=32, rope_scaling="yarn", rope_factor=4.0, rope_original_max_seq_len=256)
EXPERTS: dict[str, Any] = {"feed_forward": "experts", "n_experts": 8, "n_experts_per_token": 3, "d_expert": 24}
LATENT: dict[str, Any] = {
    **EXPERTS, "kv_rank": 40, "d_head": 16, "d_rope": 12, "d_value": 20, "n_shared_experts": 1, "router_bias": True,
    "router_scores": "sigmoid", "router_scale": 2.5, "router_groups": 4, "router_groups_per_token": 2, "tied_embeddings": False,
}  # fmt: skip
CASES = {
    "llama": replace(SMALL, n_kv_heads=2, tied_embeddings=False, rope_theta=10_000.0, norm_eps=1e-5),
    "llama_tied": replace(SMALL, n_kv_heads=4, tied_embeddings=True, rope_theta=500_000.0, norm_eps=1e-6),
    "qwen3": replace(SMALL, n_kv_heads=2, d_head=16, tied_embeddings=False, rope_theta=1_000_000.0, norm_eps=1e-6, qk_norm=True),
    "mistral": replace(SMALL, n_kv_heads=2, tied_embeddings=False, sliding_window=20),
    "qwen2": replace(SMALL, n_kv_heads=2, qkv_bias=True, sliding_window=7),
    "qwen3_bias": replace(SMALL, n_kv_heads=4, qk_norm=True, qkv_bias=True, sliding_window=33),
    "apertus": replace(
        SMALL, n_kv_heads=4, tied_embeddings=False, feed_forward="xielu", qk_norm=True, rope_theta=500.0, rope_scaling="llama3",
        rope_factor=8.0, rope_original_max_seq_len=64,
    ),
    "mixtral": replace(SMALL, n_kv_heads=2, tied_embeddings=False, sliding_window=20, **EXPERTS),
    "qwen3_moe": replace(SMALL, n_kv_heads=2, d_head=16, qk_norm=True, router_normalise=False, n_dense_layers=1, n_layers=3, **EXPERTS),
    "dots1": replace(
        SMALL, n_kv_heads=2, qk_norm=True, qkv_bias=True, n_dense_layers=1, n_layers=3, **EXPERTS, n_shared_experts=2, router_bias=True,
        router_scores="sigmoid", router_scale=2.5, router_groups=4, router_groups_per_token=2,
    ),
    "deepseek_v3": replace(SMALL, **LATENT, q_rank=24, n_dense_layers=1, n_layers=3),
    "deepseek_v3, yarn": replace(
        SMALL, **LATENT, rope_scaling="yarn", rope_factor=16.0, rope_original_max_seq_len=64, rope_attention_factor=1.0,
        rope_score_factor=(0.1 * math.log(16) + 1) ** 2,
    ),
    "linear": replace(SMALL, rope_scaling="linear", rope_factor=4.0),
    "yarn": YARN,
    "yarn_factor": replace(YARN, rope_factor=16.0, rope_original_max_seq_len=64, rope_attention_factor=1.2),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One model twice: Varietas maps (tokens, segments, positions) to logits, transformers maps the tokens of one document to logits."""

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
    """Returns weights large enough that every part affects the logits, and an embedding small enough that norm_eps does."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        noise = rng.standard_normal(leaf.shape).astype(np.float32)
        return 1 + 0.3 * noise if name.startswith("scale") else {"embedding_VD": 0.02, "query_DNH": 0.4}.get(name, 0.15) * noise

    return jax.tree_util.tree_map_with_path(draw, graph_and_shapes(cfg)[1])


def transformer(cfg: ModelConfig, params: Params) -> PreTrainedModel:
    """Returns transformers' model with these parameters. Every weight of it is set."""
    architecture = architecture_of(cfg)
    model_class = getattr(transformers, architecture)
    weights = dict(constants(cfg, architecture))
    for tensor in tensors(cfg):
        ours: Any = params
        for key in tensor.path:
            ours = ours[key]
        weights[tensor.name] = tensor.to_disk(ours[tensor.place])
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config_json(cfg, "float32", {"bos": 1, "eos": 2, "pad": None})))
        save_file(
            {name: np.array(weight) for name, weight in weights.items()}, Path(folder) / "model.safetensors", metadata={"format": "pt"}
        )
        model, info = model_class.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info  # nothing is missing, unexpected or of another shape
    return model.float().eval()


def row_of(lengths: tuple[int, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns segments and positions of a row of documents with these lengths, followed by padding."""
    segments, positions = np.zeros(size, np.int32), np.zeros(size, np.int32)
    begin = 0
    for number, length in enumerate(lengths, 1):
        segments[begin : begin + length] = number
        positions[begin : begin + length] = np.arange(length)
        begin += length
    return segments, positions


def batch_of(rows: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns random tokens, also in the padding, with segments and positions."""
    segments, positions = (np.stack(x) for x in zip(*(row_of(row, size) for row in rows), strict=True))
    return np.random.default_rng(1).integers(0, SMALL.vocab_size, segments.shape, np.int32), segments, positions


@pytest.mark.parametrize("rows", [[(77,), (77,)], [(30, 1, 23, 23), (64, 13)], [(51,), (9, 40)]], ids=["whole", "packed", "padded"])
def test_every_document_has_the_logits_of_transformers(pair: Pair, rows: list[tuple[int, ...]]) -> None:
    tokens, segments, positions = batch_of(rows, 77)
    ours = pair.ours(tokens, segments, positions)
    for row, lengths in enumerate(rows):
        for segment in range(1, len(lengths) + 1):
            here = segments[row] == segment
            np.testing.assert_allclose(ours[row, here], pair.theirs(tokens[row, here]), rtol=0, atol=TOLERANCE)


def test_tokens_in_the_padding_do_not_matter(pair: Pair) -> None:
    tokens, segments, positions = batch_of([(51,), (9, 40)], 77)
    other = np.where(segments > 0, tokens, (tokens + 1) % SMALL.vocab_size)
    before, after = (pair.ours(x, segments, positions) for x in (tokens, other))
    assert np.array_equal(before[segments > 0], after[segments > 0])
    assert not np.array_equal(before[segments == 0], after[segments == 0])


@pytest.mark.parametrize("case", ["llama", "mistral", "apertus", "yarn"])
def test_a_context_of_a_thousand_tokens_has_the_logits_of_transformers(case: str) -> None:
    pair = make_pair(CASES[case])
    tokens, segments, positions = batch_of([(1000,)], 1000)
    np.testing.assert_allclose(pair.ours(tokens, segments, positions)[0], pair.theirs(tokens[0]), rtol=0, atol=TOLERANCE)
