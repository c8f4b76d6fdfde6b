"""Evaluations and comparisons of runs as tables for the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.train.run_folder.evaluations import Evaluation, Row
    from varietas.train.statistics.bootstrap import Interval
    from varietas.train.statistics.comparisons import Compared
    from varietas.train.statistics.paired import Comparison

MANY = 30  # languages that are listed by name
SHOWN = 6  # sources that have a column
MEASURES = {"gap": "worst - best", "ratio": "worst / best", "gini": "Gini coefficient"}


def between(interval: "Interval | None", signed: bool = False) -> str:
    """Formats an interval: `1.203–1.251`, `+0.003 … +0.021`."""
    if interval is None:
        return "–"
    low, high = interval
    return f"{low:+.3f} … {high:+.3f}" if signed else f"{low:.3f}–{high:.3f}"


def evaluation_table(rows: "Mapping[str, Row]") -> Table:
    """Tables the languages in the order of the rows, which is the worst first."""
    from varietas.data.text.languages import name
    from varietas.train.run_folder.evaluations import few_bytes

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    headings = ("language", "", "bits/byte", "95 %", "×English", "<unigram", "unigram", "untrained", "tokens/word", "bytes")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("language", "") else "right", no_wrap=True)
    table.columns[1].max_width = 18
    english = rows.get("eng_Latn")
    for code, row in rows.items():
        table.add_row(
            code,
            name(code),
            f"{row['bits_per_byte']:.3f}",
            between(row["interval"]),
            f"{row['bits_per_byte'] / english['bits_per_byte']:.2f}" if english else "–",
            f"{1 - row['bits_per_byte'] / row['unigram']:.0%}" if row["unigram"] else "–",
            *("–" if bits is None else f"{bits:.3f}" for bits in (row["unigram"], row["untrained"])),
            f"{row['tokens'] / max(1, row['words']):.2f}",
            f"{row['bytes']:,}{'*' if few_bytes(row) else ' '}",
            style="" if row["trained_on"] else "dim",
        )
    return table


def source_table(rows: "Mapping[str, Row]") -> Table | None:
    """Tables bits per byte by source, with the SHOWN sources of most text as columns; None if the text has a single source."""
    sizes: dict[str, int] = {}
    for row in rows.values():
        for source, part in row["sources"].items():
            sizes[source] = sizes.get(source, 0) + part["bytes"]
    if not sizes:
        return None
    shown = sorted(sizes, key=lambda source: -sizes[source])[:SHOWN]
    table = Table("by source", *(source or "no source" for source in shown), box=None, pad_edge=False)
    align_right(table, *range(1, 1 + len(shown)))
    for code, row in rows.items():
        parts = [row["sources"].get(source) for source in shown]
        table.add_row(code, *(f"{part['bits_per_byte']:.3f}" if part else "–" for part in parts), style="" if row["trained_on"] else "dim")
    return table


def summary(evaluation: "Evaluation") -> Text:
    """Says which languages are best and worst, how far they are apart, and what the marks of the table mean."""
    from varietas.data.text.languages import name
    from varietas.train.run_folder.evaluations import FEW_BYTES, compared, few_bytes

    rows = evaluation.languages
    scores = compared(rows)
    (worst, high), (best, low) = next(iter(scores.items())), list(scores.items())[-1]
    lines = [
        "<unigram: how far below a model that knows only token frequencies; ×English: bits per byte over those of English",
        f"best {name(best)} {low:.3f}, worst {name(worst)} {high:.3f}",
    ]
    if evaluation.parity:
        lines.append(f"parity of {len(scores)} languages: {parity_line(evaluation.parity)}")
    if not all(row["trained_on"] for row in rows.values()):
        untrained = [name(code) for code, row in rows.items() if not row["trained_on"]]
        listed = ", ".join(untrained) if len(untrained) <= MANY else f"{len(untrained)} languages"
        lines.append(f"dim, no training text: {listed}")
    if any(map(few_bytes, rows.values())):
        lines.append(f"*: less than {FEW_BYTES} bytes of text, so mostly chance")
    if single := [code for code, row in rows.items() if row["documents"] == 1]:
        which = "no language has" if len(single) == len(rows) else f"{len(single)} of {len(rows)} languages have no interval: none has"
        lines.append(f"{which} more than one document, from which an interval would come")
    return Text("\n".join(lines))


def parity_line(parity: Mapping[str, Any]) -> str:
    """Formats the three figures of parity, with their intervals."""
    figures = []
    for key, what in MEASURES.items():
        interval = parity[key]["interval"]
        figures.append(f"{what} {parity[key]['value']:.3f}" + (f" ({between(interval)})" if interval else ""))
    return ", ".join(figures)


def comparison_table(first: "Compared", second: "Compared", comparison: "Comparison") -> Table:
    """Tables how the second model differs from the first, worst change first."""
    from varietas.data.text.languages import name
    from varietas.train.report.figures import compact

    headings = ("language", "", first.label, second.label, "change", "95 %", "p", "documents", "tokens seen", "")
    table = Table(*headings, box=None, pad_edge=False)
    align_right(table, *range(2, len(headings)))
    for each in comparison.languages:
        seen = [of.evaluation.languages[each.code].get("tokens_seen") for of in (first, second)]
        table.add_row(
            each.code,
            name(each.code),
            f"{each.first:.3f}",
            f"{each.second:.3f}",
            f"{each.change:+.3f}",
            between(each.interval, signed=True),
            "–" if each.p is None else f"{each.p:.3f}" if each.p >= 0.001 else "<0.001",
            f"{each.documents:,}",
            *(compact(tokens) for tokens in seen),
            style="" if not each.significant else "red" if each.change > 0 else "green",
        )
    return table


def verdict(first: "Compared", second: "Compared", comparison: "Comparison") -> Text:
    """Says in how many languages the second model is better or worse, and how far apart the languages of each are."""
    from varietas.train.statistics.paired import FALSE_STATEMENTS

    better, worse, n = comparison.count(better=True), comparison.count(better=False), len(comparison.languages)
    single = sum(each.p is None for each in comparison.languages)
    lines = []
    if single < n:
        same = n - single - better - worse
        sure = f"the chance that any of these is wrong is {FALSE_STATEMENTS:.0%}"
        lines.append(f"red, green: significantly worse, better; {sure} (p has Holm's correction)")
        lines.append(f"{second.label} is better in {better} languages, worse in {worse}, and not significantly different in {same}")
    if single:
        lines.append(f"{single} languages have a single document, which shows nothing for certain; --text can name more")
    for of, parity in zip((first, second), comparison.parity, strict=True):
        if parity is not None:
            from dataclasses import asdict

            lines.append(f"parity of {parity.languages} languages, {of.label}: {parity_line(asdict(parity))}")
    return Text("\n".join(lines))
