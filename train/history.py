"""What a run's files say, read for the report: JSON that may be missing or broken, metrics thinned to curves."""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from varietas.train.charts import Line

POINTS, PANEL_POINTS = 400, 80  # of a curve and of a small curve, at most
CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "mfu")

Bins = dict[int, tuple[int, float, float, float]]  # place -> how many, sum, least, most


@dataclass(frozen=True)
class History:
    """What metrics.jsonl says, each curve thinned to means of equal spans of steps."""

    steps: int = 0  # done
    tokens: int = 0
    loss: float | None = None  # the last that is finite
    rate: float | None = None  # median of tokens per second
    not_finite: list[int] = field(default_factory=list)  # steps whose loss or gradient is not
    curves: dict[str, Line] = field(default_factory=dict)
    languages: dict[str, Line] = field(default_factory=dict)  # losses; "" is all together
    seen: dict[str, float] = field(default_factory=dict)  # tokens of each language, and its epochs
    epochs: dict[str, float] = field(default_factory=dict)


def number(value: object) -> float | None:
    """A finite number, or None for anything else that a file may hold in its place."""
    if isinstance(value, (int, float)) and -1e300 < value < 1e300 and not isinstance(value, bool):
        return float(value)
    return None


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def read_json(path: Path) -> Any:
    """What a JSON file holds; None if it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, record), a line at a time. A line cut short, or a step that was there before, is left out."""
    last = -1
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = mapping(json.loads(line))
            except ValueError:
                continue
            step = number(record.get("step"))
            if step is not None and step > last:
                last = int(step)
                yield last, record


def put(bins: Bins, place: int, value: float) -> None:
    n, total, low, high = bins.get(place, (0, 0.0, value, value))
    bins[place] = n + 1, total + value, min(low, value), max(high, value)


def thinned(bins: Bins, width: int) -> Line:
    """Bins of `width` steps as the curve of their means at their middles, with their ranges."""
    places = sorted(bins)
    low, high = ([bins[place][i] for place in places] if width > 1 else [] for i in (2, 3))
    return Line("", [place * width + (width - 1) / 2 for place in places], [bins[p][1] / bins[p][0] for p in places], low, high)


def read_metrics(path: Path) -> History:
    """Reads metrics.jsonl in memory that hardly grows with its steps: by eight bytes each."""
    if not path.is_file():
        return History()
    with path.open("rb") as file:
        lines = 1 + sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    width, panel_width = 1 + lines // POINTS, 1 + lines // PANEL_POINTS
    curves: dict[str, Bins] = {name: {} for name in CURVES}
    by_language: dict[str, Bins] = {"": {}}
    seen: dict[str, float] = {}
    epochs: dict[str, float] = {}
    rates, not_finite = array("d"), list[int]()
    step, tokens, last_loss = -1, 0.0, None
    for step, record in records(path):
        for name in CURVES:
            if (value := number(record.get(name))) is not None:
                put(curves[name], step // width, value)
        tokens += number(record.get("tokens")) or 0
        loss = number(record.get("loss"))
        if loss is None or number(record.get("grad_norm")) is None:
            not_finite.append(step)
        if loss is not None:
            last_loss = loss
            put(by_language[""], step // panel_width, loss)
        if (rate := number(record.get("tokens_per_second"))) is not None:
            rates.append(rate)
        for code, entry in mapping(record.get("languages")).items():
            entry = mapping(entry)
            seen[code] = seen.get(code, 0.0) + (number(entry.get("tokens")) or 0.0)
            if (passes := number(entry.get("epochs"))) is not None:
                epochs[code] = passes
            if (loss := number(entry.get("loss"))) is not None:
                put(by_language.setdefault(code, {}), step // panel_width, loss)
    return History(
        steps=step + 1,
        tokens=round(tokens),
        loss=last_loss,
        rate=median(rates) if rates else None,
        not_finite=not_finite,
        curves={name: thinned(bins, width) for name, bins in curves.items() if bins},
        languages={code: thinned(bins, panel_width) for code, bins in by_language.items() if bins},
        seen=seen,
        epochs=epochs,
    )
