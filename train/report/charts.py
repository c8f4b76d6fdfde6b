"""Charts as inline SVG: pure functions from numbers to strings.

Horizontal places are percentages and vertical ones are pixels, so text keeps its size on every screen. Only the curves lie in an inner
viewport that the browser stretches to the width of the page.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from varietas.train.report.axes import Axis, linear_axis, log_axis, step_axis
from varietas.train.report.figures import figure, finite, tick_label

WIDTH = 1000  # of the inner viewport
NO_BREAK = "\u00a0"  # a space at which lines do not break
FEW = 24  # curves with at most this many points show each point as a dot


@dataclass(frozen=True)
class Line:
    """A curve over steps.

    Attributes:
        name: Its name in the legend.
        x: Steps.
        y: A value for each step. The curve is interrupted where it is None or not finite.
        low: Lower edge of the band that is shaded around the curve; empty for no band.
        high: Upper edge of the band.
        every: Number of steps that each point stands for.
        note: A value that the legend shows beside the name.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    every: int = 1
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: a pale bar `behind`, a narrow one in `front`, and `figures` to the right. `hint` is shown under the pointer."""

    label: str
    behind: float | None
    front: float | None
    figures: Sequence[str] = ()
    hint: str = ""


def path(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """Returns the SVG path of a curve in the inner viewport."""
    parts: list[list[str]] = [[]]  # points that are joined
    for x, y in zip(line.x, line.y, strict=True):
        if y is not None and y_axis.shows(y):
            parts[-1].append(f"{WIDTH * x_axis.at(x):.4g} {height * (1 - y_axis.at(y)):.4g}")
        elif parts[-1]:
            parts.append([])
    return "".join(f"M{'L'.join(points)}{'h0' if len(points) == 1 else ''}" for points in parts if points)  # h0 makes a point visible


def band(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """Returns the SVG path of the area between `low` and `high` of a curve."""
    if not line.low or len(line.low) < 2:
        return ""
    there = path(Line("", line.x, line.high), x_axis, y_axis, height)
    back = path(Line("", line.x[::-1], line.low[::-1]), x_axis, y_axis, height)
    return f"{there}L{back[1:]}Z" if there and back else ""


def curves(lines: Sequence[Line], x_axis: Axis, y_axis: Axis, height: int) -> str:
    """Draws curves in a viewport that stretches with the page, while strokes keep their width. The first curve lies on top."""
    viewport = f'width="100%" height="{height}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none"'
    areas = [(place, band(line, x_axis, y_axis, height)) for place, line in enumerate(lines)]
    drawn = [f'<path class="band s{place}" d="{d}"/>' for place, d in areas if d]
    few = all(len(line.x) <= FEW for line in lines)
    for place, line in reversed(list(enumerate(lines))):
        d = path(line, x_axis, y_axis, height)
        drawn.append(f'<path class="line s{place}" d="{d}"/>')
        if few and d:
            dots = "".join(f"M{point}h0" for point in d.replace("h0", "").replace("L", "M").split("M")[1:])
            drawn.append(f'<path class="dots s{place}" d="{dots}"/>')
    return f'<svg class="plot{" few" if few else ""}" {viewport}>{"".join(drawn)}</svg>'


def spoken(lines: Sequence[Line]) -> list[tuple[float, str]]:
    """Returns each step with its values as text: `step 640 · 3.214`, or `around step 640` if a point stands for several steps."""
    values: dict[float, list[str]] = {}
    for line in lines:
        for x, y in zip(line.x, line.y, strict=True):
            values.setdefault(x, []).append(f"{line.name}{NO_BREAK}{figure(y)}".strip())
    where = "around step" if any(line.every > 1 for line in lines) else "step"
    return [(x, " · ".join((f"{where}{NO_BREAK}{figure(round(x))}", *values[x]))) for x in sorted(values)]


def legend(lines: Sequence[Line]) -> str:
    """Draws a key for each line: its colour, its name and its note."""
    keys = (f'<span class="key s{place}">{escape(f"{line.name} {line.note}".strip())}</span> ' for place, line in enumerate(lines))
    return f'<p class="legend">{"".join(keys)}</p>'


def line_chart(
    lines: Sequence[Line], *, title: str, log: bool = False, zero: bool = False, height: int = 200, marks: Sequence[float] = ()
) -> str:
    """Draws curves over steps with axes.

    Args:
        lines: The curves. A legend names them if there are several.
        title: What is drawn, with its unit.
        log: Whether the vertical axis is logarithmic.
        zero: Whether the vertical axis includes zero.
        height: In pixels, without the labels of the steps.
        marks: Steps that are marked on the horizontal axis.

    Returns:
        The chart as HTML. If there are no values, it says so.
    """
    caption = f'<figure class="chart"><figcaption><span>{escape(title)}</span>'
    values = finite(y for line in lines for y in line.y)
    if not values:
        return f'{caption}</figcaption><p class="quiet">No values have been recorded.</p></figure>'
    x_axis = step_axis([x for line in lines for x in line.x] + list(marks))
    y_axis = log_axis(values) if log else linear_axis(values, zero=zero)
    said = spoken(lines)
    at = " ".join(f"{100 * x_axis.at(x):.4g}" for x, _ in said)
    say = escape(json.dumps([words for _, words in said], ensure_ascii=False))
    noted = any(line.note for line in lines)  # then the legend has a value for each curve
    out = [
        f"{caption}<output>{'' if noted else escape(said[-1][1])}</output></figcaption>",
        legend(lines) if len(lines) > 1 else "",
        f'<svg class="axes" role="img" aria-label="{escape(title)}" style="height:{height + 26}px" data-at="{at}" data-say="{say}">',
    ]
    for tick in y_axis.ticks:
        y = height * (1 - y_axis.at(tick))
        out.append(f'<line class="grid" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text class="y" x="-8" y="{y + 4:.1f}">{tick_label(tick, log)}</text>')
    for tick in x_axis.ticks:
        out.append(f'<text class="x" x="{100 * x_axis.at(tick):.2f}%" y="{height + 20}">{tick_label(tick, False)}</text>')
    out.append(curves(lines, x_axis, y_axis, height))
    for mark in marks:
        x = 100 * x_axis.at(mark)
        out.append(f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="{height - 8}" y2="{height}"/>')
    out.append(f'<line class="cursor" y2="{height}"/></svg></figure>')
    return "".join(out)


def panel(lines: Sequence[Line], x_axis: Axis, y_axis: Axis, *, hint: str, height: int = 54) -> str:
    """Draws curves without labels, on axes that neighbouring panels share. `hint` is shown under the pointer."""
    drawn = curves(lines, x_axis, y_axis, height)
    return f'<svg class="panel" role="img" height="{height}"><title>{escape(hint)}</title>{drawn}</svg>'


def bar_chart(rows: Sequence[Bar], *, names: tuple[str, str], columns: Sequence[str] = ()) -> str:
    """Draws horizontal bars that begin at zero and share a scale.

    Args:
        rows: The bars, from top to bottom.
        names: What the pale bars behind and the narrow bars in front stand for.
        columns: Headings of the figures to the right of the bars.
    """
    pitch, top, column = 24, 26, 54
    longest = max(finite(value for row in rows for value in (row.behind, row.front)), default=0.0)
    out = [
        f'<figure class="chart shares">{legend([Line(name, (), ()) for name in names])}',
        f'<svg class="bars" role="img" aria-label="{escape(" and ".join(names))}"',
        f' style="height:{top + pitch * len(rows)}px;padding-right:{column * len(columns) + 4}px">',
    ]
    for place, name in enumerate(columns, 1):
        out.append(f'<text class="value head" x="100%" dx="{column * place}" y="12">{escape(name)}</text>')
    for index, row in enumerate(rows):
        y = top + pitch * index
        out.append(f"<g><title>{escape(row.hint or row.label)}</title>")
        out.append(f'<text class="label" x="-10" y="{y + 13}">{escape(row.label)}</text>')
        for place, (value, inset) in enumerate(((row.behind, 2), (row.front, 6))):
            share = 100 * max(value or 0.0, 0.0) / longest if longest and finite([value]) else 0.0
            out.append(f'<rect class="bar s{place}" y="{y + inset}" width="{share:.2f}%" height="{18 - 2 * inset}"/>')
        for place, text in enumerate(row.figures, 1):
            out.append(f'<text class="value" x="100%" dx="{column * place}" y="{y + 13}">{escape(text)}</text>')
        out.append("</g>")
    return "".join(out) + "</svg></figure>"
