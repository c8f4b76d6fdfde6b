"""The records of metrics.jsonl, one for each step: how to read them from a file that may be cut short or broken.

For notebooks, they become losses by step and language.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # on demand: mistakes are answered at once
    import numpy as np
    from matplotlib.axes import Axes

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


def objects(value: object) -> list[dict[str, Any]]:
    """Returns the objects of a JSON array that are not empty; none if the value is no array."""
    return [item for item in value if mapping(item)] if isinstance(value, list) else []


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


@dataclass(frozen=True)
class Losses:
    """Losses in nats a token; of preferences, in nats a pair.

    Attributes:
        steps: Numbers of the steps, from 0, int64 (n,).
        loss: The loss of all languages together after each of these steps, float64 (n,). NaN where it was not a number.
        languages: Maps the code of a language to its loss, float64 (n,). NaN also where a step had no text of the language.
    """

    steps: "np.ndarray"
    loss: "np.ndarray"
    languages: "dict[str, np.ndarray]"

    def plot(self, languages: Sequence[str] = ()) -> "Axes":
        """Draws the loss of all languages together, and those of `languages`. Needs matplotlib (extra `notebook`)."""
        import matplotlib.pyplot as plt

        _, axes = plt.subplots()
        for code in languages:
            axes.plot(self.steps, self.languages[code], linewidth=0.8, label=code)
        axes.plot(self.steps, self.loss, color="black", linewidth=1.6, label="all")
        axes.set(xlabel="step", ylabel="loss (nats)")
        axes.legend(ncols=2, fontsize="small")
        return axes


def read_losses(run: Path) -> Losses:
    """Reads the losses of a run from its metrics.jsonl. Lines that are cut short or broken are left out."""
    import numpy as np

    found = readable(run / "metrics.jsonl")
    by_language = [mapping(record.get("languages")) for record in found]
    codes = sorted({code for languages in by_language for code in languages})

    def column(values: Sequence[object]) -> "np.ndarray":
        return np.array([number(value) for value in values], np.float64)  # None becomes NaN

    return Losses(
        np.array([record["step"] for record in found], np.int64),
        column([record.get("loss") for record in found]),
        {code: column([mapping(languages.get(code)).get("loss") for languages in by_language]) for code in codes},
    )
