"""Reads what the report shows from the files of a run: metrics thinned to curves, JSON files that may be missing or broken."""

import json
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from varietas.train.report.charts import Line
from varietas.train.report.figures import finite
from varietas.train.run_folder.records import CURVES, mapping, number, records

POINTS, PANEL_POINTS = 400, 80  # most points of a curve in a chart and in a small panel
SMOOTHED = 5  # least number of points that `smoothed_end` considers

Bins = dict[int, tuple[float, float, float, float]]  # place -> sum of weights, weighted sum, least and greatest value

NO_CURVE = Line("", (), ())


@dataclass(frozen=True)
class History:
    """The contents of metrics.jsonl. Curves are thinned: each point is the mean of equally many steps.

    Attributes:
        steps: Number of steps done.
        tokens: Number of tokens read.
        loss: The last finite loss.
        loss_step: The step of `loss`.
        rate: Median of tokens per second.
        not_finite: Steps without a finite loss or gradient.
        left_out: Steps that did not change the model, and why.
        unreadable: Number of lines that could not be read.
        first_unreadable: Number of the first such line, from 1.
        curves: Maps the names in `CURVES` to curves.
        together: Loss of all languages together, with as few points as `languages`.
        languages: Losses of each language. Steps count by the tokens they have of it.
        seen: Tokens read of each language.
        epochs: Passes over the text of each language.
    """

    steps: int = 0
    tokens: int = 0
    loss: float | None = None
    loss_step: int = 0
    rate: float | None = None
    not_finite: list[int] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)
    unreadable: int = 0
    first_unreadable: int = 0
    curves: dict[str, Line] = field(default_factory=dict)
    together: Line = NO_CURVE
    languages: dict[str, Line] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What the loss is measured in."""
        return "nats per pair" if "accuracy" in self.curves else "nats per token"


def read_json(path: Path) -> object:
    """Returns the contents of a JSON file, or None if it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def put(bins: Bins, place: int, value: float, weight: float = 1.0) -> None:
    """Adds a value to the bin at `place`."""
    weights, total, low, high = bins.get(place, (0.0, 0.0, value, value))
    bins[place] = weights + weight, total + weight * value, min(low, value), max(high, value)


def thinned(bins: Bins, every: int, last: int, band: bool = False) -> Line:
    """Returns a curve of the means of bins.

    Args:
        bins: Each holds the values of `every` steps.
        every: Number of steps in a bin.
        last: The last step; it may end a bin early.
        band: Whether the curve has a band from the least to the greatest value of each bin.
    """
    places = sorted(bins)
    middles = [(place * every + min(place * every + every - 1, last)) / 2 for place in places]
    low, high = ([bins[place][i] for place in places] if band and every > 1 else () for i in (2, 3))
    return Line("", middles, [bins[place][1] / bins[place][0] for place in places], low, high, every)


def smoothed_end(line: Line) -> float | None:
    """Returns the median of the last tenth of the points of a curve, at least five: one unusual step hardly changes it."""
    values = finite(line.y)
    return median(values[-max(SMOOTHED, math.ceil(len(values) / 10)) :]) if values else None


def read_metrics(path: Path) -> History:
    """Reads metrics.jsonl. Of each step it keeps eight bytes in memory, so a long run can be read too."""
    if not path.is_file():
        return History()
    with path.open("rb") as file:
        lines = 1 + sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    every, panel_every = 1 + lines // POINTS, 1 + lines // PANEL_POINTS
    curves: dict[str, Bins] = {name: {} for name in CURVES}
    together: Bins = {}
    languages: dict[str, Bins] = {}
    seen: dict[str, float] = {}
    epochs: dict[str, float] = {}
    rates, not_finite, left_out = array("d"), list[int](), dict[int, str]()
    unreadable = first_unreadable = 0
    last, tokens, last_loss, loss_step = -1, 0.0, None, 0
    for place, step, record in records(path):
        if step is None:
            unreadable, first_unreadable = unreadable + 1, first_unreadable or place
            continue
        if step <= last:  # written twice
            continue
        last = step
        if "left_out" in record:
            left_out[step] = str(record["left_out"])
            continue
        for name in CURVES:
            if (value := number(record.get(name))) is not None:
                put(curves[name], step // every, value)
        count = number(record.get("tokens")) or 0.0
        tokens += count
        loss = number(record.get("loss"))
        if loss is None or number(record.get("grad_norm")) is None:
            not_finite.append(step)
        if loss is not None:
            last_loss, loss_step = loss, step
            put(together, step // panel_every, loss, max(count, 1.0))
        if (rate := number(record.get("tokens_per_second"))) is not None:
            rates.append(rate)
        for code, entry in mapping(record.get("languages")).items():
            entry = mapping(entry)
            count = number(entry.get("tokens")) or 0.0
            seen[code] = seen.get(code, 0.0) + count
            if (passes := number(entry.get("epochs"))) is not None:
                epochs[code] = passes
            if (loss := number(entry.get("loss"))) is not None:
                put(languages.setdefault(code, {}), step // panel_every, loss, max(count, 1.0))
    return History(
        steps=last + 1,
        tokens=round(tokens),
        loss=last_loss,
        loss_step=loss_step,
        rate=median(rates) if rates else None,
        not_finite=not_finite,
        left_out=left_out,
        unreadable=unreadable,
        first_unreadable=first_unreadable,
        curves={name: thinned(bins, every, last, band=True) for name, bins in curves.items() if bins},
        together=thinned(together, panel_every, last),
        languages={code: thinned(bins, panel_every, last) for code, bins in languages.items() if bins},
        seen=seen,
        epochs=epochs,
    )
