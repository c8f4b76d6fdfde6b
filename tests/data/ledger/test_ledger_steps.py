"""steps.jsonl: the same for one process and several, with or without restarts."""

import json
from pathlib import Path

import numpy as np
import pytest

from varietas.data.ledger import steps as steps_module
from varietas.data.ledger.log import BrokenLog, head_of
from varietas.data.ledger.merkle import root
from varietas.data.ledger.steps import STEPS, StepLedger, steps_of

B, N = 6, 12
CONTEXT = {"batch_size": B, "seed": 1}
DIGESTS = np.random.default_rng(0).integers(0, 256, (N, B, 32), np.uint8)


def write(folder: Path, *, start: int = 0, stops: tuple[int, ...] = (N,), context: dict[str, int] = CONTEXT) -> StepLedger:
    ledger, begin = StepLedger(folder, context, start), start
    for stop in stops:
        for step in range(begin, stop):
            ledger.note(step, DIGESTS[step])
        ledger.commit(stop, {4: "loss nan"})
        begin = stop
    return ledger


def test_a_line_for_each_step(tmp_path: Path) -> None:
    head = write(tmp_path, stops=(3, 3, 8, N)).head
    assert head == head_of(tmp_path / STEPS) and head.size == N + 1
    found = list(steps_of(tmp_path))
    assert [step.step for step in found] == list(range(N)) and all(step.context == CONTEXT for step in found)
    assert [step.rows for step in found] == [root(row.tobytes() for row in of_step).hex() for of_step in DIGESTS]
    assert [step.step for step in found if step.left_out == "loss nan"] == [4]


def test_restarts_leave_no_trace(tmp_path: Path) -> None:
    """A run that is killed after its ledger is written and before its checkpoint is does some steps again."""
    whole = write(tmp_path / "whole").head
    ledger = write(tmp_path / "cut", stops=(5, 9))
    ledger.note(9, DIGESTS[9])
    assert write(tmp_path / "cut", start=5, stops=(6,)).head != whole
    assert write(tmp_path / "cut", start=6).head == whole
    assert (tmp_path / "cut" / STEPS).read_bytes() == (tmp_path / "whole" / STEPS).read_bytes()


def test_another_context_is_written_once(tmp_path: Path) -> None:
    write(tmp_path, stops=(5,))
    for _ in range(3):
        write(tmp_path, start=5, stops=(5,), context={**CONTEXT, "removed": 1})
    write(tmp_path, start=5, context={**CONTEXT, "removed": 2})
    assert [("removed" in step.context, step.context.get("removed")) for step in steps_of(tmp_path)] == [(False, None)] * 5 + [
        (True, 2)
    ] * 7
    assert head_of(tmp_path / STEPS).size == N + 2


def test_processes_combine_their_rows(tmp_path: Path) -> None:
    """Process 2 holds the same rows as process 1; those of process 0 are no neighbours."""
    rows = [(0, 1, 4), (2, 3, 5), (2, 3, 5)]
    ledgers = [StepLedger(tmp_path / "several", CONTEXT, 0, process, held) for process, held in enumerate(rows)]
    for begin, stop in ((0, 7), (7, N)):
        for ledger, held in zip(ledgers, rows, strict=True):
            for step in range(begin, stop):
                ledger.note(step, DIGESTS[step][list(held)])
            ledger.share(stop)
        ledgers[0].commit(stop, {4: "loss nan"})
    assert ledgers[0].head == write(tmp_path / "one").head
    assert sorted(path.name for path in (tmp_path / "several").rglob("*") if path.is_file()) == [STEPS]


def test_rows_that_nobody_notes_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "VISIBLE_AFTER", 0.1)
    ledger = StepLedger(tmp_path, CONTEXT, 0, 0, (0, 1, 2))
    ledger.note(0, DIGESTS[0][:3])
    ledger.share(1)
    with pytest.raises(ValueError, match="no process has noted row 3 of steps 0 to 0"):
        ledger.commit(1)
    alone = StepLedger(tmp_path / "alone", CONTEXT, 0)
    with pytest.raises(ValueError, match="the rows of step 0 were not noted"):
        alone.commit(1)


def test_a_changed_ledger_is_not_continued(tmp_path: Path) -> None:
    write(tmp_path, stops=(8,))
    file = tmp_path / STEPS
    texts = file.read_text().splitlines(keepends=True)
    record = json.loads(texts[3])
    file.write_text("".join([*texts[:3], json.dumps({**record, "rows": "0" * 64}) + "\n", *texts[4:]]))
    with pytest.raises(BrokenLog, match=r"line 5 \(step 3\)"):
        StepLedger(tmp_path, CONTEXT, 8)
