"""steps.jsonl: the same for one process and several, with or without restarts."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from varietas.data.ledger import steps as steps_module
from varietas.data.ledger.log import BrokenLog, head_of, lines
from varietas.data.ledger.merkle import root
from varietas.data.ledger.steps import CHECKPOINTS, STEPS, StepLedger, steps_of

B, N = 6, 12
CONTEXT = {"batch_size": B, "seed": 1}
DIGESTS = np.random.default_rng(0).integers(0, 256, (N, B, 32), np.uint8)


def note(ledger: StepLedger, step: int, held: Sequence[int] = range(B)) -> None:
    """Notes some rows of a step, given by their places in it."""
    ledger.note(step, step * B + np.array(held), DIGESTS[step][list(held)])


def write(folder: Path, *, start: int = 0, stops: tuple[int, ...] = (N,), context: dict[str, int] = CONTEXT) -> StepLedger:
    ledger, begin = StepLedger(folder, context, start), start
    for stop in stops:
        for step in range(begin, stop):
            note(ledger, step)
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
    note(ledger, 9)
    assert write(tmp_path / "cut", start=5, stops=(6,)).head != whole
    assert write(tmp_path / "cut", start=6).head == whole
    assert (tmp_path / "cut" / STEPS).read_bytes() == (tmp_path / "whole" / STEPS).read_bytes()


def test_another_context_is_written_once(tmp_path: Path) -> None:
    write(tmp_path, stops=(5,))
    for _ in range(3):
        write(tmp_path, start=5, stops=(6,), context={**CONTEXT, "seed": 2})
    write(tmp_path, start=5, context={**CONTEXT, "seed": 3})
    assert [step.context["seed"] for step in steps_of(tmp_path)] == [1] * 5 + [3] * 7
    assert head_of(tmp_path / STEPS).size == N + 2


def test_processes_combine_their_rows(tmp_path: Path) -> None:
    """Process 2 holds the same rows as process 1; those of process 0 are no neighbours, and come one by one in another order."""
    several = tmp_path / "several"
    ledgers = [StepLedger(several, CONTEXT, 0, process) for process in range(3)]
    for begin, stop in ((0, 7), (7, N)):
        for process in (2, 1, 0):
            for step in range(begin, stop):
                for held in ((2, 3, 5),) if process else ((4,), (1,), (0,)):
                    note(ledgers[process], step, held)
            ledgers[process].commit(stop, {4: "loss nan"})
    assert ledgers[0].head == write(tmp_path / "one").head
    assert sorted(path.name for path in several.rglob("*") if path.is_file()) == [STEPS]


def test_notes_from_before_another_context_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 1 is killed together with process 0, which has not committed; then a document is removed, so the rows are others."""
    monkeypatch.setattr(steps_module, "VISIBLE_AFTER", 0.1)
    killed = StepLedger(tmp_path, CONTEXT, 0, 1)
    note(killed, 0, (3, 4, 5))
    killed.commit(1)
    ledger = StepLedger(tmp_path, {**CONTEXT, "removed": 1}, 0)
    note(ledger, 0, (0, 1, 2))
    with pytest.raises(ValueError, match="no process has noted row 3 of step 0"):
        ledger.commit(1)
    again = StepLedger(tmp_path, CONTEXT, 0)
    note(again, 0, (0, 1, 2))
    again.commit(1)
    assert again.head == write(tmp_path / "one", stops=(1,)).head


def test_rows_that_nobody_notes_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "VISIBLE_AFTER", 0.1)
    ledger = StepLedger(tmp_path, CONTEXT)
    note(ledger, 0)
    note(ledger, 1, (0, 1, 2))
    for stop in (3, 2):  # what was noted is not lost by a try that fails
        with pytest.raises(ValueError, match=rf"no process has noted row 3 of step 1: .* all have to see {tmp_path}"):
            ledger.commit(stop)
    note(ledger, 1, (3, 4, 5))
    ledger.commit(2)
    assert [step.rows for step in steps_of(tmp_path)] == [root(row.tobytes() for row in of_step).hex() for of_step in DIGESTS[:2]]


def test_a_process_that_notes_no_rows_commits_all_the_same(tmp_path: Path) -> None:
    """As one does that has its rows from another, in tensor parallelism. Process 0 may be one."""
    ledgers = [StepLedger(tmp_path / "several", CONTEXT, 0, process) for process in range(3)]
    for step in range(N):
        note(ledgers[1], step)
    for process in (2, 1, 0):
        ledgers[process].commit(N, {4: "loss nan"})
    assert ledgers[0].head == write(tmp_path / "one").head


def test_a_list_of_removals_must_not_become_shorter(tmp_path: Path) -> None:
    """Otherwise removed documents would be read again."""
    write(tmp_path, stops=(5,), context={**CONTEXT, "removed": {"": {"size": 2, "root": "ab"}}})
    for removed in ({}, {"removed": {"": {"size": 1, "root": "cd"}}}):
        with pytest.raises(ValueError, match=r"had 2 when the run of .* read it: removed documents would be read again; restore it"):
            StepLedger(tmp_path, {**CONTEXT, **removed}, 5)


def test_restarts_without_a_step_write_nothing(tmp_path: Path) -> None:
    """The head that a checkpoint has recorded stays the head before the next context."""
    ledger = write(tmp_path, stops=(5,))
    ledger.add_checkpoint(5, {})
    before = (tmp_path / STEPS).read_bytes()
    for n in (1, 2):
        again = StepLedger(tmp_path, {**CONTEXT, "seed": n}, 5)
        again.commit(5)
        assert (tmp_path / STEPS).read_bytes() == before and again.head == ledger.head


def test_rows_in_another_order_than_the_stream_has_are_refused(tmp_path: Path) -> None:
    ledger = StepLedger(tmp_path, CONTEXT)
    with pytest.raises(ValueError, match="row 12 is not of step 1, which has rows 6 to 11: read the rows in their order"):
        ledger.note(1, np.array([6, 12]), DIGESTS[0][:2])
    with pytest.raises(ValueError, match=r"step 1: rows \(2,\), digests \(3, 32\) uint8: expected"):
        ledger.note(1, np.array([6, 7]), DIGESTS[0][:3])


def test_steps_that_were_not_committed_before_a_checkpoint_are_missed(tmp_path: Path) -> None:
    write(tmp_path, stops=(5,))
    with pytest.raises(ValueError, match=r"has the steps before 5, but the run continues at step 6: continue from an earlier checkpoint"):
        StepLedger(tmp_path, CONTEXT, 6)


def test_checkpoints_follow_from_the_steps_before_them(tmp_path: Path) -> None:
    ledger = write(tmp_path, stops=(5,))
    with pytest.raises(ValueError, match=r"a checkpoint of step 6, but .* the steps before 5; commit\(6\) first"):
        ledger.add_checkpoint(6, {})
    ledger.add_checkpoint(5, {"files": {"a": "00"}})
    note(ledger, 5)
    ledger.commit(6)
    ledger.add_checkpoint(6, {"files": {"b": "11"}})
    StepLedger(tmp_path, CONTEXT, 5, process=1).add_checkpoint(5, {})  # only process 0 writes
    again = StepLedger(tmp_path, CONTEXT, 5)
    (line,) = lines(tmp_path / CHECKPOINTS)
    assert line.record.items() >= {"step": 5, "steps": {"size": 6, "root": again.head.root}, "files": {"a": "00"}}.items()
    assert again.last_checkpoint["step"] == 5


def test_a_changed_ledger_is_not_continued(tmp_path: Path) -> None:
    write(tmp_path, stops=(8,))
    file = tmp_path / STEPS
    texts = file.read_text().splitlines(keepends=True)
    record = json.loads(texts[3])
    file.write_text("".join([*texts[:3], json.dumps({**record, "rows": "0" * 64}) + "\n", *texts[4:]]))
    with pytest.raises(BrokenLog, match=r"line 5 \(step 3\)"):
        StepLedger(tmp_path, CONTEXT, 8)
