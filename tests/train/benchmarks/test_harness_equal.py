"""lm_eval finds the same with a run as with its own `hf` model on the exported weights: each log-likelihood, each text, each score.

Tasks lie in files of their own, in several languages and scripts: options, a last word, whole texts, generation up to a string, examples,
contexts that are too long, no context at all, and conversations.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import varietas
from varietas.data.chat.template import OWN
from varietas.data.text.embedded import training_documents

pytestmark = pytest.mark.heavy("lm_eval")

CODES = ("deu_Latn", "ell_Grek", "bul_Cyrl", "fin_Latn", "ces_Latn")
ITEMS = 8
TEMPLATE = OWN  # what a tokenizer of ours begins and ends turns with


def write_tasks(folder: Path) -> list[str]:
    """Writes tasks made of the installed text, and returns their names."""
    texts = dict[str, list[str]]()
    for document in training_documents():
        if document.lang in CODES and len(words := texts.setdefault(document.lang, [])) < 300:
            words += document.text.split()
    names = []

    def task(name: str, code: str, **fields: Any) -> None:
        words = texts[code]
        items = [
            {
                "begin": " ".join(words[7 * i : 7 * i + 12]),
                "long": " ".join(words[: 40 + 20 * i]),
                "last": words[7 * i + 12],
                "choices": [" ".join(words[k : k + 1 + (k + i) % 4]) for k in range(7 * i + 12, 7 * i + 16)],
                "gold": i % 4,
            }
            for i in range(ITEMS)
        ]
        data = folder / f"{code}.jsonl"
        data.write_text("\n".join(json.dumps(item, ensure_ascii=False) for item in items), "utf-8")
        config = {
            "task": f"{name}_{code}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "fewshot_split": "test",
            **fields,
        }
        (folder / f"{name}_{code}.yaml").write_text(json.dumps(config))  # JSON is YAML
        names.append(f"{name}_{code}")

    for code in CODES[:3]:
        metrics = [{"metric": metric} for metric in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")]  # the last asks without a context
        choices = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": "gold", "metric_list": metrics}
        task("choice", code, **choices, doc_to_text="{{begin}}")
    task("letters", "ell_Grek", **choices | {"doc_to_choice": ["A", "B", "C", "Δ"]}, doc_to_text="{{begin}}\nA?\n")
    task("long", "deu_Latn", **choices, doc_to_text="{{long}}")
    word = {"output_type": "loglikelihood", "doc_to_target": " {{last}}", "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]}
    task("word", "ces_Latn", **word, doc_to_text="{{begin}}")
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{long}}"}
    task("rolling", "bul_Cyrl", **rolling, metric_list=[{"metric": metric} for metric in ("word_perplexity", "bits_per_byte")])
    generation = {"output_type": "generate_until", "doc_to_target": "{{last}}", "metric_list": [{"metric": "exact_match"}]}
    for code in ("fin_Latn", "ell_Grek"):
        until = {"until": ["\n", "a ", "α"], "max_gen_toks": 16}
        task("text", code, **generation, doc_to_text="{{long}}", generation_kwargs=until)
    return names


def trained(folder: Path, overrides: dict[str, Any]) -> tuple[varietas.Run, Path]:
    """Trains a small model and exports it."""
    run = varietas.Run("tiny", {"train.steps": 60, "optim.peak_lr": 1e-2, "optim.warmup_steps": 3, **overrides}, folder=folder / "run")
    run.train()
    (run.folder / "chat_template.jinja").write_text(TEMPLATE)
    run.export(folder / "hf", dtype="float32")
    return run, folder / "hf"


def imported(folder: Path, corpus: Path, config: dict[str, Any]) -> tuple[varietas.Run, Path]:
    """Imports a model with random weights whose tokenizer puts nothing before a text."""
    release = folder / "release"
    torch.manual_seed(0)
    shape = {"vocab_size": 1024, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**shape, num_key_value_heads=2, head_dim=32, max_position_embeddings=160, tie_word_embeddings=True)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.ndim == 2 else parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(release)
    from varietas.data.tokenizer.model import load
    from varietas.data.tokenizer.tokenizer_json import tokenizer_config, tokenizer_json

    processor = load(corpus / "tokenizer.model")
    said = {**tokenizer_config(processor, 160), **config, "chat_template": TEMPLATE}
    for name, content in (("tokenizer.json", tokenizer_json(processor)), ("tokenizer_config.json", said)):
        (release / name).write_text(json.dumps(content))
    varietas.import_model(release, folder / "run")
    run = varietas.Run.open(folder / "run")
    run.export(folder / "hf", dtype="float32")
    return run, folder / "hf"


MODELS: dict[str, Callable[[Path, Path], tuple[varietas.Run, Path]]] = {
    "trained": lambda folder, _: trained(folder, {}),
    "window": lambda folder, _: trained(folder, {"model.qk_norm": True, "model.sliding_window": 30, "model.n_kv_heads": 2}),
    "imported": lambda folder, corpus: imported(folder, corpus, {"add_bos_token": False, "split_special_tokens": False}),
}


@pytest.fixture(scope="module", params=MODELS)
def both(request: pytest.FixtureRequest, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[varietas.Run, Path]:
    return MODELS[request.param](tmp_path_factory.mktemp(request.param), corpus_folder)


def compare(both: tuple[varietas.Run, Path], tasks: Path, names: list[str], **settings: Any) -> int:
    """Compares all answers and scores of tasks, and returns how many answers there were."""
    run, exported = both
    model = HFLM(pretrained=str(exported), device="cpu", dtype="float32", batch_size=1)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    theirs: Any = simple_evaluate(model, tasks=list(names), task_manager=manager, log_samples=True, bootstrap_iters=0, **settings)
    ours = {result.task: result for result in run.benchmark(names, include_path=tasks, log_samples=True, **settings)}
    answers = 0
    for name in names:
        scores = {score.metric: score.value for score in ours[name].scores}
        expected = {key.partition(",")[0]: value for key, value in theirs["results"][name].items() if key.endswith(",none")}
        expected = {key: value for key, value in expected.items() if not key.endswith("_stderr")}
        assert scores.keys() == expected.keys()
        for metric, value in expected.items():
            assert scores[metric] == (value if metric.startswith(("acc", "exact")) else pytest.approx(value, rel=1e-4)), (name, metric)
        (file,) = (run.folder / "benchmarks" / name).glob(f"*-{ours[name].way}.samples.jsonl")
        for mine, other in zip(map(json.loads, file.read_text("utf-8").splitlines()), theirs["samples"][name], strict=True):
            assert mine["arguments"] == json.loads(json.dumps(other["arguments"])), name  # the same was asked
            for (answer,), (known,) in zip(mine["resps"], other["resps"], strict=True):
                answers += 1
                if isinstance(known, tuple):
                    assert answer == [pytest.approx(known[0], abs=1e-3), known[1]], name
                else:
                    assert answer == (known if isinstance(known, str) else pytest.approx(known, abs=1e-3, rel=1e-5)), name
    return answers


def test_answers_and_scores_are_those_of_transformers(both: tuple[varietas.Run, Path], tmp_path: Path) -> None:
    names = write_tasks(tmp_path)
    assert compare(both, tmp_path, names) == 8 * (5 * 8 + 4)  # options with and without context, and four tasks with one answer
    results = {file.parent.name: json.loads(file.read_text()) for file in (both[0].folder / "benchmarks").glob("*/*-0shot.json")}
    assert results["long_deu_Latn"]["about"]["cut"] > 0 and results["word_ces_Latn"]["about"]["cut"] == 0


def test_with_examples(both: tuple[varietas.Run, Path], tmp_path: Path) -> None:
    names = write_tasks(tmp_path)
    compare(both, tmp_path, [name for name in names if not name.startswith("rolling")], num_fewshot=2, limit=5)


@pytest.mark.parametrize("multiturn", [True, False])
def test_in_a_conversation(both: tuple[varietas.Run, Path], tmp_path: Path, multiturn: bool) -> None:
    names = [name for name in write_tasks(tmp_path) if name.startswith(("choice", "letters", "text"))]
    compare(both, tmp_path, names, apply_chat_template=True, fewshot_as_multiturn=multiturn, num_fewshot=1, limit=4)
