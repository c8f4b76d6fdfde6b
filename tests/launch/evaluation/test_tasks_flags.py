"""Mistakes with --tasks are answered in one line, without lm_eval; tables of scores and what a reader has to know."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

import varietas
from varietas.launch.cli import main
from varietas.launch.evaluation.tasks import notes, report
from varietas.train.run_folder.benchmarks import Benchmark, Score


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("tasks") / "run"
    varietas.Run("tiny", {"train.steps": 2, "train.batch_size": 8}, folder=folder).train()
    return folder


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--limit", "3"], "--limit says how --tasks are asked; name some with --tasks"),
        (["--log_samples"], "--log_samples says how --tasks are asked; name some with --tasks"),
        (["--tasks", "a", "--text", "x.jsonl"], "--text is not used with --tasks; leave it out"),
        (["--tasks", "a", "--name", "x"], "--name is not used with --tasks; leave it out"),
        (["--tasks", "a", "--fewshot_as_multiturn", "true"], "add --apply_chat_template"),
        (["--tasks", "a", "--limit", "1.5"], "--limit: expected a whole number of 1 or more, or a share below 1, found '1.5'"),
        (["--tasks", ","], "no task is named; name some of lm_eval, such as belebele_deu_Latn"),
        (["--tasks", "a", "--step", "7"], "has no checkpoint after step 7; it has: 2"),
        (["--task", "a"], "did you mean --tasks?"),
    ],
)
def test_mistakes(run: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(run), *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_package_that_is_missing(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "varietas.train.benchmarks.tasks", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert main(["evaluate", "--run", str(run), "--tasks", "a"]) == 2
    assert "benchmarks need the package datasets; run: pip install 'varietas[eval]'" in capsys.readouterr().err


def scored(task: str, value: float, n: int = 900, **more: object) -> Benchmark:
    return Benchmark(task, 5, (Score("acc", value, 0.015, 0.25),), n, **more)  # type: ignore[arg-type]


def test_the_table_has_the_worst_first_and_the_mean_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [scored(f"belebele_{code}", value, group="belebele", language=code) for code, value in (("deu_Latn", 0.4), ("mlt_Latn", 0.27))]
    results = [*parts, scored("belebele", 0.335, n=1800, members=tuple(part.task for part in parts)), scored("arc_de", 0.3)]
    report(results, tmp_path, Console(width=120))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:5] if line] == ["belebele_mlt_Latn", "belebele_deu_Latn", "belebele", "arc_de"]
    assert lines[1] == ["belebele_mlt_Latn", "Maltese", "acc", "0.270", "0.015", "0.250", "900"]
    assert lines[3] == ["belebele", "(mean", "of", "2)", "acc", "0.335", "0.015", "0.250", "1,800"]


def test_what_a_reader_has_to_know() -> None:
    assert list(notes([scored("a", 0.4, about={"cut": 0, "items_in_all": 900})])) == []
    said = list(notes([scored("a", 0.27, n=100, about={"cut": 7, "items_in_all": 900})]))
    assert said == [
        "contexts longer than the model's, which have lost their beginning: 7 of a",
        "--limit: 100 of 900 items, so this is a trial and no result",
        "a score within two standard errors (±) of chance is no better than guessing",
    ]
