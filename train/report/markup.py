"""Small pieces of HTML, the style sheet of the page, and a script that shows the values under the pointer and prints folded parts.

Text from files reaches the page through `esc`, numbers through `figures`. The page works without the script. Numbers never break over
lines: text that may break anywhere (`overflow-wrap: anywhere`) is names, digests and generated text.
"""

from collections.abc import Iterable, Mapping
from html import escape

from varietas.data.text import languages

STYLE = """
:root { color-scheme: light dark; --paper: #fcfbf8; --ink: #1d1e22; --quiet: #6a6962; --rule: #e3e0d7; --accent: #23418f;
  --second: #b4791f; --third: #4f7a6a; --pale: #ccd4ea; --faint: #b5b2a8; --warn: #a8322a;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, P052, "Book Antiqua", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15161a; --ink: #e8e5dc; --quiet: #9d9a90; --rule: #2d2e33;
  --accent: #9fb3f2; --second: #dcae62; --third: #86b8a4; --pale: #35405f; --faint: #5d5c54; --warn: #ee8e80 } }
* { box-sizing: border-box } dl, dd, figure, blockquote { margin: 0 }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; overflow-wrap: break-word; background: var(--paper); color: var(--ink); font: 1rem/1.5 var(--sans) }
main { max-width: 75rem; margin: auto; padding: clamp(1.5rem, 5vw, 5rem) clamp(1.1rem, 4vw, 3rem) 3rem }
.eyebrow { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 2rem; margin: 0; color: var(--quiet); font-size: .9rem }
h1 { font: 400 clamp(2.4rem, 7vw, 4.6rem)/1.08 var(--serif); letter-spacing: -.015em; margin: 1.6rem 0 1rem; overflow-wrap: anywhere }
h2 { font: 400 1.6rem/1.2 var(--serif); margin: 0 0 1.4rem } h3, summary { font: italic 400 1.15rem/1.3 var(--serif); margin: 0 0 .4rem }
summary { cursor: pointer; color: var(--accent); padding: .7rem 0; border-top: 1px solid var(--rule) } details { break-inside: auto }
.lede { font: 1.35rem/1.5 var(--serif); max-width: 38rem; margin: 0 0 2.6rem; text-wrap: pretty }
.headline { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1.7rem 2rem; padding: 1.8rem 0;
  border-top: 1px solid var(--ink) }
.headline dt { font-size: .9rem; color: var(--quiet) }
.headline dd { font: 2.1rem/1.25 var(--serif); font-variant-numeric: lining-nums }
.headline dd.note { font: .84rem/1.4 var(--sans); color: var(--quiet) }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: .8rem 0; border-top: 1px solid var(--rule); font-size: .9rem }
nav a { color: var(--accent); text-decoration: none } nav a:hover { text-decoration: underline }
section { display: grid; grid-template-columns: 10rem minmax(0, 1fr); gap: 0 2.5rem; padding: 2.6rem 0; border-top: 1px solid var(--rule) }
code { font-size: .85em }
.said { max-width: 42rem; margin: 0 0 1.2rem }
.quiet { color: var(--quiet); font-size: .9rem; max-width: 42rem; margin: 0 0 1rem } .warn { color: var(--warn); margin: 0 0 1rem }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 2.5rem }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1.3rem 1.4rem; margin: .6rem 0 1.5rem }
.panels div { break-inside: avoid; min-width: 0 }
.panels p { display: flex; justify-content: space-between; gap: .5rem; margin: 0 0 .2rem; font-size: .84rem }
.panels span { min-width: 0; overflow-wrap: anywhere } .panels b, .n, .key, small { white-space: nowrap }
.panels b, td { font-weight: 400; font-variant-numeric: tabular-nums lining-nums }
.wide { overflow-x: auto; margin-bottom: 1.2rem } table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: right; padding: .5rem 0 .5rem 1.1rem; border-bottom: 1px solid var(--rule); vertical-align: top; white-space: nowrap }
thead th { color: var(--quiet); white-space: normal; vertical-align: bottom; line-height: 1.25; border-color: var(--ink) }
.name { display: inline-block; max-width: 7rem } th { font-weight: 400 } tbody th { font-weight: 600 }
th:first-child { position: sticky; left: 0; background: var(--paper); text-align: left; padding: .5rem .6rem .5rem 0; line-height: 1.35 }
th i { font: italic 400 1rem/1.3 var(--serif) } th small { font-weight: 400; color: var(--quiet) } th small.mark { color: var(--second) }
td b { font-weight: 600 } .meter { display: block; width: 7rem; height: 4px; margin: .35rem 0 0 auto; background: var(--rule) }
.meter i { display: block; height: 100%; background: var(--accent) } .untaught .meter i { background: var(--second) }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.8rem 2.5rem }
.samples + .quiet { margin-top: 1.4rem }
.samples figure { break-inside: avoid; min-width: 0 } .samples figcaption { font-size: .84rem; color: var(--quiet); margin-bottom: .2rem }
blockquote { font: 1.12rem/1.55 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere }
blockquote b { color: var(--accent); font-weight: 400 }
.columns { columns: 19rem; column-gap: 2.5rem } .list { break-inside: avoid; margin-bottom: 1.7rem; font-size: .88rem }
.list div { display: flex; justify-content: space-between; gap: 1rem; padding: .22rem 0; border-bottom: 1px solid var(--rule) }
.list dt { color: var(--quiet); min-width: 5rem; overflow-wrap: anywhere }
.list dd { text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
footer { color: var(--quiet); padding-top: 2rem; border-top: 1px solid var(--rule); font: italic 1rem var(--serif) }
.chart { margin: 0 0 1.6rem; min-width: 0; break-inside: avoid; --c: var(--accent) }
.chart figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; font-weight: 600; margin-bottom: .7rem }
.chart output { font-weight: 400; color: var(--quiet); font-variant-numeric: tabular-nums }
.chart svg, .panel { display: block; width: 100%; overflow: visible }
.chart svg.axes { box-sizing: border-box; padding-left: 3.2rem; padding-right: .8rem; touch-action: pan-y }
.chart svg.bars { box-sizing: border-box; padding-left: 8.6rem }
.chart svg.plot, .panel svg.plot { overflow: hidden } .chart svg.few, .panel svg.few { overflow: visible }
.s0 { --c: var(--accent) } .s1 { --c: var(--second) } .s2 { --c: var(--third) }
.line { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke }
.band { fill: var(--c); opacity: .16 } .dots { fill: none; stroke: var(--c); stroke-width: 5.5; stroke-linecap: round;
  vector-effect: non-scaling-stroke }
.panel .s1 { --c: var(--faint) } .panel .dots { stroke-width: 4 } .panel { border-bottom: 1px solid var(--rule) }
.grid { stroke: var(--rule) } .mark { stroke: var(--warn); stroke-width: 2 }
.cursor { stroke: var(--quiet); stroke-dasharray: 2 3; visibility: hidden }
.chart text { font: .78rem var(--sans); fill: var(--quiet); font-variant-numeric: tabular-nums }
.chart text.x { text-anchor: middle } .chart text.y, .chart text.value, .chart text.label { text-anchor: end }
.chart text.label, .chart text.value { fill: var(--ink) } .chart text.head { fill: var(--quiet) }
.shares .s0 { --c: var(--pale) } .shares .s1 { --c: var(--accent) } .bar { fill: var(--c) }
.legend { margin: 0 0 .7rem; font-size: .84rem; color: var(--quiet) } .key { display: inline-block; margin-right: 1.4rem }
.key::before { content: ""; display: inline-block; width: 1.1rem; height: .25rem; margin-right: .45rem;
  vertical-align: .2em; background: var(--c) }
@media (max-width: 54rem) { section { grid-template-columns: minmax(0, 1fr) }
  .headline { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.3rem 1rem }
  .headline dd { font-size: clamp(1.3rem, 6.5vw, 1.7rem) } .lede { font-size: 1.2rem } .chart svg.bars { padding-left: 7.4rem }
  th:first-child { white-space: normal; min-width: 7.5rem } .meter { width: 4.5rem } th, td { padding-left: .8rem } }
@media print { @page { margin: 16mm 14mm } :root { --paper: #fff } html { font-size: 11pt } main { padding: 0; max-width: none }
  .headline { grid-template-columns: repeat(3, minmax(0, 1fr)) } nav { display: none } section { display: block; padding: 1.4rem 0 }
  h2 { break-after: avoid } tr { break-inside: avoid } .wide { overflow: visible } table { font-size: .74rem }
  th, td { padding-left: .5rem } .meter { width: 5rem } * { print-color-adjust: exact } }
"""

SCRIPT = """
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
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


def esc(value: object) -> str:
    """Escapes text for HTML."""
    return escape(str(value))


def quiet(html: str) -> str:
    """Returns a paragraph of explanation."""
    return f'<p class="quiet">{html}</p>'


def warn(html: str) -> str:
    """Returns a paragraph that warns."""
    return f'<p class="warn">{html}</p>'


def title_of(code: str) -> str:
    """Returns the English name, the own name and the code of a language, not escaped."""
    language = languages.find(code)
    return f"{language.name} · {language.own_name} · {code}" if language else code


def sections(parts: Mapping[str, str]) -> str:
    """Returns a section for each title and its content."""
    return "".join(f'<section id="{title.lower()}"><h2>{title}</h2><div>{inner}</div></section>' for title, inner in parts.items())


def table(headings: Iterable[str], rows: Iterable[str]) -> str:
    """Draws a table from its headings and its rows, `<tr>…</tr>`, both HTML."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def document(title: str, main: str, script: str = "", style: str = "") -> str:
    """Returns a page that needs neither network nor other files.

    Args:
        title: Its title, escaped.
        main: The content of its main part.
        script: JavaScript; "" for none.
        style: CSS besides that of all pages.
    """
    after = f"<script>{script}</script>" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}{style}</style></head><body><main>{main}</main>{after}</body></html>\n"
    )
