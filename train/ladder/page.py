"""The findings of a ladder as one HTML page, in the style of the report of a run."""

from pathlib import Path

from varietas.data.files import write_atomically
from varietas.train.ladder.findings import ALL, Findings, advice
from varietas.train.report.charts import Bar, bar_chart
from varietas.train.report.figures import compact, fixed
from varietas.train.report.markup import document, esc, quiet, sections, table, title_of


def write_page(file: Path, title: str, found: Findings) -> None:
    """Writes the page."""
    parts = {
        "Advice": "".join(f"<p>{esc(sentence)}</p>" for sentence in advice(found)),
        "Languages": languages_section(found),
        "Runs": runs_section(found),
    }
    head = f'<header><p class="eyebrow"><span>Varietas · a ladder of runs</span></p><h1>{esc(title)}</h1></header>'
    write_atomically(file, document(esc(title), head + sections(parts)).encode())


def languages_section(found: Findings) -> str:
    """Draws for each language what is predicted, and what no budget goes below."""
    rows, (_, _, doubled) = [], found.with_budget(2.0)
    for code, bits in found.predicted.items():
        low, high = found.interval(code)
        floor, twice = found.laws[code].constants["E"], doubled[code]
        rows.append(
            Bar(title_of(code).split(" · ")[0], bits, floor, (fixed(bits), f"{fixed(low, 2)}–{fixed(high, 2)}", fixed(twice), fixed(floor)))
        )
    chart = bar_chart(rows, names=("predicted bits per byte", "what no budget goes below"), columns=("bits", "90 %", "2 ×", "floor"))
    said = (
        "The interval holds nine tenths of the predictions of resampled ladders; it is no promise. 2 ×: with twice the budget, best spent."
    )
    return chart + quiet(said)


def runs_section(found: Findings) -> str:
    """Tables the runs, and what the law says of each."""
    rows = []
    for run, bits in zip(found.runs, found.bits, strict=True):
        law = found.laws[ALL].loss(run.n_params, run.tokens)
        cells = (compact(run.n_params), compact(run.tokens), f"{run.flops:.2g}", fixed(bits[ALL]), fixed(law))
        rows.append(f'<tr><th scope="row">{esc(run.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    names = ("Run", "Parameters", "Tokens", "FLOP", "Bits per byte", "By the law")
    return table(names, rows)
