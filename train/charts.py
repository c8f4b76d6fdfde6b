"""Charts as inline SVG, and the look of the page around them: pure functions from numbers to strings, with no library.

Places are percentages across and pixels down, so text keeps its size from a phone to a printed page; only the curves live in an
inner viewport that stretches. SCRIPT says the values under the pointer, and a page without it loses nothing else.
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
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def power(exponent: int) -> str:
    return "10" + str(exponent).translate(SUPERSCRIPT)


def figure(value: float | None, digits: int = 4, zeros: bool = False) -> str:
    """A number to read: `12 346`, `3.142`, `3 × 10⁻⁴`, and a dash for what is not there. `zeros` keeps those at the end."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')} × {power(int(exponent))}".replace(" ", NARROW_SPACE)
    elif abs(float(f"{value:.{digits}g}")) >= 1000:
        text = f"{value:,.0f}".replace(",", NARROW_SPACE)
    else:
        text = f"{value:#.{digits}g}".rstrip(".") if zeros else f"{value:.{digits}g}"
    return text.replace("-", "−")


def fixed(value: float | None, places: int = 3) -> str:
    """A number with so many decimal places, for a column."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}".replace("-", "−")


def percent(share: float | None) -> str:
    if share is None or not math.isfinite(share):
        return "–"
    return f"{figure(100 * share, 3, zeros=True) if abs(share) >= 1e-3 else fixed(100 * share)}{NARROW_SPACE}%"


def compact(value: float | None) -> str:
    """Three digits and a unit: `34.2 M`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value is not None and abs(value) >= (1e4 if unit == "k" else 0.9995 * size):
            return f"{figure(value / size, 3, zeros=True)}{NARROW_SPACE}{unit}"
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


def round_step(span: float) -> float:
    """The step of 1, 2 or 5 times a power of ten that cuts `span` into about five."""
    unit = 10.0 ** math.floor(math.log10(span / 5))
    return next(unit * n for n in (1, 2, 5, 10) if unit * n >= span / 5 * 0.999)


def linear_axis(values: Sequence[float], *, zero: bool = False) -> Axis:
    """An axis for `values` that begins and ends on a mark, and has zero on it if `zero`."""
    low, high = min(values), max(values)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value only: make room around it
        room = abs(high) * 0.1 or 1.0
        low, high = low - (0.0 if zero else room), high + room
    step = round_step(high - low)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(start * step, stop * step, tuple(n * step for n in range(start, stop + 1)))


def step_axis(steps: Sequence[float]) -> Axis:
    """An axis from 0 to the last of `steps`, marked at whole numbers; around the only one, if there is one only."""
    high = max(steps)
    if min(steps) == high:
        return Axis(high - 1, high + 1, (high,))
    apart = max(round_step(high), 1.0)
    return Axis(0.0, high, tuple(n * apart for n in range(math.floor(high / apart) + 1)))


def log_axis(values: Sequence[float]) -> Axis:
    """A logarithmic axis for the values above zero, which begins and ends on a mark: 1, 2, 5 or a power of ten."""
    above = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    leading = (1, 2, 5) if last - first <= 3 else (1,)
    marks = [n * 10.0**e for e in range(first, last + 1) for n in leading]
    start = max(i for i, mark in enumerate(marks) if mark <= min(above) or i == 0)
    stop = min(i for i, mark in enumerate(marks) if (mark >= max(above) and i > start) or i == len(marks) - 1)
    ticks = marks[start : stop + 1]
    return Axis(ticks[0], ticks[-1], tuple(ticks[:: 1 + len(ticks) // 9]), log=True)


def shown(value: float | None, axis: Axis) -> bool:
    """Whether an axis has a place for this value."""
    return value is not None and math.isfinite(value) and (value > 0 or not axis.log)


def path(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """The `d` of a curve in the inner viewport."""
    parts, begin = [], True
    for x, y in zip(line.x, line.y, strict=True):
        if y is not None and shown(y, y_axis):
            parts.append(f"{'M' if begin else 'L'}{WIDTH * x_axis.at(x):.4g} {height * (1 - y_axis.at(y)):.4g}")
        begin = not shown(y, y_axis)
    return "".join(parts)


def band(line: Line, x_axis: Axis, y_axis: Axis, height: int) -> str:
    """The `d` of the area between `low` and `high` of a curve."""
    if not line.low or len(line.low) < 2:
        return ""
    there = path(Line("", line.x, line.high), x_axis, y_axis, height)
    back = path(Line("", line.x[::-1], line.low[::-1]), x_axis, y_axis, height)
    return f"{there}L{back[1:]}Z" if there and back else ""


def curves(lines: Sequence[Line], x_axis: Axis, y_axis: Axis, height: int) -> str:
    """Lines in a viewport that stretches with the page while their strokes do not; the first lies on top."""
    viewport = f'width="100%" height="{height}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none"'
    areas = [(place, band(line, x_axis, y_axis, height)) for place, line in enumerate(lines)]
    drawn = [f'<path class="band s{place}" d="{d}"/>' for place, d in areas if d]
    for place, line in reversed(list(enumerate(lines))):
        d = path(line, x_axis, y_axis, height)
        lone = len(line.x) == 1  # a path of one point draws nothing; one that goes nowhere is a dot
        drawn.append(f'<path class="line{" lone" if lone else ""} s{place}" d="{d}{"h0" if lone and d else ""}"/>')
    return f'<svg class="plot" {viewport}>{"".join(drawn)}</svg>'


def spoken(lines: Sequence[Line]) -> list[tuple[float, str]]:
    """Every step with the words for the values there: `step 640 · 3.214`, or `near step 640` if it stands for several."""
    values: dict[float, list[str]] = {}
    for line in lines:
        for x, y in zip(line.x, line.y, strict=True):
            values.setdefault(x, []).append(f"{line.name} {figure(y)}".strip())
    near = "near step" if any(line.low for line in lines) else "step"
    return [(x, " · ".join((f"{near} {round(x)}", *values[x]))) for x in sorted(values)]


def legend(names: Sequence[str]) -> str:
    keys = (f'<span class="key s{place}">{escape(name)}</span>' for place, name in enumerate(names))
    return f'<p class="legend">{"".join(keys)}</p>'


def line_chart(
    lines: Sequence[Line], *, title: str, log: bool = False, zero: bool = False, height: int = 200, marks: Sequence[float] = ()
) -> str:
    """A figure with axes, over steps; `marks` are steps to point at. Without a value it says so."""
    caption = f'<figure class="chart"><figcaption>{escape(title)}'
    values = finite(y for line in lines for y in line.y)
    if not values:
        return f'{caption}</figcaption><p class="quiet">No values yet.</p></figure>'
    x_axis = step_axis([x for line in lines for x in line.x] + list(marks))
    y_axis = log_axis(values) if log else linear_axis(values, zero=zero)
    said = spoken(lines)
    at = " ".join(f"{100 * x_axis.at(x):.4g}" for x, _ in said)
    say = escape(json.dumps([words for _, words in said], ensure_ascii=False))
    out = [
        f"{caption}<output>{escape(said[-1][1])}</output></figcaption>",
        legend([line.name for line in lines]) if len(lines) > 1 else "",
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
    """A small multiple: bare curves on axes that its neighbours share."""
    drawn = curves(lines, x_axis, y_axis, height)
    return f'<svg class="panel" role="img" height="{height}"><title>{escape(hint)}</title>{drawn}</svg>'


def bar_chart(rows: Sequence[Bar], *, names: tuple[str, str], columns: Sequence[str] = ()) -> str:
    """Horizontal bars from zero on one scale, `names` for what lies behind and in front."""
    pitch, top, column = 24, 26, 54
    longest = max(finite(value for row in rows for value in (row.behind, row.front)), default=0.0)
    out = [
        f'<figure class="chart shares">{legend(names)}<svg class="bars" role="img" aria-label="{" and ".join(names)}"',
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
:root { color-scheme: light dark; --paper: #fcfbf8; --ink: #1d1e22; --quiet: #6a6962; --rule: #e3e0d7; --accent: #23418f;
  --second: #b4791f; --third: #4f7a6a; --pale: #ccd4ea; --faint: #b5b2a8; --warn: #a8322a;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, P052, "Book Antiqua", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15161a; --ink: #e8e5dc; --quiet: #9d9a90; --rule: #2d2e33;
  --accent: #9fb3f2; --second: #dcae62; --third: #86b8a4; --pale: #35405f; --faint: #5d5c54; --warn: #ee8e80 } }
* { box-sizing: border-box } dl, dd, figure, blockquote { margin: 0 }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 var(--sans) }
main { max-width: 75rem; margin: auto; padding: clamp(1.5rem, 5vw, 5rem) clamp(1.1rem, 4vw, 3rem) 3rem }
.eyebrow { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 2rem; margin: 0; color: var(--quiet); font-size: .9rem }
h1 { font: 400 clamp(2.4rem, 7vw, 4.6rem)/1.08 var(--serif); letter-spacing: -.015em; margin: 1.6rem 0 1rem; overflow-wrap: anywhere }
h2 { font: 400 1.6rem/1.2 var(--serif); margin: 0 0 1.4rem } h3 { font: italic 400 1.15rem/1.3 var(--serif); margin: 0 0 .4rem }
.lede { font: 1.35rem/1.5 var(--serif); max-width: 38rem; margin: 0 0 2.6rem; text-wrap: pretty }
.headline { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.7rem 2rem; padding: 1.8rem 0; border-top: 1px solid var(--ink) }
.headline dt { font-size: .9rem; color: var(--quiet) }
.headline dd { font: 2.1rem/1.25 var(--serif); font-variant-numeric: lining-nums; overflow-wrap: anywhere }
.headline dd.note { font: .84rem/1.4 var(--sans); color: var(--quiet) }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: .8rem 0; border-top: 1px solid var(--rule); font-size: .9rem }
nav a { color: var(--accent); text-decoration: none } nav a:hover { text-decoration: underline }
section { display: grid; grid-template-columns: 10rem minmax(0, 1fr); gap: 0 2.5rem; padding: 2.6rem 0; border-top: 1px solid var(--rule) }
.quiet { color: var(--quiet); font-size: .9rem; max-width: 42rem; margin: 0 0 1rem } .warn { color: var(--warn); margin: 0 0 1rem }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 2.5rem }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1.3rem 1.4rem; margin: .6rem 0 1.5rem }
.panels div { break-inside: avoid; min-width: 0 }
.panels p { display: flex; justify-content: space-between; gap: .5rem; margin: 0 0 .2rem; font-size: .84rem; overflow-wrap: anywhere }
.panels b, td { font-weight: 400; font-variant-numeric: tabular-nums lining-nums }
.wide { overflow-x: auto; margin-bottom: 1.2rem } table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: right; padding: .5rem 0 .5rem 1.1rem; border-bottom: 1px solid var(--rule); vertical-align: top; white-space: nowrap }
thead th { color: var(--quiet); white-space: normal; vertical-align: bottom; line-height: 1.25; border-color: var(--ink) }
th { font-weight: 400 } tbody th { font-weight: 600 }
th:first-child { position: sticky; left: 0; background: var(--paper); text-align: left; padding: .5rem .6rem .5rem 0; line-height: 1.35 }
th i { font: italic 400 1rem/1.3 var(--serif) } th small { font-weight: 400; color: var(--quiet) } th small.mark { color: var(--second) }
td b { font-weight: 600 } .meter { display: block; width: 7rem; height: 4px; margin: .35rem 0 0 auto; background: var(--rule) }
.meter i { display: block; height: 100%; background: var(--accent) } .untaught .meter i { background: var(--second) }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.8rem 2.5rem }
.samples figure { break-inside: avoid; min-width: 0 } .samples figcaption { font-size: .84rem; color: var(--quiet); margin-bottom: .2rem }
blockquote { font: 1.12rem/1.55 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere }
blockquote b { color: var(--accent); font-weight: 400 }
.columns { columns: 19rem; column-gap: 2.5rem } .list { break-inside: avoid; margin-bottom: 1.7rem; font-size: .88rem }
.list div { display: flex; justify-content: space-between; gap: 1rem; padding: .22rem 0; border-bottom: 1px solid var(--rule) }
.list dt { color: var(--quiet) } .list dd { text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
footer { color: var(--quiet); padding-top: 2rem; border-top: 1px solid var(--rule); font: italic 1rem var(--serif) }
.chart { margin: 0 0 1.6rem; min-width: 0; break-inside: avoid; --c: var(--accent) }
.chart figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; font-weight: 600; margin-bottom: .7rem }
.chart output { font-weight: 400; color: var(--quiet); font-variant-numeric: tabular-nums }
.chart svg, .panel { display: block; width: 100%; overflow: visible }
.chart svg.axes { box-sizing: border-box; padding-left: 3.2rem; padding-right: .8rem; touch-action: pan-y }
.chart svg.bars { box-sizing: border-box; padding-left: 8.6rem }
.chart svg svg, .panel svg { overflow: hidden } .chart svg svg:has(.lone) { overflow: visible }
.s0 { --c: var(--accent) } .s1 { --c: var(--second) } .s2 { --c: var(--third) }
.line { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-linejoin: round; vector-effect: non-scaling-stroke }
.band { fill: var(--c); opacity: .16 } .lone { stroke-width: 7; stroke-linecap: round }
.panel .s1 { --c: var(--faint) } .panel { border-bottom: 1px solid var(--rule) }
.grid { stroke: var(--rule) } .mark { stroke: var(--warn); stroke-width: 2 }
.cursor { stroke: var(--quiet); stroke-dasharray: 2 3; visibility: hidden }
.chart text { font: .78rem var(--sans); fill: var(--quiet); font-variant-numeric: tabular-nums }
.chart text.x { text-anchor: middle } .chart text.y, .chart text.value, .chart text.label { text-anchor: end }
.chart text.label, .chart text.value { fill: var(--ink) } .chart text.head { fill: var(--quiet) }
.shares .s0 { --c: var(--pale) } .shares .s1 { --c: var(--accent) } .bar { fill: var(--c) }
.legend { margin: 0 0 .7rem; font-size: .84rem; color: var(--quiet) } .key { margin-right: 1.4rem }
.key::before { content: ""; display: inline-block; width: 1.1rem; height: .25rem; margin-right: .45rem;
  vertical-align: .2em; background: var(--c) }
@media (max-width: 54rem) { section { grid-template-columns: minmax(0, 1fr) } .headline { grid-template-columns: 1fr 1fr; gap: 1.3rem 1rem }
  .headline dd { font-size: 1.7rem } .lede { font-size: 1.2rem } .chart svg.bars { padding-left: 7.4rem } }
@media print { @page { margin: 16mm 14mm } :root { --paper: #fff } html { font-size: 11pt } main { padding: 0; max-width: none }
  .headline { grid-template-columns: repeat(3, 1fr) } nav { display: none } section { display: block; padding: 1.4rem 0 }
  h2 { break-after: avoid } tr { break-inside: avoid } .wide { overflow: visible } table { font-size: .74rem }
  th, td { padding-left: .5rem } .meter { width: 5rem } * { print-color-adjust: exact } }
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
