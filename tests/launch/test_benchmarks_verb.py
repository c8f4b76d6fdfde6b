"""`varietas benchmarks` as a user calls it."""

import json
import re
from pathlib import Path

import pytest

from varietas.data.text.embedded import training_documents
from varietas.launch.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of Portuguese, a little of it apart, less of English, and a file of ARC."""
    folder = tmp_path_factory.mktemp("texts")
    documents = {lang: [d for d in training_documents() if d.lang == lang] for lang in ("por_Latn", "eng_Latn")}
    parts = {"all": documents["por_Latn"] + documents["eng_Latn"][:2], "held_out": documents["por_Latn"][:25]}
    for name, part in parts.items():
        lines = [json.dumps({"text": d.text, "lang": d.lang}, ensure_ascii=False) for d in part]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    arc = {"question": "O que é?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}
    (folder / "arc_challenge_PT-PT_test.jsonl").write_text(json.dumps(arc))
    return folder


def letters(text: str) -> str:
    return re.sub(r"\W", "", text)


def test_text_becomes_tasks_and_what_is_too_little_is_told(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ("--kinds", "continuation", "word_order", "--items", "60")
    assert main(["benchmarks", "--input", str(files / "all.jsonl"), "--out", str(tmp_path / "made"), *kinds]) == 0
    out = capsys.readouterr().out
    english = next(line for line in out.splitlines() if line.startswith("eng_Latn")).split()
    portuguese = next(line for line in out.splitlines() if line.startswith("por_Latn")).split()
    assert english[2].startswith("(") and portuguese[2:] == ["60", "60"] and "fewer than 40 items, left out" in out
    assert f"--include_path {tmp_path / 'made'}" in out
    assert sorted(path.name for path in (tmp_path / "made/items").iterdir()) == [
        "varietas_continuation_por_Latn.jsonl",
        "varietas_word_order_por_Latn.jsonl",
    ]


def test_what_is_usual_may_come_from_other_text(files: Path, tmp_path: Path) -> None:
    flags = ["--input", str(files / "held_out.jsonl"), "--kinds", "word_order", "--items", "1000"]
    assert main(["benchmarks", *flags, "--out", str(tmp_path / "alone")]) == 0
    assert main(["benchmarks", *flags, "--reference", str(files / "all.jsonl"), "--out", str(tmp_path / "helped")]) == 0
    alone, helped = (
        (tmp_path / name / "items/varietas_word_order_por_Latn.jsonl").read_text("utf-8").splitlines() for name in ("alone", "helped")
    )
    held_out = letters(" ".join(json.loads(line)["text"] for line in (files / "held_out.jsonl").read_text("utf-8").splitlines()))
    sentences = [record["choices"][record["answer"]] for record in map(json.loads, helped)]
    assert len(helped) > len(alone) and all(letters(sentence) in held_out for sentence in sentences)


def test_published_files_become_tasks(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", "--published", str(files / "arc_*.jsonl"), "--out", str(tmp_path / "arc")]) == 0
    assert "varietas_arc_por_Latn" in capsys.readouterr().out and (tmp_path / "arc/varietas_arc.yaml").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "OUT", "--kinds", "word-order"], "invalid choice: 'word-order'"),
        (["--out", "OUT", "--published", "FILES/arc_challenge_PT-PT_test.jsonl", "--items", "3"], "--items is for text; leave it out"),
        (["--out", "OUT", "--published", "FILES/all.jsonl"], "all.jsonl, record 1 is of no benchmark that is known"),
        (["--out", "FILES", "--input", "FILES/all.jsonl"], "exists; name a new folder or remove it"),
        (["--out", "OUT", "--input", "FILES/none.jsonl"], "none.jsonl: no such file"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    given = [flag.replace("OUT", str(tmp_path / "out")).replace("FILES", str(files)) for flag in flags]
    assert main(["benchmarks", *given]) == 2
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())
