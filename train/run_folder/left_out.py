"""left_out.json: steps whose rows did not change the model, and why.

Step n stands for rows n·B to (n + 1)·B also if they are left out. So which documents the model has learned from can still be computed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count, takewhile
from pathlib import Path

from varietas.data.files import write_json
from varietas.train.run_folder.folder import read_record

FILE = "left_out.json"


@dataclass(frozen=True)
class LeftOut:
    """Steps that are left out for one reason. `last` is the step that was the reason, and the last of them."""

    first: int
    last: int
    why: str

    def __contains__(self, step: int) -> bool:
        return self.first <= step <= self.last


def read(run: Path) -> list[LeftOut]:
    """Returns what a run has left out so far, in the order in which it was decided.

    Raises:
        ValueError: If the file is damaged.
    """
    if not (run / FILE).exists():
        return []
    try:
        return [LeftOut(**entry) for entry in read_record(run, FILE)["steps"]]
    except (KeyError, TypeError):
        raise ValueError(f"{run / FILE} is damaged; restore it from a copy") from None


def add(run: Path, entry: LeftOut) -> None:
    """Writes what a run leaves out besides what it has left out so far."""
    write_json(run / FILE, {"steps": [asdict(each) for each in (*read(run), entry)]})


def reason(left_out: list[LeftOut], step: int) -> str | None:
    """Returns why a step is left out; None if it is not."""
    return next((entry.why for entry in reversed(left_out) if step in entry), None)


def in_a_row(left_out: list[LeftOut], step: int) -> int:
    """Returns how many steps directly before `step` were each a reason to leave out rows."""
    reasons = {entry.last for entry in left_out}
    before: Iterator[int] = takewhile(reasons.__contains__, count(step - 1, -1))
    return sum(1 for _ in before)
