"""Charts as inline SVG: pure functions from numbers to strings, with no library and no network.

Places are percentages across and pixels down, so text keeps its size from a phone to a printed page;
only the curves live in an inner viewport that stretches. STYLE takes its colours from the page's
variables; SCRIPT says the values under the pointer, and a page without it loses nothing else.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 1000  # of the inner viewport, which the browser stretches to the room there is
NARROW_SPACE = "\u202f"  # between groups of three digits (ISO 80000-1), and before a unit
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Line:
    """A curve. A `y` that is None or not finite breaks it; `low` to `high` is shaded behind it."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Bar:
    """A row of horizontal bars: a pale one behind, a narrow one in front, figures to the right."""

    label: str
    behind: float | None
    front: float | None
    figures: Sequence[str] = ()
    hint: str = ""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with marked places in between. Both are above zero if `log`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies on this axis: 0 at `low`, 1 at `high`."""
        if self.log:
            value = math.log(max(value, 1e-300) / self.low)
            return value / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def power(exponent: int) -> str:
    return "10" + str(exponent).translate(SUPERSCRIPT)


def figure(value: float | None, digits: int = 4) -> str:
    """A number to read: `12 346`, `3.142`, `3 × 10⁻⁴`, and a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa} × {power(int(exponent))}".replace(" ", NARROW_SPACE)
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return text.replace(",", NARROW_SPACE).replace("-", "−")


def compact(value: float | None) -> str:
    """Three digits and a unit: `34.2 M`."""
    if value is None or not math.isfinite(value):
        return "–"
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size * 0.9995:
            value /= 1e3 if unit == "k" else size
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f}{NARROW_SPACE}{unit}"
    return figure(value, 3)


def tick_label(value: float, log: bool) -> str:
    if log and value > 0 and (value < 0.01 or value >= 1e4):
        exponent = math.floor(math.log10(value) + 1e-9)
        leading = round(value / 10.0**exponent)
        return power(exponent) if leading == 1 else f"{leading}·{power(exponent)}"
    if abs(value) >= 1e4:
        size, unit = (1e9, "B") if abs(value) >= 1e9 else (1e6, "M") if abs(value) >= 1e6 else (1e3, "k")
        return f"{value / size:.6g}{NARROW_SPACE}{unit}"
    return figure(value)


def linear_axis(values: Sequence[float], *, zero: bool = False, tight: bool = False) -> Axis:
    """An axis for finite `values`, marked at steps of 1, 2 or 5; it ends on marks unless `tight`."""
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value only: make room around it
        room = abs(high) * 0.1 or 1.0
        low, high = (low if zero else low - room), high + room
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough * 0.999)
    first, last = low / step, high / step
    if tight:
        start, stop = math.ceil(first - 1e-9), math.floor(last + 1e-9)
    else:
        start, stop = math.floor(first + 1e-9), math.ceil(last - 1e-9)
        low, high = start * step, stop * step
    return Axis(low, high, tuple(n * step for n in range(start, stop + 1)))


def log_axis(values: Sequence[float]) -> Axis:
    """A logarithmic axis for the values above zero, marked at 1, 2, 5 or at powers of ten."""
    above = [value for value in values if value > 0] or [1.0]
    low, high = min(above) / 1.15, max(above) * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    leading = (1, 2, 5) if len(decades) <= 4 else (1,)
    marks = [n * 10.0**e for e in decades[:: 1 + len(decades) // 9] for n in leading]
    return Axis(low, high, tuple(mark for mark in marks if low <= mark <= high), log=True)


def path(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """The `d` of a curve in the inner viewport."""
    parts, move = [], True
    for x, y in zip(line.x, line.y, strict=True):
        if y is None or not math.isfinite(y) or (y_axis.log and y <= 0):
            move = True
            continue
        at_x, at_y = WIDTH * x_axis.at(x), height * (1 - y_axis.at(y))
        parts.append(f"{'M' if move else 'L'}{at_x:.4g} {at_y:.4g}")
        move = False
    return "".join(parts)


def band(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """The `d` of the area between `low` and `high` of a curve."""
    if not line.low or len(line.low) < 2:
        return ""
    there = path(Line("", line.x, line.high), x_axis, y_axis, height)
    back = path(Line("", line.x[::-1], line.low[::-1]), x_axis, y_axis, height)
    return f"{there}L{back[1:]}Z" if there and back else ""


def curves(lines: Sequence[Line], x_axis: Axis, y_axis: Axis, height: int) -> str:
    """Lines in a viewport that stretches with the page while their strokes do not."""
    drawn = [f'<svg class="plot" width="100%" height="{height}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none">']
    for place, line in enumerate(lines):
        if area := band(line, x_axis, y_axis, height):
            drawn.append(f'<path class="band s{place}" d="{area}"/>')
    for place, line in reversed(list(enumerate(lines))):  # the first lies on top
        drawn.append(f'<path class="line s{place}" d="{path(line, x_axis, y_axis, height)}"/>')
    return "".join(drawn) + "</svg>"


def spoken(lines: Sequence[Line], x_name: str) -> list[tuple[float, str]]:
    """Every x with the words for the values there: `step 640 · 3.214`."""
    values: dict[float, list[str]] = {}
    for line in lines:
        for x, y in zip(line.x, line.y, strict=True):
            name = f"{line.name} " if len(lines) > 1 else ""
            values.setdefault(x, []).append(name + figure(y))
    return [(x, f"{x_name} {round(x)} · " + " · ".join(values[x])) for x in sorted(values)]


def legend(names: Sequence[str]) -> str:
    keys = (f'<span class="key s{place}">{escape(name)}</span>' for place, name in enumerate(names))
    return f'<p class="legend">{"".join(keys)}</p>'


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_name: str = "step",
    log: bool = False,
    zero: bool = False,
    height: int = 200,
    marks: Sequence[float] = (),
) -> str:
    """A figure with axes; `marks` are places on the x axis to point at. Says so if there is nothing to draw."""
    xs = [x for line in lines for x in line.x] + list(marks)
    ys = finite(y for line in lines for y in line.y)
    if not ys:
        return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="quiet">No values yet.</p></figure>'
    x_axis = linear_axis(xs, tight=True) if min(xs) < max(xs) else Axis(xs[0] - 1, xs[0] + 1, (xs[0],))
    y_axis = log_axis(ys) if log else linear_axis(ys, zero=zero)
    said = spoken(lines, x_name)
    at = " ".join(f"{100 * x_axis.at(x):.4g}" for x, _ in said)
    say = escape(json.dumps([words for _, words in said], ensure_ascii=False))
    out = [
        f'<figure class="chart"><figcaption>{escape(title)}<output>{escape(said[-1][1])}</output></figcaption>',
        legend([line.name for line in lines]) if len(lines) > 1 else "",
        f'<svg class="axes" role="img" aria-label="{escape(title)}" style="height:{height + 30}px"',
        f' data-at="{at}" data-say="{say}">',
    ]
    for tick in y_axis.ticks:
        y = height * (1 - y_axis.at(tick))
        out.append(f'<line class="grid" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text class="y" x="-8" y="{y + 4:.1f}">{tick_label(tick, log)}</text>')
    for tick in x_axis.ticks:
        x = 100 * x_axis.at(tick)
        out.append(f'<text class="x" x="{x:.2f}%" y="{height + 20}">{tick_label(tick, False)}</text>')
    out.append(curves(lines, x_axis, y_axis, height))
    for place, line in enumerate(lines):  # a lone value is a dot: a path of one point draws nothing
        if len(values := finite(line.y)) == 1:
            x = line.x[list(line.y).index(values[0])]
            y = height * (1 - y_axis.at(values[0]))
            out.append(f'<circle class="dot s{place}" cx="{100 * x_axis.at(x):.2f}%" cy="{y:.1f}" r="3.5"/>')
    for mark in marks:
        x = 100 * x_axis.at(mark)
        out.append(f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="{height - 8}" y2="{height}"/>')
    out.append(f'<line class="cursor" y2="{height}"/></svg></figure>')
    return "".join(out)


def panel(lines: Sequence[Line], x_axis: Axis, y_axis: Axis, *, hint: str, height: int = 54) -> str:
    """A small multiple: bare curves on axes that its neighbours share."""
    drawn = curves(lines, x_axis, y_axis, height)
    return f'<svg class="panel" role="img" height="{height}"><title>{escape(hint)}</title>{drawn}</svg>'


def bar_chart(rows: Sequence[Bar], *, names: tuple[str, str], columns: Sequence[str] = ()) -> str:
    """Horizontal bars from zero on one scale, `names` for what lies behind and in front."""
    pitch, top, column = 24, 26, 58
    longest = max(finite(value for row in rows for value in (row.behind, row.front)), default=0.0)
    out = [
        f'<figure class="chart">{legend(names)}<svg class="bars" role="img" aria-label="{" and ".join(names)}"',
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


STYLE = """
.chart { margin: 0 0 2.2rem; min-width: 0; break-inside: avoid; --c: var(--accent) }
.chart figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; font-weight: 600; margin-bottom: .7rem }
.chart output { font-weight: 400; color: var(--quiet); font-variant-numeric: tabular-nums }
.chart svg, .panel { display: block; width: 100%; overflow: visible }
.chart svg.axes { box-sizing: border-box; padding-left: 3.2rem; padding-right: .8rem; touch-action: pan-y }
.chart svg.bars { box-sizing: border-box; padding-left: 8.6rem }
.chart svg svg, .panel svg { overflow: hidden }
.s0 { --c: var(--accent) } .s1 { --c: var(--second) } .s2 { --c: var(--third) }
.line { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-linejoin: round; vector-effect: non-scaling-stroke }
.band { fill: var(--c); opacity: .16 } .dot { fill: var(--c) }
.panel .s1 { --c: var(--faint) } .panel .line { stroke-width: 1.5 }
.grid { stroke: var(--rule) } .mark { stroke: var(--warn); stroke-width: 2 }
.cursor { stroke: var(--quiet); stroke-dasharray: 2 3; visibility: hidden }
.chart text { font: .78rem var(--sans); fill: var(--quiet); font-variant-numeric: tabular-nums }
.chart text.x { text-anchor: middle } .chart text.y, .chart text.value, .chart text.label { text-anchor: end }
.chart text.label, .chart text.value { fill: var(--ink) } .chart text.head { fill: var(--quiet) }
.bar.s0 { fill: var(--pale) } .bar.s1 { fill: var(--accent) }
.legend { margin: 0 0 .7rem; font-size: .84rem; color: var(--quiet) } .key { margin-right: 1.4rem }
.key::before { content: ""; display: inline-block; width: 1.1rem; height: .2rem; margin-right: .45rem; vertical-align: .22em; background: var(--c) }
"""

SCRIPT = """
for (const svg of document.querySelectorAll("svg[data-at]")) {
  const at = svg.dataset.at.split(" ").map(Number), say = JSON.parse(svg.dataset.say);
  const out = svg.parentNode.querySelector("output"), rest = out.textContent;
  const cursor = svg.querySelector(".cursor"), plot = svg.querySelector(".plot");
  svg.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect(), x = 100 * (event.clientX - box.left) / box.width;
    const i = at.reduce((best, value, place) => Math.abs(value - x) < Math.abs(at[best] - x) ? place : best, 0);
    cursor.setAttribute("x1", at[i] + "%");
    cursor.setAttribute("x2", at[i] + "%");
    cursor.style.visibility = "visible";
    out.textContent = say[i];
  });
  svg.addEventListener("pointerleave", () => { cursor.style.visibility = ""; out.textContent = rest; });
}
"""
