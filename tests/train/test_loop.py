"""The order in which a run writes its files, and what it evaluates."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import varietas
from varietas.train import loop
from varietas.train.execution.steps import due
from varietas.train.run_folder.digest import digest

FIELDS = {"train.steps": 5, "checkpoint.every": 2, "optim.schedule": "constant"}


def test_a_checkpoint_is_saved_after_metrics_and_ledger_are_on_disk(
    tmp_path: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And after the ledger is: after a power failure, what a checkpoint has passed could not be written again."""
    run = varietas.Run("tiny", FIELDS, folder=tmp_path / "run")
    metrics, events = run.folder / "metrics.jsonl", list[tuple[str, int]]()
    usual_save, usual_sync = loop.Checkpoints.save, os.fsync

    def steps_written() -> int:
        return metrics.read_bytes().count(b"\n")

    def save(self: Any, state: Any, meta: Any) -> Any:
        events.append(("saved", int(state.step)))
        assert (run.folder / "ledger" / "steps.jsonl").read_bytes().count(b"\n") == int(state.step) + 1
        return usual_save(self, state, meta)

    def sync(file: int) -> None:
        if metrics.exists() and os.path.samestat(os.fstat(file), metrics.stat()):
            events.append(("on disk", steps_written()))
        usual_sync(file)

    monkeypatch.setattr(loop.Checkpoints, "save", save)
    monkeypatch.setattr(os, "fsync", sync)
    assert run.train()
    assert events[:6] == [("on disk", 2), ("saved", 2), ("on disk", 4), ("saved", 4), ("on disk", 5), ("saved", 5)]
    assert set(events[6:]) <= {("on disk", 5)}


def test_an_evaluation_gets_the_parameters_of_its_step(tmp_path: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = varietas.Run("tiny", {**FIELDS, "eval.every": 2}, folder=tmp_path / "run")
    evaluated, shown = list[tuple[int, str]](), list[tuple[int, dict[str, float]]]()

    def evaluate(params: Any, step: int, tokens_seen: Mapping[str, int]) -> dict[str, float]:
        evaluated.append((step, digest(params)))
        assert sum(tokens_seen.values()) == sum(record["tokens"] for record in run.metrics[:step])
        return {"ces_Latn": float(step)}

    monkeypatch.setattr("varietas.train.run.evaluator", lambda *_: evaluate)
    monkeypatch.setattr(loop.MetricsLog, "write_evaluation", lambda log, step, values: shown.append((step, values)))
    assert run.train()
    assert evaluated == [(step, run.digest(step)) for step in (2, 4)]
    assert shown == [(2, {"ces_Latn": 2.0}), (4, {"ces_Latn": 4.0})]


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_what_is_done_every_few_steps_is_due_at_their_multiples(every: int, steps: list[int]) -> None:
    assert [n for n in range(1, 7) if due(n, every)] == steps
