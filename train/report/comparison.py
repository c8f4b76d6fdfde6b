"""The evaluation section: the results of each language on every evaluation text, side by side, in detail and over steps."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from varietas.data.text import languages
from varietas.train.report.axes import linear_axis, step_axis
from varietas.train.report.by_language import panels
from varietas.train.report.charts import Line, line_chart
from varietas.train.report.figures import figure, finite, fixed, percent, plural, quotient
from varietas.train.report.markup import esc, quiet
from varietas.train.run_folder.evaluations import FEW_BYTES, Evaluation, Row, compared, few_bytes
from varietas.train.run_folder.records import number

COLUMNS = ("Bits per byte", "Ratio to English", "Below unigram", "Untrained", "Unigram", "Tokens per word", "Bytes")
STATUS = {"eu": "EU", "candidate": "candidate", "other": "other"}


def evaluation_section(evaluations: Mapping[str, Sequence[Evaluation]]) -> str:
    """Shows the evaluations of a run. The first name is the main one; the details of the others are folded.

    Args:
        evaluations: The evaluations of each name in the order of their steps, as `evaluations.read_all` returns them.
    """
    if not evaluations:
        return quiet("This run has not been evaluated yet. <code>varietas evaluate</code> evaluates its newest checkpoint.")
    drawn = []
    for place, found in enumerate(evaluations.values()):
        explained = explanation(found[-1]) if place == 0 else ""
        inner = about(found[-1]) + details(found[-1]) + explained + (course(found) if len(found) > 1 else "")
        heading = f"{esc(found[-1].name)}, after step {figure(found[-1].step)}"
        if len(evaluations) == 1:
            drawn.append(inner)
        elif place == 0:
            drawn.append(f"<h3>{heading}</h3>{inner}")
        else:
            drawn.append(f"<details><summary>{heading}</summary>{inner}</details>")
    return (side_by_side([found[-1] for found in evaluations.values()]) if len(evaluations) > 1 else "") + "".join(drawn)


def about(evaluation: Evaluation) -> str:
    """Describes the step and the text of an evaluation."""
    return quiet(f"After step {figure(evaluation.step)}. Text: {esc(evaluation.text or evaluation.name)}.")


def score(row: Row) -> float | None:
    """Returns bits per byte, or None if they are missing."""
    return number(row.get("bits_per_byte"))


def worst_first(evaluation: Evaluation) -> list[str]:
    """Returns the languages of an evaluation by bits per byte, and at the end those without."""
    scores = {code: score(row) for code, row in evaluation.languages.items()}
    return sorted(scores, key=lambda code: float("inf") if (bits := scores[code]) is None else -bits)


def side_by_side(newest: Sequence[Evaluation]) -> str:
    """Draws a table of bits per byte with a column for each evaluation, in the order of the first one's languages."""
    codes = dict.fromkeys(code for evaluation in newest for code in worst_first(evaluation))
    rows = []
    for code in codes:
        untaught = any(evaluation.languages.get(code, {}).get("trained_on") is False for evaluation in newest)
        cells = (fixed(score(evaluation.languages.get(code, {}))) for evaluation in newest)
        rows.append(f"<tr>{heading_cell(code, {'trained_on': not untaught})}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = [f'<span class="name">{esc(evaluation.name)}</span><br><small>step {figure(evaluation.step)}</small>' for evaluation in newest]
    note = "Bits per byte of the newest evaluation on each text; fewer are better. Texts differ in difficulty: compare within a column."
    return f"<h3>All texts</h3>{table(head, rows)}{quiet(note)}"


def table(columns: Sequence[str], rows: Sequence[str]) -> str:
    """Draws a table of languages. `columns` are the headings after the first, `rows` are table rows; both are HTML."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Language", *columns))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def heading_cell(code: str, row: Row) -> str:
    """Draws the first cell of a row: the names and the code of a language, and marks for what limits its result."""
    language = languages.find(code)
    own = f"<i>{esc(language.own_name)}</i> <small>{esc(code)} · {STATUS[language.status]}" if language else f"<small>{esc(code)}"
    marks = [text for text, holds in (("no training text", row.get("trained_on") is False), ("short text", few_bytes(row))) if holds]
    drawn = "".join(f' <small class="mark">{text}</small>' for text in marks)
    return f'<th scope="row">{esc(languages.name(code))}{drawn}<br>{own}</small></th>'


def details(evaluation: Evaluation) -> str:
    """Draws the table of an evaluation, worst language first."""
    codes, rows = worst_first(evaluation), evaluation.languages
    english = next((score(rows[code]) for code in codes if languages.find(code) is languages.LANGUAGES["eng_Latn"]), None)
    longest = max(finite(score(row) for row in rows.values()), default=0.0)
    shown = [name for name in COLUMNS if english or name != "Ratio to English"]
    body = []
    for code in codes:
        row, bits = rows[code], score(rows[code])
        untrained, unigram, size, tokens, words = (number(row.get(key)) for key in ("untrained", "unigram", "bytes", "tokens", "words"))
        part, length = quotient(bits, unigram), 100 * (quotient(bits, longest) or 0.0)
        cells = {
            "Bits per byte": f'<b>{fixed(bits)}</b><span class="meter"><i style="width:{length:.1f}%"></i></span>',
            "Ratio to English": fixed(quotient(bits, english), 2),
            "Below unigram": percent(None if part is None else 1 - part),
            "Untrained": fixed(untrained),
            "Unigram": fixed(unigram),
            "Tokens per word": fixed(quotient(tokens, words), 2),
            "Bytes": figure(size),
        }
        drawn = "".join(f"<td>{cells[name]}</td>" for name in shown)
        body.append(f"<tr{' class=untaught' if row.get('trained_on') is False else ''}>{heading_cell(code, row)}{drawn}</tr>")
    return table(shown, body)


def explanation(evaluation: Evaluation) -> str:
    """Explains the columns of `details`."""
    note = (
        "Fewer bits per byte are better. They can be compared between tokenizers, and between languages as far as their texts say the "
        "same. “Untrained” is a model of this shape with random parameters. “Unigram” is a model that knows only how often each token "
        "occurs in the training text, and “Below unigram” is how far the run’s bits per byte are below it."
    )
    if len(evaluation.languages) > 1:
        note = f"Worst language first. {note}"
    if any(few_bytes(row) for row in evaluation.languages.values()):
        note += f" “Short text” marks less than {FEW_BYTES} bytes: the result is mostly chance."
    return quiet(note)


def course(found: Sequence[Evaluation]) -> str:
    """Draws bits per byte over the steps of the evaluations of one text: each language, then the worst, the mean and the best."""
    steps = [evaluation.step for evaluation in found]
    scores = {
        code: [score(evaluation.languages.get(code, {})) for evaluation in found]
        for code in dict.fromkeys(code for evaluation in found for code in evaluation.languages)
    }
    lines = {code: Line(languages.name(code), steps, ys) for code, ys in scores.items() if finite(ys)}
    if not lines:
        return ""
    heading = f"<h3>{plural(len(steps), 'evaluation')}, after steps {figure(steps[0])} to {figure(steps[-1])}</h3>"
    if len(lines) == 1:
        (line,) = lines.values()
        return heading + line_chart([line], title=f"{line.name}: bits per byte")
    fair = [list(compared(evaluation.languages).values()) for evaluation in found]
    worst = Line("worst language", steps, [max(bits, default=None) for bits in fair])
    best = Line("best language", steps, [min(bits, default=None) for bits in fair])
    mean = Line("mean", steps, [fmean(bits) if bits else None for bits in fair])
    x_axis, y_axis = step_axis(steps), linear_axis(finite(y for line in lines.values() for y in line.y))
    ends = {code: finite(line.y)[-1] for code, line in lines.items()}
    above = quiet(
        f"Worst language first. The number beside a name is the newest result. Each panel spans {figure(y_axis.low)} to "
        f"{figure(y_axis.high)} bits per byte. The grey curve is the mean."
    )
    below = quiet(
        "Worst, mean and best are taken at each step over the languages that the run trained on and that have at least "
        f"{FEW_BYTES} bytes of text; if there are none, over all languages. Each language has the same weight in the mean."
    )
    chart = line_chart([worst, mean, best], title="Worst, mean and best: bits per byte")
    return heading + panels(lines, ends, mean, x_axis, y_axis) + above + chart + below
