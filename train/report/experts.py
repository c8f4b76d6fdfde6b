"""The section of the report on a mixture of experts: how even their work is, and which languages have experts of their own."""

import json
from pathlib import Path

import numpy as np

from varietas.data.text import languages
from varietas.train.report.charts import Bar, bar_chart, line_chart
from varietas.train.report.figures import figure, percent
from varietas.train.report.history import History
from varietas.train.report.markup import quiet, title_of
from varietas.train.run_folder.metrics import EXPERTS
from varietas.train.run_folder.records import mapping, number

Loads = dict[str, np.ndarray]  # tokens of each expert of each layer, by language, float64 (R, E)


def read_loads(run: Path) -> Loads:
    """Returns the last loads of the experts of a run; none if there is no such file, or its last lines are broken."""
    file = run / EXPERTS
    for line in reversed(file.read_text("utf-8", "replace").splitlines()) if file.is_file() else ():
        try:
            record = mapping(json.loads(line))
            loads = {code: np.array(of_language, np.float64) for code, of_language in mapping(record.get("loads")).items()}
        except (ValueError, RecursionError):
            continue
        if number(record.get("step")) is not None and loads and {x.ndim for x in loads.values()} == {2}:
            return loads
    return {}


def distances(loads: Loads) -> dict[str, float]:
    """Returns for each language which share of its tokens goes to other experts than those of all languages do, averaged over layers.

    It is the distance in total variation between the two distributions over experts: 0 if the language goes where all go, and near 1 if it
    has experts of its own.
    """
    total = np.sum(list(loads.values()), axis=0)
    return {code: float(0.5 * np.abs(_shares(of_language) - _shares(total)).sum(1).mean()) for code, of_language in loads.items()}


def _shares(loads_RE: np.ndarray) -> np.ndarray:
    return loads_RE / np.maximum(loads_RE.sum(1, keepdims=True), 1)


def experts_section(history: History, loads: Loads) -> str:
    """Draws how even the work of experts is over steps, and for each language how far its experts are those of others."""
    said = line_chart([history.curves["max_violation"]], title="Busiest expert above the mean", height=150, zero=True)
    said += quiet("The share by which the busiest expert of a layer has more tokens than the mean, averaged over layers; 0 is even.")
    if not loads:
        return said
    apart = distances(loads)
    rows = []
    for code in sorted(apart, key=lambda code: (-apart[code], code)):
        busiest = float(_shares(loads[code]).max(1).mean())
        tokens = float(loads[code][0].sum())
        hint = f"{title_of(code)}: {figure(tokens)} choices in each layer"
        rows.append(Bar(languages.name(code), apart[code], busiest, (percent(apart[code]), percent(busiest)), hint))
    note = (
        "“Apart” is the share of the tokens of a language that goes to other experts than the tokens of all languages do. “Busiest” is "
        "the share of its tokens that its busiest expert has. Both are averaged over layers. They count the steps between the last two "
        "checkpoints."
    )
    return said + bar_chart(rows, names=("apart", "busiest"), columns=("apart", "busiest")) + quiet(note)
