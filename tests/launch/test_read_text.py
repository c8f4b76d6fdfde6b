"""`varietas contamination` and `varietas memorisation` on a run that has learned its text by heart."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import varietas
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.held_out import held_out_documents
from varietas.data.text.embedded import training_documents
from varietas.launch.cli import main

CODES = ("ces_Latn", "ell_Grek", "fin_Latn")
ASKED = ("--prompt_tokens", "20", "--tokens", "30")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    documents = [d for d in training_documents() if d.lang in CODES][::12]
    lines = ({"text": d.text[:200], "lang": d.lang, "id": d.id} for d in documents)
    (folder / "texts.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    flags = ["--tokenizer", str(corpus_folder / "tokenizer.model"), "--config.clean.held_out=0.4"]
    assert main(["prepare", "--input", str(folder / "texts.jsonl"), "--out", str(folder / "corpus"), *flags]) == 0
    fields = {"data.corpus": str(folder / "corpus"), "optim.peak_lr": 1e-2, "checkpoint.every": 100}
    assert varietas.Run("tiny", fields | {"train.steps": 300}, folder=folder / "run").train()
    return folder


def test_what_was_read_is_repeated_and_held_out_text_is_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memorisation", "--run", str(folder / "run"), *ASKED]) == 0
    record = json.loads((folder / "run" / "memorisation.json").read_text())
    assert (record["step"], record["prompt_tokens"], record["tokens"]) == (300, 20, 30)
    every = record["all"]
    assert every["excerpts"] >= 8 and every["share"] > 0.9 and every["interval"][0] > 0.6
    assert every["held_out"]["excerpts"] >= 4 and every["held_out"]["repeated"] == 0
    shares = [row["share"] for row in record["languages"].values()]
    assert shares == sorted(shares, reverse=True) and set(record["languages"]) == set(CODES)
    assert sum(row["excerpts"] for row in record["by_reads"]) == every["excerpts"] == record["by_copies"][0]["excerpts"]
    assert len(record["repeated"]) == every["repeated"] and all(each["reads"] > 8 for each in record["repeated"] if each["begin"] == 0)
    assert f"in {every['repeated']} of {every['excerpts']} excerpts" in " ".join(capsys.readouterr().out.split())


def test_early_in_training_little_is_repeated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memorisation", "--run", str(folder / "run"), "--step", "100", "--json", "--documents", "2", *ASKED]) == 0
    early = json.loads(capsys.readouterr().out)
    assert early["step"] == 100 and early["all"]["excerpts"] <= 6 and all(each["last_step"] < 100 for each in early["repeated"])


def test_items_that_were_read_are_counted_with_scores_without_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "run"
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text("utf-8").splitlines()]
    held = {d.text for d in held_out_documents(Corpus(folder / "corpus"), 1 << 30)}
    assert main(["evaluate", "--run", str(run), "--text", str(folder / "texts.jsonl"), "--name", "mixed"]) == 0
    samples = [{"doc": {"question": line["text"]}, "metrics": ["acc"], "acc": float(line["text"] not in held)} for line in lines]
    (run / "benchmarks" / "quiz").mkdir(parents=True)
    (run / "benchmarks" / "quiz" / "300-0shot.samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples), "utf-8")
    capsys.readouterr()
    assert main(["contamination", "--run", str(run), "--items", str(folder / "texts.jsonl"), "--workers", "1"]) == 0
    record = json.loads((run / "contamination.json").read_text())
    counts = {row["language"]: row for row in record["counts"]}
    for code in CODES:
        mine = [line["text"] for line in lines if line["lang"] == code]
        assert counts[code]["items"] == len(mine) and counts[code].get("none", 0) == sum(text in held for text in mine)
        assert counts[code]["whole"] == sum(text not in held for text in mine)
    assert {found["places"][0]["id"] for found in record["found"]} == {line["id"] for line in lines if line["text"] not in held}
    assert all(0 <= found["places"][0]["first_step"] <= found["places"][0]["last_step"] < 300 for found in record["found"])
    (score,) = [row for row in record["scores"] if row["language"] == "ces_Latn"]
    assert score["text"] == "mixed" and score["unread"] > 1.5 * score["every"]  # without what it knows by heart
    said = " ".join(capsys.readouterr().out.split())
    assert f"of {len(lines)} items in 3 languages, {len(lines) - len(held)} were read whole up to step 300" in said

    assert main(["contamination", "--run", str(run), "--step", "200", "--json"]) == 0
    usual: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {row["text"] for row in usual["counts"]} == {"declaration", "held_out", "quiz (0)"} and usual["scores"] == []
    assert not [found for found in usual["found"] if found["text"] == "held_out" and found["kind"] == "whole"]
    assert main(["contamination", "--run", str(run), "--json"]) == 0
    (quiz,) = [row for row in json.loads(capsys.readouterr().out)["scores"] if row["text"] == "quiz"]
    assert (quiz["every"], quiz["unread"]) == (pytest.approx(1 - len(held) / len(lines)), 0.0)


def test_the_report_shows_both(folder: Path) -> None:
    for verb in (["contamination"], ["memorisation", *ASKED]):
        assert main([verb[0], "--run", str(folder / "run"), *verb[1:]]) == 0
    assert main(["report", "--run", str(folder / "run"), "--no-samples"]) == 0
    html = (folder / "run" / "report.html").read_text("utf-8")
    assert "Contamination</h2>" in html and "Memorisation</h2>" in html


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("memorisation", "--run", "run", "--tokens", "100"), "are more than data.seq_len=128, so no row of the run had such an excerpt"),
        (("memorisation", "--run", "run", "--step", "7"), "has no checkpoint after step 7"),
        (("contamination", "--run", "run", "--step", "301"), "the ledger has 300 steps"),
        (("contamination", "--run", "run", "--lang", "cs"), "--lang says how the files of --items are read"),
        (("contamination", "--run", "corpus"), "the run has no ledger"),
        (("contamination", "--run", "run", "--items", "none.jsonl"), "none.jsonl: no such file"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], says: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(folder):
        assert main(arguments) == 2
    error = capfd.readouterr().err
    assert says in error and error.count("\n") == 1
