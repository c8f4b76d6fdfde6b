"""The records of metrics.jsonl, one for each step: how to read them from a file that may be cut short or broken."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TAIL = 1 << 16  # bytes of the end of metrics.jsonl that are read first
# Numbers of a record that are drawn over steps. The last ones only a mixture of experts and preferences have.
CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "mfu", "max_violation", "accuracy", "reward_chosen", "reward_rejected")


def number(value: object) -> float | None:
    """Returns `value` if it is a finite number, otherwise None."""
    if isinstance(value, (int, float)) and -1e300 < value < 1e300 and not isinstance(value, bool):
        return float(value)
    return None


def mapping(value: object) -> dict[str, Any]:
    """Returns `value` if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def records(path: Path) -> Iterator[tuple[int, int | None, dict[str, Any]]]:
    """Reads metrics.jsonl line by line. Empty lines are skipped.

    Yields:
        The number of the line, from 1, the step and the record. The step is None if the line could not be read.
    """
    with path.open("rb") as lines:
        for place, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = mapping(json.loads(line))
            except (ValueError, RecursionError):
                record = {}
            step = number(record.get("step"))
            yield place, None if step is None or step < 0 else int(step), record


def readable(path: Path) -> list[dict[str, Any]]:
    """Returns the records of metrics.jsonl that can be read, each step once; none if there is no such file."""
    found: list[dict[str, Any]] = []
    for _, step, record in records(path) if path.is_file() else ():
        if step is not None and (not found or step > found[-1]["step"]):
            found.append({**record, "step": step})
    return found


def last_records(path: Path, n: int) -> list[dict[str, Any]]:
    """Returns the last records of metrics.jsonl, at most `n`, without reading all of it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            length = TAIL
            while True:
                file.seek(max(0, size - length))
                lines = [line for line in file.read().splitlines()[1 if size > length else 0 :] if line.strip()]
                if size <= length or len(lines) > n:
                    break
                length *= 4
    except OSError:
        return []
    found = []
    for line in lines[-n - 1 :]:
        try:
            record = mapping(json.loads(line))
        except (ValueError, RecursionError):  # cut short
            continue
        if (step := number(record.get("step"))) is not None:
            found.append({**record, "step": int(step)})
    return found[-n:]
