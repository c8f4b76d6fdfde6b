"""A model of transformers becomes a run with the same logits and greedy text, and goes out again with the same bits."""

import json
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

import varietas
from varietas.data.tokenizer.model import load
from varietas.model.decoder import bind, graph_and_shapes
from varietas.train.run_folder.folder import saved_steps

pytestmark = pytest.mark.heavy("torch")

SMALL = {
    "vocab_size": 1100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MODELS: dict[str, tuple[str, dict[str, Any], torch.dtype]] = {
    "llama": ("Llama", {"rope_parameters": {**LLAMA3, "rope_theta": 500.0}, "attention_bias": False}, torch.float32),
    "mistral": ("Mistral", {"sliding_window": 30, "head_dim": 24}, torch.float32),
    "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}, torch.float32),
    "apertus": ("Apertus", {"rope_parameters": {"rope_type": "default", "rope_theta": 12e6}}, torch.float32),
    "half": ("Llama", {}, torch.bfloat16),
}


def released(folder: Path, tokenizer: Path, name: str) -> Any:
    """Writes a model of transformers with random weights, in several files, beside a tokenizer."""
    kind, fields, dtype = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SMALL | fields)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.ndim == 2 else parameter.add_(0.1 * torch.randn_like(parameter))
    model.to(dtype).save_pretrained(folder, max_shard_size="100KB")
    (folder / "tokenizer.model").write_bytes(tokenizer.read_bytes())
    return model


@pytest.fixture(scope="module", params=MODELS)
def imported(request: pytest.FixtureRequest, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    model = released(folder / "release", corpus_folder / "tokenizer.model", request.param)
    varietas.import_model(folder / "release", folder / "run")
    return model, folder / "release", folder / "run"


def test_logits_and_greedy_text_are_those_of_transformers(imported: tuple[Any, Path, Path]) -> None:
    model, _, folder = imported
    run = varietas.Run.open(folder)
    assert saved_steps(folder) == [0]
    network, _ = run._network()
    graph, _ = graph_and_shapes(network.config)
    ids = np.random.default_rng(0).integers(4, 1024, (1, 200)).astype(np.int32)
    decoder = bind(graph, jax.tree.map(np.asarray, network.params))
    ours = np.asarray(decoder(ids, np.ones_like(ids), np.arange(200, dtype=np.int32)[None]) @ decoder.head_DV, np.float32)
    with torch.no_grad():
        theirs = model(torch.tensor(ids).long()).logits.float().numpy()
    exact = run.config.model.dtype == "float32"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 if exact else 0.03 * np.abs(theirs).max())
    assert np.abs(theirs).max() > 1
    if exact:
        processor = load(folder / "tokenizer.model")
        prompt = processor.encode("Dobrý den", add_bos=True)
        unused = list(range(1024, 1100))  # ids without a piece, which our generation leaves out
        new = model.generate(torch.tensor([prompt]), max_new_tokens=10, do_sample=False, suppress_tokens=unused)[0][len(prompt) :].tolist()
        assert run.generate("Dobrý den", max_tokens=10) == processor.decode([*prompt, *new])[len("Dobrý den") :]


def weights(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as content:
            found |= {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    return found


def test_what_was_imported_goes_out_with_the_same_bits(imported: tuple[Any, Path, Path], tmp_path: Path) -> None:
    _, release, folder = imported
    varietas.Run.open(folder).export(tmp_path / "out")
    before, after = weights(release), weights(tmp_path / "out")
    assert before.keys() == after.keys() and {x.dtype for x in after.values()} <= {np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)}
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype and tensor.tobytes() == after[name].tobytes(), name
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"imported from {release.name}" in card and str(release) not in card  # others lack that folder
    assert (
        json.loads((tmp_path / "out" / "config.json").read_text())["architectures"]
        == json.loads((release / "config.json").read_text())["architectures"]
    )
