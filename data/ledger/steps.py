"""steps.jsonl: what a run consumed, step by step, as any training loop can write it.

    {"step": 0, "context": {…}}                    what the rows of the following steps follow from
    {"step": 0, "rows": "9f2c…"}                   the root of the tree over the digests of the rows of step 0, in their order
    {"step": 1, "rows": "71b0…", "left_out": "…"}  rows that did not change the model, and why

Neither processes nor devices nor restarts change any of it. Of several processes, each notes the rows that it reads; process 0 writes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.files import new_file
from varietas.data.ledger.log import Head, Log, Record, lines
from varietas.data.ledger.merkle import root

STEPS, NOTES = "steps.jsonl", "notes"
VISIBLE_AFTER = 60.0  # seconds: network file systems show a new file to other nodes with some delay


class StepLedger:
    """Collects the digests of the rows of each step, and writes them to steps.jsonl when the trainer saves.

    Args:
        folder: The folder of the ledger; all processes must see the same one.
        context: What the rows follow from, such as `stream.context.context_of` returns; JSON must be able to hold it.
        start: The first step that is to be written. Later ones, from before a restart, are removed.
        process: The number of this process; process 0 writes.
        rows: The rows of each batch that this process notes, ascending; None for all.

    Raises:
        BrokenLog: If steps.jsonl was changed.
    """

    def __init__(self, folder: Path, context: Record, start: int, process: int = 0, rows: Sequence[int] | None = None):
        self._folder, self._batch_size, self._next = folder, int(context["batch_size"]), start
        self._process, self._rows = process, None if rows is None else np.array(rows, np.int64)
        self._noted: dict[int, np.ndarray] = {}
        if process:
            return
        known: Record | None = None

        def keeps(record: Record) -> bool:
            nonlocal known
            stays = record["step"] < start
            known = record["context"] if stays and "context" in record else known
            return stays

        self._log = Log(folder / STEPS, keeps)
        if context != known:
            self._log.append([{"step": start, "context": context}])

    @property
    def head(self) -> Head:
        """What steps.jsonl holds so far. Only process 0 knows it."""
        return self._log.head

    def note(self, step: int, digests: np.ndarray) -> None:
        """Notes the digests of the rows of a step that this process reads, uint8 (rows, 32), as `row_digests` returns them."""
        self._noted[step] = digests

    def share(self, stop: int) -> None:
        """Gives process 0 what this process has noted of the steps before `stop`. Every process calls it; then process 0 may `commit`.

        Raises:
            OSError: If the notes cannot be written.
        """
        if self._rows is not None and stop > self._next:
            (self._folder / NOTES).mkdir(parents=True, exist_ok=True)
            with new_file(self._notes(stop, self._process)) as file, file.open("wb") as out:
                np.savez(out, rows=self._rows, digests=self._taken(stop))
        if self._process:
            self._next = max(stop, self._next)

    def commit(self, stop: int, left_out: Mapping[int, str] | None = None) -> Head:
        """Writes the lines of all steps before `stop`. They are on disk when this returns.

        Args:
            stop: The number of steps done.
            left_out: Why some of them did not change the model, by step.

        Raises:
            OSError: If they cannot be written.
            ValueError: If the rows of a step were not noted.
        """
        reasons, begin = left_out or {}, self._next
        if stop > begin:
            digests = self._taken(stop) if self._rows is None else self._gathered(stop)
            roots = [root(row.tobytes() for row in of_step).hex() for of_step in digests]
            said = ({"left_out": reasons[step]} if step in reasons else {} for step in range(begin, stop))
            self._log.append([{"step": begin + n, "rows": found, **why} for n, (found, why) in enumerate(zip(roots, said, strict=True))])
            for file in (self._folder / NOTES).glob("*.npz"):
                file.unlink()
            self._next = stop
        return self._log.head

    def _taken(self, stop: int) -> np.ndarray:
        """Returns the noted digests of the steps before `stop`, uint8 (steps, rows, 32), and forgets them."""
        try:
            return np.stack([self._noted.pop(step) for step in range(self._next, stop)])
        except KeyError as missing:
            raise ValueError(f"the rows of step {missing} were not noted; note each step before the ledger commits to it") from None

    def _gathered(self, stop: int) -> np.ndarray:
        """Returns the digests that all processes have noted of the steps before `stop`, uint8 (steps, batch_size, 32)."""
        found = np.zeros((stop - self._next, self._batch_size, 32), np.uint8)
        there, end = np.zeros(self._batch_size, bool), time.monotonic() + VISIBLE_AFTER
        while True:
            for file in (self._folder / NOTES).glob(self._notes(stop, "*").name):
                with np.load(file, allow_pickle=False) as notes:
                    found[:, notes["rows"]], there[notes["rows"]] = notes["digests"], True
            if there.all():
                return found
            if time.monotonic() > end:
                raise ValueError(
                    f"{self._folder / NOTES}: no process has noted row {int(np.argmin(there))} of steps {self._next} to {stop - 1}; every "
                    "process has to share its rows, in a folder that all see"
                )
            time.sleep(0.2)

    def _notes(self, stop: int, process: int | str) -> Path:
        return self._folder / NOTES / f"{self._next}-{stop}.{process}.npz"


@dataclass(frozen=True)
class Step:
    """A step of steps.jsonl, with the context that it stands in."""

    step: int
    rows: str  # root of the tree over its rows, in hexadecimal digits
    left_out: str  # why it did not change the model; "" if it did
    context: Record
    line: int  # of steps.jsonl, from 0


def steps_of(folder: Path) -> Iterator[Step]:
    """Yields the steps of a ledger in their order.

    Raises:
        ValueError: If there is no ledger.
        BrokenLog: If it was changed, as far as its lines tell.
    """
    context: dict[str, Any] = {}
    for line in lines(folder / STEPS):
        record = line.record
        if "context" in record:
            context = record["context"]
        else:
            yield Step(record["step"], record["rows"], record.get("left_out", ""), context, line.number)
