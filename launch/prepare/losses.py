"""What cleaning has cost each language, beside the median language: a table and a page with a chart.

A language loses the records that were rejected, for whatever reason. Records whose language is not known belong to none.
"""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from varietas.data.files import write_atomically
from varietas.data.text.languages import name
from varietas.launch.plan.page import COLOURS, MORE_STYLE, stacked_bars
from varietas.launch.tables import align_right
from varietas.train.report.figures import compact, percent
from varietas.train.report.markup import document, esc, quiet, sections

OTHER = "other reasons"


@dataclass(frozen=True)
class Loss:
    """The records of a language that were rejected.

    Attributes:
        records: Number of its records.
        reasons: Number of those that were rejected, by reason, the commonest first.
    """

    records: int
    reasons: Mapping[str, int]

    @property
    def lost(self) -> int:
        """How many records were rejected."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """The share of the records that were rejected."""
        return self.lost / self.records


def losses_of(manifest: Mapping[str, Any]) -> dict[str, Loss]:
    """Returns the losses of each language of a corpus, by label, the largest share first."""
    rejected = {code: Counter(reasons) for code, reasons in manifest["rejected_by_language"].items() if code}
    kept = {code: row["documents"] for code, row in manifest["languages"].items()}
    found = {}
    for code in rejected.keys() | kept.keys():
        reasons = rejected.get(code, Counter())
        found[code] = Loss(reasons.total() + kept.get(code, 0), dict(reasons.most_common()))
    return dict(sorted(found.items(), key=lambda item: (-item[1].share, item[0])))


def median_share(losses: Mapping[str, Loss]) -> float:
    """Returns the share that the median language loses, 0 without languages."""
    return statistics.median(loss.share for loss in losses.values()) if losses else 0.0


def times_median(loss: Loss, median: float) -> str:
    """Returns how many times the median share a language loses, as text; "" if the median language loses nothing."""
    return f"{loss.share / median:.1f} ×" if median else ""


def losses_table(manifest: Mapping[str, Any]) -> Table:
    """Tables the languages that lost a larger part of their records than the median language, the largest first, with the main reason."""
    table = Table("lost more than others", "", "lost", "of its records", "median", "mostly", box=None, pad_edge=False)
    align_right(table, 2, 3, 4)
    losses = losses_of(manifest)
    median = median_share(losses)
    for code, loss in losses.items():
        if loss.share > median:
            reason, n = next(iter(loss.reasons.items()))
            table.add_row(code, name(code), f"{loss.lost:,}", f"{loss.share:.1%}", times_median(loss, median), f"{reason} ({n:,})")
    return table


def render(manifest: Mapping[str, Any]) -> str:
    """Returns a page that draws the losses of each language by reason, the largest first."""
    losses = losses_of(manifest)
    median = median_share(losses)
    total = sum((Counter(loss.reasons) for loss in losses.values()), Counter[str]())
    common = [reason for reason, _ in total.most_common(len(COLOURS) - 1)]
    names = [*common, *([OTHER] if len(total) > len(common) else [])]
    rows = {}
    for code, loss in losses.items():
        parts = {reason: loss.reasons.get(reason, 0) / loss.records for reason in common}
        said = f"{percent(loss.share)} of {compact(loss.records)}"
        rows[name(code) or code] = ({**parts, OTHER: loss.share - sum(parts.values())} if OTHER in names else parts, said)
    chart = stacked_bars(rows, median) if total else quiet("No record was rejected.")
    about = quiet(f"Shares of the records of each language. The line is the median language, which loses {percent(median)}.")
    head = "<th>language</th><th>records</th><th>lost</th><th>share</th><th>median</th>" + "".join(f"<th>{esc(n)}</th>" for n in names)
    lines = []
    for code, loss in losses.items():
        other = loss.lost - sum(loss.reasons.get(reason, 0) for reason in common)
        counts = [loss.reasons.get(reason, 0) if reason != OTHER else other for reason in names]
        cells = [f"{loss.records:,}", f"{loss.lost:,}", percent(loss.share), times_median(loss, median), *(f"{n:,}" for n in counts)]
        lines.append(f"<tr><td>{esc(name(code) or code)}</td>" + "".join(f"<td>{esc(cell)}</td>" for cell in cells) + "</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    title = "What cleaning costs each language"
    main = f"<header><h1>{title}</h1><p>{manifest['records_read']:,} records, {manifest['documents']:,} documents</p></header>"
    return document(f"{title} · Varietas", main + sections({"Losses": about + chart, "Table": table}), style=MORE_STYLE)


def write_page(file: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the page, whole or not at all."""
    write_atomically(file, render(manifest).encode())
