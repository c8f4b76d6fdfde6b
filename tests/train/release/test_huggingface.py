"""transformers loads what is exported, with no code of ours: the same ids, logits and greedy text."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import varietas
from varietas.model.decoder import bind, graph_and_shapes

pytestmark = pytest.mark.heavy("torch")

SHAPES = {
    "llama": {},
    "qwen3": {"model.qk_norm": True, "model.tied_embeddings": False, "model.sliding_window": 20},
    "apertus": {"model.qk_norm": True, "model.feed_forward": "xielu", "model.qkv_bias": True},
    "qwen3_moe": {"model.qk_norm": True, "model.feed_forward": "experts", "model.n_experts_per_token": 3, "model.d_expert": 48},
}


@pytest.fixture(scope="module", params=SHAPES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[varietas.Run, Path]:
    folder = tmp_path_factory.mktemp("release")
    overrides = {"train.steps": 8, "optim.peak_lr": 2e-2, "optim.warmup_steps": 1, **SHAPES[request.param]}
    run = varietas.Run("tiny", overrides, folder=folder / "run")
    run.train()
    run.export(folder / "out")
    return run, folder / "out"


def test_ids_logits_and_greedy_text_are_those_of_the_run(exported: tuple[varietas.Run, Path]) -> None:
    run, out = exported
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    text = "Všichni lidé rodí se svobodní\n a sobě </s> rovní. Όλοι οι άνθρωποι"
    ids = tokenizer(text)["input_ids"]
    network, _ = run._network(8)
    graph, _ = graph_and_shapes(network.config)
    rows = np.array([ids], np.int32), np.ones((1, len(ids)), np.int32), np.arange(len(ids), dtype=np.int32)[None]
    decoder = bind(graph, jax.tree.map(np.asarray, network.params))
    ours = np.asarray(decoder(*rows) @ decoder.head_DV)
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits.numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert np.abs(theirs).max() > 1
    for prompt in ("Dobrý den", "Wszyscy ludzie"):
        given = tokenizer(prompt, return_tensors="pt")
        full = model.generate(**given, max_new_tokens=12, do_sample=False)[0]
        new = tokenizer.decode(full[given["input_ids"].shape[1] :], skip_special_tokens=True)
        assert run.generate(prompt, max_tokens=12) == new


def test_the_card_and_the_configs_say_what_a_reader_needs(exported: tuple[varietas.Run, Path]) -> None:
    run, out = exported
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert run.digest() in card and "| mlt_Latn" not in card and "| ces_Latn | Czech |" in card
    tokens = sum(language["tokens"] for record in run.metrics for language in record["languages"].values())
    assert f"for 8 steps on {tokens:,} tokens in 33 languages" in card
    config = json.loads((out / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["vocab_size"]) == (1, 2, 1024)


def test_the_dtype_of_the_weights_can_be_chosen(exported: tuple[varietas.Run, Path], tmp_path: Path) -> None:
    run, _ = exported
    run.export(tmp_path / "half", dtype="bfloat16")
    assert {str(x.dtype) for x in load_file(tmp_path / "half" / "model.safetensors").values()} == {"bfloat16"}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "half").dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"half exists; name a new folder"):
        run.export(tmp_path / "half")
