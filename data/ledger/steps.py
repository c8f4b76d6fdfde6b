"""steps.jsonl: what a run consumed, step by step, as any training loop can write it.

    {"step": 0, "context": {…}}                    what the rows of the following steps follow from
    {"step": 0, "rows": "9f2c…"}                   the root of the tree over the digests of the rows of step 0, in their order
    {"step": 1, "rows": "71b0…", "left_out": "…"}  rows that did not change the model, and why

checkpoints.jsonl is a log too: which checkpoint came of how many of these lines. Neither processes nor devices nor restarts change
steps.jsonl. Of several processes, each notes the rows that it reads; process 0 writes.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from varietas.data.files import new_file
from varietas.data.ledger.log import Head, Log, Record, lines
from varietas.data.ledger.merkle import HASH, root

FOLDER = "ledger"  # in that of a run
STEPS, CHECKPOINTS, NOTES = "steps.jsonl", "checkpoints.jsonl", "notes"
NO_ROWS = (np.zeros(0, np.int64), np.zeros((0, HASH), np.uint8))
VISIBLE_AFTER = 60.0  # seconds: network file systems show a new file to other nodes with some delay


class StepLedger:
    """Collects the digests of the rows of each step, and writes them to steps.jsonl when the trainer saves.

    Args:
        folder: The folder of the ledger; all processes must see the same one.
        context: What the rows follow from, such as `stream.context.context_of` returns; JSON must be able to hold it.
        start: The first step that is to be written. Later ones, from before a restart, are removed.
        process: The number of this process; process 0 writes.

    Raises:
        BrokenLog: If a log of the ledger was changed.
        ValueError: If steps before `start` are missing.
    """

    def __init__(self, folder: str | Path, context: Record, start: int = 0, process: int = 0):
        self._folder, self._batch_size, self._next, self._process = Path(folder), int(context["batch_size"]), start, process
        self._context = hashlib.sha256(json.dumps(context, sort_keys=True).encode()).hexdigest()[:8]
        self._noted: dict[int, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        if process:
            return
        known: Record | None = None

        def keeps(record: Record) -> bool:
            nonlocal known
            stays = record["step"] < start
            known = record["context"] if stays and "context" in record else known
            return stays

        self._log = Log(self._folder / STEPS, keeps)
        if self._log.last and start > (has := self._log.last["step"] + ("rows" in self._log.last)):
            raise ValueError(
                f"{self._folder / STEPS} has the steps before {has}, but the run continues at step {start}: continue from an earlier "
                "checkpoint, and let the ledger commit before each checkpoint is saved; or move the folder away, and a new ledger begins"
            )
        _check_removals(self._folder, (known or {}).get("removed", {}), context.get("removed", {}))
        # It is written with the first steps: without one, a restart would find it after the head that a checkpoint has recorded.
        self._pending = [{"step": start, "context": context}] if context != known else []
        self._checkpoints = Log(self._folder / CHECKPOINTS, lambda record: record["step"] <= start)

    @property
    def head(self) -> Head:
        """What steps.jsonl holds so far. Only process 0 knows it."""
        return self._log.head

    @property
    def last_checkpoint(self) -> Record:
        """The last line of checkpoints.jsonl; empty without one. Only process 0 knows it."""
        return self._checkpoints.last

    def note(self, step: int, rows: ArrayLike, digests: ArrayLike) -> None:
        """Notes rows of a step that this process reads. It may be called several times for a step.

        Args:
            step: The step, from 0.
            rows: Their numbers in the stream, (n,), in any order. Step s has rows s * batch_size and following.
            digests: Their digests, uint8 (n, HASH), as `row_digests` or `TrainingRows` return them.

        Raises:
            ValueError: If a row is not of this step.
        """
        rows, digests = np.asarray(rows, np.int64), np.asarray(digests)
        if rows.ndim != 1 or digests.shape != (len(rows), HASH) or digests.dtype != np.uint8:
            raise ValueError(f"step {step}: rows {rows.shape}, digests {digests.shape} {digests.dtype}: expected (n,), (n, {HASH}) uint8")
        first = step * self._batch_size
        if strangers := rows[(rows < first) | (rows >= first + self._batch_size)].tolist():
            raise ValueError(
                f"row {strangers[0]} is not of step {step}, which has rows {first} to {first + self._batch_size - 1}: read the rows in "
                "their order, which is random already, and number steps from the beginning of the run"
            )
        self._noted[step].append((rows, digests))

    def commit(self, stop: int, left_out: Mapping[int, str] | None = None) -> None:
        """Writes the lines of all steps before `stop`. Every process calls it, before each checkpoint.

        When it returns in process 0, the lines are on disk. Process 0 waits until the rows of the others are there; they wait for nobody.

        Args:
            stop: The number of steps done.
            left_out: Why some of them did not change the model, by step. Only that of process 0 counts.

        Raises:
            OSError: If they cannot be written.
            ValueError: If rows of a step were not noted.
        """
        reasons, begin = left_out or {}, self._next
        if stop <= begin:
            return
        noted = [NO_ROWS, *(part for step in range(begin, stop) for part in self._noted.get(step, ()))]
        rows, digests = (np.concatenate(column) for column in zip(*noted, strict=True))
        if self._process and len(rows):  # a process may have rows from others, which note them
            (self._folder / NOTES).mkdir(parents=True, exist_ok=True)
            with new_file(self._notes(stop, self._process)) as file, file.open("wb") as out:
                np.savez(out, rows=rows, digests=digests)
        elif not self._process:
            whole = self._gathered(stop, rows, digests)
            roots = [root(row.tobytes() for row in of_step).hex() for of_step in whole]
            said = ({"left_out": reasons[step]} if step in reasons else {} for step in range(begin, stop))
            steps = [{"step": begin + n, "rows": found, **why} for n, (found, why) in enumerate(zip(roots, said, strict=True))]
            self._log.append([*self._pending, *steps])
            self._pending = []
            for file in (self._folder / NOTES).glob("*.npz"):
                if int(file.name.split("-")[0]) <= stop:
                    file.unlink()
        for step in range(begin, stop):
            self._noted.pop(step, None)
        self._next = stop

    def add_checkpoint(self, step: int, what: Record) -> None:
        """Writes a line to checkpoints.jsonl. Of several processes, only process 0 does it.

        Args:
            step: The number of steps done before it, which is that of the last `commit`.
            what: What the line says of the checkpoint beside that: its digest (such as `{"files": digests_of(…)}`), the config, the code.

        Raises:
            OSError: If it cannot be written.
            ValueError: If the ledger has not committed to exactly these steps.
        """
        if step != self._next:
            raise ValueError(
                f"a checkpoint of step {step}, but the ledger has committed to the steps before {self._next}; commit({step}) first"
            )
        if not self._process:
            self._checkpoints.append([{"step": step, "steps": asdict(self.head), **what}])

    def _gathered(self, stop: int, rows: np.ndarray, digests: np.ndarray) -> np.ndarray:
        """Returns the digests of all rows of the steps before `stop`, uint8 (steps, batch_size, HASH).

        Args:
            stop: As in `commit`.
            rows: Those that this process has noted, (n,).
            digests: Their digests, uint8 (n, HASH).
        """
        first = self._next * self._batch_size
        found = np.zeros(((stop - self._next) * self._batch_size, HASH), np.uint8)
        there, end = np.zeros(len(found), bool), time.monotonic() + VISIBLE_AFTER
        found[rows - first], there[rows - first] = digests, True
        while not there.all():
            for file in (self._folder / NOTES).glob(self._notes(stop, "*").name):
                with np.load(file, allow_pickle=False) as notes:
                    found[notes["rows"] - first], there[notes["rows"] - first] = notes["digests"], True
            if there.all():
                break
            if time.monotonic() > end:
                step, row = divmod(first + int(np.argmin(there)), self._batch_size)
                raise ValueError(
                    f"no process has noted row {row} of step {step}: every process that reads rows has to note them and to commit to the "
                    f"same steps with the same context, and all have to see {self._folder}"
                )
            time.sleep(0.2)
        return found.reshape(-1, self._batch_size, HASH)

    def _notes(self, stop: int, process: int | str) -> Path:
        """Returns the file of what a process has noted since the last commit."""
        return self._folder / NOTES / f"{stop}-{self._next}-{self._context}.{process}.npz"


def _check_removals(folder: Path, known: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ValueError if a list of removed documents that the run has read is shorter now, or gone."""
    for source, head in known.items():
        if (has := now.get(source, {"size": 0})["size"]) < head["size"]:
            raise ValueError(
                f"removals.jsonl of {source or 'the corpus'} has {has:,} lines, and had {head['size']:,} when the run of {folder} read it: "
                "removed documents would be read again; restore it from a copy"
            )


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
