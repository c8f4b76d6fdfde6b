"""Steps that go wrong in a run: what is kept, what is left out, and that a run which was interrupted decides the same."""

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import varietas
from varietas.train import run as train_run
from varietas.train.execution import faults
from varietas.train.execution.faults import IN_A_ROW, FaultyDevice, NotFinite
from varietas.train.execution.steps import NO_STEP
from varietas.train.run_folder.checkpoint import read_meta
from varietas.train.run_folder.folder import saved_steps

FIELDS = {"train.steps": 10, "checkpoint.every": 4, "checkpoint.keep": 5}
Change = Callable[[int, dict[str, Any]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> varietas.Run:
    """A run in which nothing goes wrong."""
    run = varietas.Run("tiny", FIELDS, folder=tmp_path_factory.mktemp("runs") / "quiet")
    assert run.train()
    return run


@pytest.fixture(autouse=True)
def _corpus(corpus_folder: Path) -> None:
    """All runs have the same small corpus."""


def planted(monkeypatch: pytest.MonkeyPatch, change: Change) -> list[int]:
    """Changes the metrics of steps as `change` says: it gets a step and its metrics, and returns others for a step that shall not count.

    Returns:
        The steps that are computed, in their order.
    """
    compile_program, computed = train_run.compile_program, list[int]()

    def compiled(*args: Any) -> Any:
        program = compile_program(*args)
        usual: Any = program.step

        def step(state: Any, batch: Any, n: np.int32, limit: np.float32) -> Any:
            computed.append(int(n))
            bad = int(n) == int(state.step) and change(int(n), {}) is not None  # otherwise the step before had no effect either
            state, metrics = usual(state, batch, n, np.float32(-np.inf) if bad else limit)
            return state, {**metrics, **(change(int(n), metrics) or {})} if bad or n == NO_STEP else metrics

        return replace(program, step=step)

    monkeypatch.setattr(train_run, "compile_program", compiled)
    return computed


def not_a_number(*steps: int) -> Change:
    return lambda n, _: {"loss": jnp.float32(math.nan)} if n in steps else None


def run_of(folder: Path, **fields: Any) -> varietas.Run:
    return varietas.Run("tiny", {**FIELDS, **fields}, folder=folder)


def left_out(folder: Path) -> list[tuple[int, int]]:
    return [(entry["first"], entry["last"]) for entry in json.loads((folder / "left_out.json").read_text())["steps"]]


def test_a_bad_step_is_computed_again_before_training_stops_and_is_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: varietas.Run
) -> None:
    computed = planted(monkeypatch, not_a_number(5))
    run = run_of(tmp_path / "run")
    with pytest.raises(
        NotFinite, match=r"step 5: loss nan, gradient norm .*; the same when it was computed again\. Its batch holds \d+ doc"
    ):
        run.train()
    assert computed == [0, 1, 2, 3, 4, 5, 6, 5] and [record["loss"] is None for record in run.metrics] == [False] * 5 + [True]
    assert saved_steps(run.folder)[-1] == 5  # what was good until then is kept
    monkeypatch.undo()
    assert run.train() and run.digest() == quiet.digest()  # it was something of that time
    seen = [read_meta(each.folder / "checkpoints", 10)["tokens_seen"] for each in (run, quiet)]
    assert seen[0] == seen[1] and run.losses.steps.tolist() == quiet.losses.steps.tolist()


def test_a_step_that_is_skipped_changes_nothing_however_often_the_run_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, quiet: varietas.Run
) -> None:
    planted(monkeypatch, not_a_number(5, 7))
    once, often = (run_of(tmp_path / name, **{"train.on_not_finite": "skip"}) for name in ("once", "often"))
    with caplog.at_level(logging.WARNING):
        assert once.train()
    assert "step 5 is left out: loss nan" in caplog.text
    assert not often.train(steps=6) and often.train()
    assert once.digest() == often.digest() and [record["loss"] for record in once.metrics] == [record["loss"] for record in often.metrics]
    assert left_out(once.folder) == left_out(often.folder) == [(5, 5), (7, 7)]
    records = {record["step"]: record for record in once.metrics}
    assert list(records) == list(range(10)) and records[5]["left_out"].startswith("loss nan") and "left_out" not in records[6]
    assert quiet.digest() != once.digest()
    # The learning rate follows its schedule, and rows that did not count are not seen.
    assert {n: quiet.metrics[n]["learning_rate"] for n in (6, 9)} == {n: records[n]["learning_rate"] for n in (6, 9)}
    tokens = [sum(record["tokens"] for record in each.metrics) for each in (quiet, once)]
    assert tokens[0] - tokens[1] == sum(quiet.metrics[n]["tokens"] for n in (5, 7))
    assert "2 steps are left out" in once.report().read_text()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_that_goes_back_leaves_out_what_lies_between(interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = planted(monkeypatch, not_a_number(7))
    run = run_of(tmp_path / "run", **{"train.on_not_finite": "rollback"})
    if interrupted:  # saved after 6 steps, but what is learned must not depend on that
        assert not run.train(steps=6)
    assert run.train() and left_out(run.folder) == [(4, 7)] and [record["step"] for record in run.metrics] == list(range(10))
    assert computed.count(7) == 2 and computed[-2:] == [8, 9]
    other = run_of(tmp_path / "other")  # the decision alone determines what is learned
    assert not other.train(steps=1)
    (other.folder / "left_out.json").write_bytes((run.folder / "left_out.json").read_bytes())
    monkeypatch.undo()
    assert other.train() and other.digest() == run.digest()


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, not_a_number(2))
    with pytest.raises(NotFinite, match=r"step 2: .* No checkpoint lies before it"):
        run_of(tmp_path / "run", **{"train.on_not_finite": "rollback"}).train()


def test_a_model_that_has_diverged_stops_although_steps_may_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda n, _: {"loss": jnp.float32(math.nan)} if n > 2 else None)
    run = run_of(tmp_path / "run", **{"train.on_not_finite": "skip", "train.steps": 40, "optim.schedule": "constant"})
    with pytest.raises(NotFinite, match=rf"step {3 + IN_A_ROW}: .*after {IN_A_ROW} steps in a row that were left out"):
        run.train()


def test_garbage_in_the_data_is_a_spike_and_its_rows_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three rows of step 45 have random tokens. No metric is touched. In a run this short the loss falls fast, so few losses count."""
    monkeypatch.setattr(faults, "WINDOW", 8)
    monkeypatch.setattr(faults, "FEWEST", 8)
    fields = {"train.steps": 48, "train.on_spike": "skip", "optim.schedule": "constant"}
    run = varietas.Run("tiny", fields, folder=tmp_path / "run")
    rows = type(run.stream).rows

    def spoilt(stream: Any, start: int, stop: int) -> Any:
        found = rows(stream, start, stop)
        for row in range(45 * 8, 45 * 8 + 3):
            if start <= row < stop:
                found["tokens"][row - start] = np.random.default_rng(row).integers(900, 1020, 128)
        return found

    monkeypatch.setattr(type(run.stream), "rows", spoilt)
    with caplog.at_level(logging.WARNING):
        assert run.train()
    assert (
        left_out(run.folder) == [(45, 45)]
        and "is a spike above" in caplog.text
        and re.search(r"rows with such a loss \([3-7] of 8\)", caplog.text)
    )


def test_another_result_the_second_time_points_at_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([math.nan, math.nan, 5.0, 5.0])
    planted(monkeypatch, lambda n, _: {"loss": jnp.float32(next(times))} if n == 5 else None)
    run = run_of(tmp_path / "run", **{"train.on_not_finite": "skip"})
    with pytest.raises(FaultyDevice, match=r"step 5: computed twice .* \(loss nan and 5,.*cpu:0, .* of process 0 on .*varietas doctor"):
        run.train()
    assert not (run.folder / "left_out.json").exists() and sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["4"]


def test_devices_are_checked_every_few_steps_without_a_change_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: varietas.Run
) -> None:
    computed = planted(monkeypatch, lambda n, _: None)
    checked = run_of(tmp_path / "checked", **{"train.check_every": 4})
    assert checked.train() and computed == [NO_STEP, 0, 1, 2, 3, NO_STEP, 4, 5, 6, 7, NO_STEP, 8, 9]
    assert quiet.digest() == checked.digest()
    monkeypatch.undo()
    planted(monkeypatch, lambda n, metrics: {"grad_norm": metrics["grad_norm"] + 1} if n == NO_STEP and metrics else None)
    with pytest.raises(FaultyDevice, match="step 0: computed twice from the same rows, with different results"):
        run_of(tmp_path / "faulty", **{"train.check_every": 4}).train()
