"""A plan as one HTML file, in the style of the report of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from varietas.data.files import write_atomically
from varietas.launch.plan.estimate import Plan
from varietas.launch.plan.tables import GIB, PARTS, duration, number, settings
from varietas.train.report.figures import compact, figure, percent
from varietas.train.report.markup import document, esc, quiet, sections, warn

COLOURS = ("var(--accent)", "var(--pale)", "var(--second)", "var(--third)", "var(--faint)")
MORE_STYLE = """
.stack text { font: .84rem var(--sans); fill: var(--ink); font-variant-numeric: tabular-nums } .stack .full { stroke: var(--warn) }
.stack text.name { text-anchor: end } .stack text.figure { fill: var(--quiet) } .key i { display: inline-block; width: 1.1rem;
  height: .6rem; margin-right: .45rem } .key.plain::before { display: none } td.code, th.code { text-align: left; white-space: normal;
  min-width: 16rem } td.code { font: .78rem/1.6 monospace } td.code span { white-space: nowrap }
"""
Parts = Mapping[str, float]


def stacked_bars(rows: Mapping[str, tuple[Parts, str]], limit: float = 0.0) -> str:
    """Draws bars that are made of parts, on one scale.

    Args:
        rows: By name, the parts of a bar and the figure that stands beside it. All bars have parts of the same names.
        limit: A value that is marked by a line; 0 for none.

    Returns:
        The chart as HTML with inline SVG.
    """
    names = list(next(iter(rows.values()))[0])
    longest = max([limit, *(sum(parts.values()) for parts, _ in rows.values())]) or 1.0
    keys = "".join(
        f'<span class="key plain"><i style="background:{colour}"></i>{esc(name)}</span> '
        for name, colour in zip(names, COLOURS, strict=False)
    )
    pitch = 30
    out = [f'<figure class="chart stack"><p class="legend">{keys}</p><svg role="img" style="height:{pitch * len(rows) + 4}px;width:100%">']
    out.append('<svg x="30%" width="50%" style="overflow:visible">')
    for place, (parts, _) in enumerate(rows.values()):
        at = 0.0
        for (name, size), colour in zip(parts.items(), COLOURS, strict=False):
            width = 100 * size / longest
            hint = f"<title>{esc(name)}: {figure(size, 3)}</title>"
            out.append(f'<rect x="{at:.2f}%" y="{pitch * place + 4}" width="{width:.2f}%" height="20" fill="{colour}">{hint}</rect>')
            at += width
    if limit:
        x = f"{100 * limit / longest:.2f}%"
        out.append(f'<line class="full" x1="{x}" x2="{x}" y1="0" y2="{pitch * len(rows)}"/>')
    out.append("</svg>")
    for place, (name, (_, said)) in enumerate(rows.items()):
        y = pitch * place + 19
        out.append(f'<text class="name" x="29%" y="{y}">{esc(name)}</text><text class="figure" x="81.5%" y="{y}">{esc(said)}</text>')
    return "".join(out) + "</svg></figure>"


def memory_section(plans: Sequence[Plan]) -> str:
    """Draws the memory of a device, of one plan or of several on different nodes."""
    rows = {}
    for one in plans:
        parts = {name.split(":")[0].split(",")[0]: getattr(one.memory, part) / GIB for part, name in PARTS.items()}
        rows[_name(one, plans)] = parts, f"{one.memory.total / GIB:.1f} GiB"
    limit = plans[0].usable / GIB
    said = quiet(f"GiB of one device at the fullest moment of a step. The line marks the {limit:.1f} GiB that XLA may use.")
    over = [one for one in plans if not one.fits]
    return stacked_bars(rows, limit) + said + (warn("More than a device has.") if over else "")


def time_section(plans: Sequence[Plan]) -> str:
    """Draws where the time of a step goes."""
    rows = {
        _name(one, plans): (
            {"matrix products": one.step.products, "memory": one.step.memory, "waiting for other devices": one.step.exposed},
            f"{number(one.step.seconds)} s, MFU {one.mfu:.1%}",
        )
        for one in plans
    }
    said = quiet("Seconds of one step. Communication while products are computed is not shown: it takes no time of its own.")
    return stacked_bars(rows) + said


def communication_section(p: Plan) -> str:
    """Draws what a device sends, by purpose."""
    rows: dict[str, tuple[Parts, str]] = {}
    for one in p.step.costs:
        name = f"{one.exchange.what}, {one.exchange.axis}"
        (before, _) = rows.get(name, ({"waited for": 0.0, "while products are computed": 0.0}, ""))
        parts = {
            "waited for": before["waited for"] + one.seconds - one.hidden,
            "while products are computed": before["while products are computed"] + one.hidden,
        }
        rows[name] = parts, f"{number(1000 * sum(parts.values()))} ms {one.link}"
    if not rows:
        return quiet("One device alone sends nothing.")
    shown = dict(sorted(rows.items(), key=lambda row: -sum(row[1][0].values())))
    return stacked_bars(shown) + quiet("Seconds of a step, by what is exchanged and along which axis of the mesh.")


def plans_section(choices: Mapping[str, Plan]) -> str:
    """Tables ways to run a job by the arguments that choose them."""
    head = "".join(f"<th>{name}</th>" for name in ("mesh", "s a step", "MFU", "GiB", "parts", "remat")) + "<th class=code>arguments</th>"
    rows = ""
    for flags, one in choices.items():
        cells = (
            number(one.step.seconds),
            percent(one.mfu),
            f"{one.memory.total / GIB:.1f}",
            str(one.job.grad_accum),
            one.job.model.remat,
        )
        arguments = " ".join(f"<span>{esc(flag)}</span>" for flag in flags.split()) or "as it is"
        mesh = " × ".join(map(str, one.job.mesh))
        rows += f"<tr><th>{mesh}</th>{''.join(f'<td>{esc(cell)}</td>' for cell in cells)}<td class=code>{arguments}</td></tr>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _name(one: Plan, plans: Sequence[Plan]) -> str:
    return "a device" if len(plans) == 1 else f"{one.nodes:,} {'node' if one.nodes == 1 else 'nodes'}"


def thousands(value: float, unit: str, larger: str) -> str:
    """Formats a value with its unit, or with the unit that is a thousand times larger."""
    return f"{figure(value, 3)} {unit}" if value < 1000 else f"{figure(value / 1000, 3)} {larger}"


def header(name: str, p: Plan) -> str:
    """Returns the top of the page: what is planned, and the main figures."""
    m, state = p.machine, "fits" if p.fits else "does not fit"
    cells = (
        ("Time", duration(p.hours), f"{figure(p.job.steps)} steps, {compact(p.job.tokens * p.job.steps)} tokens"),
        ("Tokens per second", compact(p.tokens_per_second), f"{compact(p.tokens_per_second * 86400)} a day"),
        ("MFU", percent(p.mfu), f"of {figure(m.peak / 1e12)} TFLOP/s a device"),
        ("Node hours", compact(p.node_hours), f"{compact(p.node_hours * m.devices_per_node)} device hours"),
        ("Energy", thousands(p.kwh, "kWh", "MWh"), f"{m.power:,.0f} W a node, PUE {m.pue}"),
        ("CO₂", thousands(p.co2_kg, "kg", "t"), f"{m.carbon:.0f} g/kWh"),
    )
    drawn = "".join(f'<div><dt>{esc(a)}</dt><dd>{esc(b)}</dd><dd class="note">{esc(c)}</dd></div>' for a, b, c in cells)
    where = f"{p.nodes:,} {'node' if p.nodes == 1 else 'nodes'} of {m.name}, {p.job.devices:,} × {m.device}."
    return (
        f'<header><p class="eyebrow"><span>Varietas · plan of a run</span><span>{esc(m.place)}</span></p><h1>{esc(name)}</h1>'
        f'<p class="lede">On {esc(where)} It {state}: {esc(settings(p.job))}.</p><dl class="headline">{drawn}</dl></header>'
    )


def render(name: str, p: Plan, choices: Mapping[str, Plan], scaled: Sequence[Plan]) -> str:
    """Returns the page.

    Args:
        name: Of the config.
        p: The plan.
        choices: Plans on the same devices by the arguments that choose them; may be empty.
        scaled: The plan on other numbers of nodes; may be empty.
    """
    parts = {"Memory": memory_section([p]), "Time": time_section([p]), "Exchanges": communication_section(p)}
    if choices:
        parts["Choices" if p.fits else "What fits"] = plans_section(choices)
    if scaled:
        parts["Scale"] = time_section(scaled) + memory_section(scaled)
    footer = "<footer>Computed by formulas that docs/plan.md explains and compares with compilers and published runs.</footer>"
    main = header(name, p) + sections(parts) + footer
    return document(f"{esc(name)} on {esc(p.machine.name)} · Varietas", main, style=MORE_STYLE)


def write_page(file: Path, name: str, p: Plan, choices: Mapping[str, Plan], scaled: Sequence[Plan]) -> None:
    """Writes the page, whole or not at all."""
    write_atomically(file, render(name, p, choices, scaled).encode())
