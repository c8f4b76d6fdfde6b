"""The evaluation section: the results of each language on every evaluation text, side by side, in detail and over steps.

Beside each result stand its interval and the tokens of the language that training has read, so that too little data and a poor result for
the data can be told apart.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from varietas.data.text import languages
from varietas.train.report.axes import linear_axis, step_axis
from varietas.train.report.by_language import panels
from varietas.train.report.charts import Line, line_chart
from varietas.train.report.figures import compact, figure, finite, fixed, percent, plural, quotient
from varietas.train.report.markup import esc, quiet, table
from varietas.train.run_folder.evaluations import FEW_BYTES, Evaluation, Row, compared, few_bytes
from varietas.train.run_folder.records import mapping, number, objects

COLUMNS = ("Bits per byte", "95 %", "Tokens seen", "Ratio to English", "Below unigram", "Untrained", "Unigram", "Tokens per word", "Bytes")
MEASURES = {"gap": "Worst − best", "ratio": "Worst / best", "gini": "Gini coefficient"}  # of parity
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
        inner = about(found[-1]) + details(found[-1]) + explained + by_source(found[-1])
        inner += parity_table({f"Step {figure(found[-1].step)}": found[-1].parity})
        inner += course(found) if len(found) > 1 else ""
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
    return f"<h3>All texts</h3>{table(('Language', *head), rows)}{quiet(note)}"


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
    absent = {
        "Ratio to English": not english,
        "95 %": not any(row.get("interval") for row in rows.values()),
        "Tokens seen": not any(row.get("tokens_seen") for row in rows.values()),
    }
    shown = [name for name in COLUMNS if not absent.get(name)]
    body = []
    for code in codes:
        row, bits = rows[code], score(rows[code])
        untrained, unigram, size, tokens, words = (number(row.get(key)) for key in ("untrained", "unigram", "bytes", "tokens", "words"))
        part, length = quotient(bits, unigram), 100 * (quotient(bits, longest) or 0.0)
        cells = {
            "Bits per byte": f'<b>{fixed(bits)}</b><span class="meter"><i style="width:{length:.1f}%"></i></span>',
            "95 %": interval(row.get("interval")),
            "Tokens seen": compact(number(row.get("tokens_seen"))),
            "Ratio to English": fixed(quotient(bits, english), 2),
            "Below unigram": percent(None if part is None else 1 - part),
            "Untrained": fixed(untrained),
            "Unigram": fixed(unigram),
            "Tokens per word": fixed(quotient(tokens, words), 2),
            "Bytes": figure(size),
        }
        drawn = "".join(f"<td>{cells[name]}</td>" for name in shown)
        body.append(f"<tr{' class=untaught' if row.get('trained_on') is False else ''}>{heading_cell(code, row)}{drawn}</tr>")
    return table(("Language", *shown), body)


def interval(value: object) -> str:
    """Formats an interval; a dash stands for none."""
    found = bounds(value)
    return f"{fixed(found[0])} … {fixed(found[1])}" if found else "–"


def by_source(evaluation: Evaluation) -> str:
    """Draws the table of bits per byte by source, folded; nothing if the text has a single source."""
    parts = {code: mapping(row.get("sources")) for code, row in evaluation.languages.items()}
    if not (sources := dict.fromkeys(source for of in parts.values() for source in of)):
        return ""
    rows = []
    for code in worst_first(evaluation):
        found = [mapping(parts[code].get(source)) for source in sources]
        cells = (f"<td>{fixed(score(part))}<br><small>{interval(part.get('interval'))}</small></td>" for part in found)
        rows.append(f"<tr>{heading_cell(code, evaluation.languages[code])}{''.join(cells)}</tr>")
    headings = ("Language", *(esc(source) or "no source" for source in sources))
    return f"<details><summary>By source</summary>{table(headings, rows)}</details>"


def parity_table(parities: Mapping[str, Mapping[str, Any]]) -> str:
    """Draws how far apart the languages are, with a column for each evaluation; nothing if that is not known."""
    if not all(parities.values()):
        return ""
    rows = []
    for key, name in MEASURES.items():
        found = [mapping(parity.get(key)) for parity in parities.values()]
        cells = (f"<b>{fixed(number(of.get('value')))}</b><br><small>{interval(of.get('interval'))}</small>" for of in found)
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    counted = figure(number(next(iter(parities.values())).get("languages")))
    note = (
        f"Bits per byte of {counted} languages with enough text, of those that training has read. The Gini coefficient is half the mean "
        "difference between two languages over the mean, and 0 if all are equal. Small figures are 95 % intervals."
    )
    return table(("Parity of languages", *parities), rows) + quiet(note)


def explanation(evaluation: Evaluation) -> str:
    """Explains the columns of `details`."""
    note = (
        "Fewer bits per byte are better. They can be compared between tokenizers, and between languages as far as their texts say the "
        "same. “Untrained” is a model of this shape with random parameters. “Unigram” is a model that knows only how often each token "
        "occurs in the training text, and “Below unigram” is how far the run’s bits per byte are below it."
    )
    if len(evaluation.languages) > 1:
        note = f"Worst language first. {note}"
    if any(row.get("interval") for row in evaluation.languages.values()):
        note += " “95 %” is the interval in which the result lies if other documents like these are drawn (bootstrap over documents)."
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
    return heading + panels(lines, ends, mean, x_axis, y_axis) + above + chart + below + parity_course(found) + by_tokens(found)


def parity_course(found: Sequence[Evaluation]) -> str:
    """Draws the figures of parity over steps, with their intervals; nothing if they are not known."""
    drawn = []
    for key, name in MEASURES.items():
        known = [(evaluation.step, mapping(evaluation.parity.get(key))) for evaluation in found]
        points = [(step, value, bounds(of.get("interval"))) for step, of in known if (value := number(of.get("value"))) is not None]
        if points:
            steps, values, intervals = zip(*points, strict=True)
            low, high = zip(*filter(None, intervals), strict=True) if all(intervals) else ((), ())
            drawn.append(line_chart([Line("", steps, values, low, high)], title=name, height=150))
    if not drawn:
        return ""
    note = "How far apart the languages are that the run trained on; 95 % intervals as bands. Lower is fairer."
    return f'<div class="side">{"".join(drawn)}</div>{quiet(note)}'


def by_tokens(found: Sequence[Evaluation]) -> str:
    """Draws bits per byte of each language over the tokens that training has read of it; nothing if these are not known."""
    lines = {}
    for code in dict.fromkeys(code for evaluation in found for code in evaluation.languages):
        rows = [evaluation.languages.get(code, {}) for evaluation in found]
        points = [(x, y) for row in rows if (x := number(row.get("tokens_seen"))) and (y := score(row)) is not None]
        if points:
            lines[code] = Line(languages.name(code), [x for x, _ in points], [y for _, y in points])
    if len(lines) < 2:
        return ""
    n = max(len(line.x) for line in lines.values())
    whole = [line for line in lines.values() if len(line.x) == n]
    mean = Line(
        "mean", [fmean(line.x[k] for line in whole) for k in range(n)], [fmean(finite([line.y[k] for line in whole])) for k in range(n)]
    )
    x_axis = step_axis([x for line in lines.values() for x in line.x])
    y_axis = linear_axis(finite(y for line in lines.values() for y in line.y))
    ends = {code: finite(line.y)[-1] for code, line in lines.items()}
    note = (
        f"The same results over the tokens that training has read of each language. Each panel spans 0 to {compact(x_axis.high)} tokens "
        f"and {figure(y_axis.low)} to {figure(y_axis.high)} bits per byte. A curve that ends early lacks data. A curve above the grey mean "
        "at as many tokens does worse with the same data: its text is harder, its tokens carry less, or the data are poorer."
    )
    return f"<h3>By tokens seen</h3>{panels(lines, ends, mean, x_axis, y_axis)}{quiet(note)}"


def comparisons_section(records: Sequence[Mapping[str, Any]]) -> str:
    """Shows how the run differs from others with which `varietas evaluate --run … --run …` has compared it, newest first."""
    drawn = list[str]()
    for record in reversed(records):
        one, other = (
            f"{esc(str(record.get(label, '')))} (step {figure(number(record.get(step)))})"
            for label, step in (("label", "step"), ("against", "against_step"))
        )
        parities = objects(record.get("parity"))
        both = {"First": parities[0], "Second": parities[1]} if len(parities) == 2 else {"": {}}
        inner = difference_table(objects(record.get("languages")), str(record.get("text") or record.get("name", ""))) + parity_table(both)
        heading = f"{one} against {other}"
        drawn.append(f"<details><summary>{heading}</summary>{inner}</details>" if drawn else f"<h3>{heading}</h3>{inner}")
    note = (
        "Bits per byte over the documents that both were evaluated on, worst change first. Intervals come from a paired bootstrap over "
        "documents; p-values from a randomisation test, with Holm’s correction for the number of languages: the chance that any verdict of "
        "“better” or “worse” is wrong is 5 %."
    )
    return "".join(drawn) + quiet(note)


def difference_table(rows: Sequence[Mapping[str, Any]], text: str) -> str:
    """Draws how two models differ on a text, language by language, and says in how many the second is better."""
    verdicts = [verdict(row) for row in rows]
    body = []
    for row, said in zip(rows, verdicts, strict=True):
        first, second, change, p = (fixed(number(row.get(key))) for key in ("first", "second", "change", "p"))
        figures = (first, second, f"<b>{change}</b>", interval(row.get("interval")), p, said, figure(number(row.get("documents"))))
        body.append(f"<tr>{heading_cell(str(row.get('code')), {})}{''.join(f'<td>{cell}</td>' for cell in figures)}</tr>")
    better, worse, same = (verdicts.count(said) for said in ("better", "worse", "no difference"))
    summary = (
        f"Better in {plural(better, 'language')}, worse in {figure(worse)}, not significantly different in {figure(same)}. "
        f"{plural(verdicts.count('–'), 'language')} with a single document cannot be tested. Text: {esc(text)}."
    )
    return quiet(summary) + table(("Language", "First", "Second", "Change", "95 %", "p", "Verdict", "Documents"), body)


def verdict(row: Mapping[str, Any]) -> str:
    """Says whether the second model is better, worse or not significantly different; a dash if that cannot be tested."""
    change = number(row.get("change"))
    if change is None or number(row.get("p")) is None:
        return "–"
    return "no difference" if not row.get("significant") else "worse" if change > 0 else "better"


def bounds(value: object) -> tuple[float, float] | None:
    """Returns an interval if a value is one, otherwise None."""
    low, high = map(number, value) if isinstance(value, (list, tuple)) and len(value) == 2 else (None, None)
    return None if low is None or high is None else (low, high)
