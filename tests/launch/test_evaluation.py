"""Evaluations while a run trains and by command: held-out text, figures of documents, comparison of runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import varietas
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.held_out import held_out_documents
from varietas.data.text.embedded import training_documents
from varietas.launch.cli import main
from varietas.launch.evaluation.comparing import named
from varietas.launch.verbs.evaluate import _name

CODES = ("ces_Latn", "ell_Grek", "fin_Latn")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    """`a` has evaluated after steps 3 and 6, `b` has another seed and has not been evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    documents = [d for d in training_documents() if d.lang in CODES]
    lines = ({"text": d.text, "lang": d.lang, "source": ("news", "wiki")[i % 2]} for i, d in enumerate(documents))
    (folder / "texts.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    flags = ["--tokenizer", str(corpus_folder / "tokenizer.model"), "--config.clean.held_out=0.2"]
    assert main(["prepare", "--input", str(folder / "texts.jsonl"), "--out", str(folder / "corpus"), *flags]) == 0
    fields = {"data.corpus": str(folder / "corpus"), "train.steps": 6, "checkpoint.every": 3, "eval.held_out_bytes": 20_000}
    assert varietas.Run("tiny", fields | {"eval.every": 3}, folder=folder / "a").train()
    assert varietas.Run("tiny", fields | {"seed": 1}, folder=folder / "b").train()
    return folder


def kept(run: Path, name: str, step: int) -> dict[str, Any]:
    return json.loads((run / "evaluations" / name / f"{step}.json").read_text("utf-8"))


def test_training_evaluates_held_out_text_up_to_the_bytes_that_are_asked_for(runs: Path) -> None:
    held = held_out_documents(Corpus(runs / "corpus"), 20_000)
    record = kept(runs / "a", "held_out", 6)
    rows, documents = record["languages"], record["documents"]
    assert set(rows) == set(CODES) and record["text"] == "documents of the corpus that are held out from training"
    for code in CODES:
        sizes = [len(d.text.encode()) for d in held if d.lang == code]
        assert documents[code]["bytes"] == sizes and rows[code]["bytes"] == sum(sizes) <= 20_000 and rows[code]["documents"] == len(sizes)
        assert rows[code]["bits_per_byte"] == pytest.approx(sum(documents[code]["nats"]) / np.log(2) / sum(sizes), abs=6e-5)
        low, high = rows[code]["interval"]
        assert low < rows[code]["bits_per_byte"] < high < 1.1 * low
        assert sum(part["bytes"] for part in rows[code]["sources"].values()) == sum(sizes) and set(rows[code]["sources"]) == {
            "news",
            "wiki",
        }
    values = [row["bits_per_byte"] for row in rows.values()]
    parity = record["parity"]
    assert parity["gap"]["value"] == pytest.approx(max(values) - min(values)) and parity["languages"] == 3
    assert parity["ratio"]["interval"][0] < max(values) / min(values) < parity["ratio"]["interval"][1]


def test_tokens_seen_are_those_of_the_metrics(runs: Path) -> None:
    lines = [json.loads(line) for line in (runs / "a" / "metrics.jsonl").read_text().splitlines()]
    for step in (3, 6):
        for code, row in kept(runs / "a", "held_out", step)["languages"].items():
            assert row["tokens_seen"] == sum(line["languages"].get(code, {}).get("tokens", 0) for line in lines[:step]) > 0
    again = varietas.Run.open(runs / "a").evaluate(name="again", step=3)  # from the checkpoint
    assert again["ces_Latn"]["tokens_seen"] == kept(runs / "a", "declaration", 3)["languages"]["ces_Latn"]["tokens_seen"]


def test_runs_are_compared_on_both_texts_and_only_what_is_missing_is_computed(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from varietas.train.inference import score

    for name in "ab":
        shutil.copytree(runs / name, tmp_path / name)
    computed = list[str]()
    plain = score.evaluate
    monkeypatch.setattr(score, "evaluate", lambda *given: (computed.append(f"{given[4].name} {given[5].name}"), plain(*given))[1])
    command = ["evaluate", "--run", str(tmp_path / "a"), "--run", str(tmp_path / "b"), "--run", f"{tmp_path / 'a'}@3"]
    assert main(command) == 0
    assert computed == ["b declaration", "b held_out"]  # `a` was evaluated after both steps while it trained
    out = " ".join(capsys.readouterr().out.split())
    assert f"{tmp_path / 'b'} against {tmp_path / 'a'} on documents of the corpus that are held out" in out
    (first, second) = (record for record in json.loads((tmp_path / "b" / "comparisons.json").read_text())["comparisons"])
    assert [record["name"] for record in (first, second)] == ["declaration", "held_out"]
    changes = [each["second"] - each["first"] for each in second["languages"]]
    assert changes == sorted(changes, reverse=True) and len(changes) == 3 and all(each["p"] is None for each in first["languages"])
    (earlier,) = [r for r in json.loads((tmp_path / "a" / "comparisons.json").read_text())["comparisons"] if r["name"] == "held_out"]
    assert all(each["significant"] and each["second"] > each["first"] for each in earlier["languages"])  # three steps less
    assert (earlier["step"], earlier["against_step"]) == (3, 6) and "worse in 3" in out
    assert main(command) == 0 and len(computed) == 2
    assert len(json.loads((tmp_path / "b" / "comparisons.json").read_text())["comparisons"]) == 2
    assert main(["report", "--run", str(tmp_path / "a")]) == 0
    html = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert "Comparisons</h2>" in html and "By tokens seen" in html and "Worst / best" in html


def test_in_python_runs_are_compared_by_their_evaluations(runs: Path) -> None:
    first, second = (varietas.Run.open(runs / name) for name in "ab")
    text = held_out_documents(Corpus(runs / "corpus"), 5_000)
    found = varietas.compare(first.evaluation(text, "short"), second.evaluation(text, "short"))
    own = {code: row["bits_per_byte"] for code, row in second.evaluate(text, "short").items()}
    assert {each.code: each.second for each in found.languages} == pytest.approx(own, abs=1e-4)


def test_a_small_form_stands_beside_the_whole_model(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "a", tmp_path / "a")
    assert main(["evaluate", "--run", str(tmp_path / "a"), "--run", f"{tmp_path / 'a'}@int8"]) == 0
    small, whole = (kept(tmp_path / "a", name, 6)["languages"] for name in ("held_out-int8", "held_out"))
    assert {code: row["bits_per_byte"] for code, row in small.items()} == pytest.approx(
        {code: row["bits_per_byte"] for code, row in whole.items()}, rel=0.01
    )
    assert small != whole


def test_held_out_text_of_another_corpus_is_named_after_it(tmp_path: Path) -> None:
    def run(corpus: str) -> Any:
        return SimpleNamespace(folder=tmp_path / corpus, stream=SimpleNamespace(corpus=SimpleNamespace(digest=corpus, path=Path(corpus))))

    assert _name(run("web"), run("web"), "held_out") == "held_out"
    assert _name(run("wiki"), run("web"), "held_out") == "held_out-of-web"
    assert _name(run("wiki"), run("web"), "flores") == "flores"


def test_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "a@7").mkdir()
    for name, run, step, form in (
        ("a", "a", None, ""), ("a@7", "a@7", None, ""), ("a@7@8", "a@7", 8, ""), ("b@9@int4", "b", 9, "int4"), ("b@int8@9", "b", 9, "int8"),
    ):  # fmt: skip
        found = named(str(tmp_path / name))
        assert (found.run, found.step, found.small.form if found.small else "") == (tmp_path / run, step, form)
    for name in ("b@int9", "b@3@4"):
        with pytest.raises(ValueError, match="after @ comes the step of a checkpoint or int8 or int4"):
            named(name)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run", "a", "--run", "a"), "name each model once"),
        (("--run", "a", "--run", "b", "--step", "3"), "--step is of a single run; with several, name RUN@STEP"),
        (("--run", "a@3", "--step", "3"), "names a step or a form already"),
        (("--run", "a@5"), "has no checkpoint after step 5; it has: 3, 6"),
        (("--run", "a@int9"), "after @ comes the step"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...], says: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["evaluate", *arguments]) == 2
    error = capfd.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.heavy("torch")
def test_nats_of_documents_are_those_of_transformers(runs: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = varietas.Run.open(runs / "a")
    run.export(tmp_path / "out", dtype="float32")
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    documents = [replace(d, text=d.text[:80]) for d in training_documents() if d.lang in CODES][::40]  # no longer than a window
    evaluation = run.evaluation(documents, "beginnings")
    for code in CODES:
        for document, nats in zip([d for d in documents if d.lang == code], evaluation.documents[code].nats, strict=True):
            ids = torch.tensor([tokenizer(document.text)["input_ids"]])
            assert ids.shape[1] <= 128
            with torch.no_grad():
                loss = model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            assert nats == pytest.approx(loss, rel=1e-4)
