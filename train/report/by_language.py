"""Small panels, one for each language on shared axes, and the section of losses that is made of them."""

from collections.abc import Mapping
from dataclasses import replace

from varietas.data.text import languages
from varietas.train.report.axes import Axis, linear_axis, step_axis
from varietas.train.report.charts import FEW, Line, line_chart, panel
from varietas.train.report.figures import figure, finite, fixed
from varietas.train.report.history import SMOOTHED, History, smoothed_end
from varietas.train.report.markup import esc, quiet, title_of


def panels(lines: Mapping[str, Line], values: Mapping[str, float], grey: Line, x_axis: Axis, y_axis: Axis) -> str:
    """Draws a panel for each language, highest value first.

    Args:
        lines: Maps the codes of languages to curves.
        values: The number in the heading of each panel, by which they are ordered.
        grey: A curve that is repeated in every panel.
        x_axis: The horizontal axis of all panels.
        y_axis: The vertical axis of all panels. What lies outside is cut off.
    """
    drawn = (
        f"<div><p><span>{esc(languages.name(code))}</span><b>{fixed(values[code], 2)}</b></p>"
        f"{panel([lines[code], grey], x_axis, y_axis, hint=title_of(code))}</div>"
        for code in sorted(lines, key=lambda code: (-values[code], code))
    )
    return f'<div class="panels">{"".join(drawn)}</div>'


def losses_section(history: History) -> str:
    """Draws the training loss of each language, worst first, and of the worst, the best and all together."""
    lines = {code: replace(line, name=languages.name(code)) for code, line in history.languages.items()}
    ends = {code: end for code, line in lines.items() if (end := smoothed_end(line)) is not None}
    if not ends:
        return quiet("No loss of a language has been recorded.")
    mean = f"Each point is the mean over the tokens of {every} steps. " if (every := history.together.every) > 1 else ""
    if len(ends) == 1:
        (line,) = lines.values()
        return line_chart([line], title=f"{line.name}: {history.unit}") + quiet(f"The run has trained on no other language. {mean}")
    order = sorted(ends, key=lambda code: (-ends[code], code))
    together = replace(history.together, name="all languages", note=fixed(smoothed_end(history.together), 2))
    worst, best = (replace(lines[code], note=fixed(ends[code], 2)) for code in (order[0], order[-1]))
    points = [(x, y) for line in (*lines.values(), together) for x, y in zip(line.x, line.y, strict=True)]
    longest = max(len(line.x) for line in lines.values())
    x_axis = step_axis([x for x, _ in points])
    begin = x_axis.high / 5 if longest > FEW else 0.0  # the steep fall at the beginning would leave no room for the rest
    y_axis = linear_axis(finite(y for x, y in points if x >= begin))
    cut = any(not y_axis.low <= y <= y_axis.high for y in finite(y for _, y in points))
    note = f"Worst language first. Each panel spans {figure(y_axis.low)} to {figure(y_axis.high)} {history.unit}"
    note += " and cuts off values of the first steps outside that range. " if cut else ". "
    note += f"The grey {'curve' if longest > 1 else 'dot'} is all languages together. {mean}"
    if longest > 1:
        last = f"the last tenth of its points, at least {SMOOTHED}" if longest > SMOOTHED else "its points"
        note += f"The number beside a name, which sets the order, is the median of {last}. "
    if history.unit == "nats per token":
        note += "A loss per token does not compare languages fairly; bits per byte in the evaluation do."
    chart = line_chart([worst, together, best], title=f"Worst, all and best: {history.unit}")
    return panels(lines, ends, together, x_axis, y_axis) + quiet(note) + chart
