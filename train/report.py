"""The report of a run: one HTML file made from the files of the run's folder and nothing else.

`read_metrics` thins any number of steps in one pass; each section is a function from what was read to
HTML; `render` joins them. Every file but config.json may be missing, short or broken: the section then
says so. Whatever comes from a file passes through `esc`, `figure` or `compact` on its way to the page.
"""

import json
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from varietas.data import languages
from varietas.train import charts
from varietas.train.charts import Bar, Line, bar_chart, compact, figure, line_chart

POINTS = 400  # of a curve, at most
PANEL_POINTS = 80  # of a small curve, at most
CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "mfu")
RIGHT_TO_LEFT = ("_Arab", "_Hebr")
STATUS = {"eu": "EU", "candidate": "candidate", "other": "other"}

Bins = dict[int, tuple[int, float, float, float]]  # place -> how many, sum, least, most


@dataclass(frozen=True)
class History:
    """What metrics.jsonl says, with every curve thinned to means of equal spans of steps."""

    steps: int = 0  # the last step's number, from 1
    tokens: int = 0
    loss: float | None = None  # of the last step whose loss is finite
    rate: float | None = None  # median of tokens per second
    not_finite: list[int] = field(default_factory=list)  # steps without a finite loss
    curves: dict[str, Line] = field(default_factory=dict)
    languages: dict[str, Line] = field(default_factory=dict)  # "" is all of them together
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)  # the last record of each


def esc(value: object) -> str:
    return escape(str(value))


def number(value: object) -> float | None:
    """A finite number, or None for anything else that a file may hold in its place."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return next(iter(charts.finite([float(value)])), None) if good else None  # type: ignore[arg-type]


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def read_json(path: Path) -> Any:
    """What a JSON file holds; None if it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, record) in order, a line at a time. A line cut short, or a step written before, is left out."""
    last = -1
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            step = number(mapping(record).get("step"))
            if step is not None and step > last:
                last = int(step)
                yield last, record


def put(bins: Bins, place: int, value: float) -> None:
    n, total, low, high = bins.get(place, (0, 0.0, value, value))
    bins[place] = n + 1, total + value, min(low, value), max(high, value)


def thinned(bins: Bins, width: int) -> Line:
    """Bins of `width` steps as a curve of their means at their middles."""
    places = sorted(bins)
    means = [bins[place][1] / bins[place][0] for place in places]
    low, high = ([bins[place][i] for place in places] if width > 1 else [] for i in (2, 3))
    return Line("", [place * width + (width - 1) / 2 for place in places], means, low, high)


def read_metrics(path: Path) -> History:
    """Reads metrics.jsonl once, in memory that grows by eight bytes a step."""
    if not path.is_file():
        return History()
    with path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) + 1
    width, panel_width = -(-lines // POINTS), -(-lines // PANEL_POINTS)
    curves: dict[str, Bins] = {name: {} for name in CURVES}
    by_language: dict[str, Bins] = {"": {}}
    seen: dict[str, dict[str, Any]] = {}
    rates, not_finite = array("d"), array("q")
    step, tokens, last_loss = -1, 0.0, None
    for step, record in records(path):
        values = {name: number(record.get(name)) for name in CURVES}
        for name, value in values.items():
            if value is not None:
                put(curves[name], step // width, value)
        tokens += number(record.get("tokens")) or 0
        if (loss := values["loss"]) is None:
            not_finite.append(step)
        else:
            last_loss = loss
            put(by_language[""], step // panel_width, loss)
        if (rate := values["tokens_per_second"]) is not None:
            rates.append(rate)
        for code, entry in mapping(record.get("languages")).items():
            seen[code] = entry = mapping(entry)
            if (loss := number(entry.get("loss"))) is not None:
                put(by_language.setdefault(code, {}), step // panel_width, loss)
    return History(
        steps=step + 1,
        tokens=round(tokens),
        loss=last_loss,
        rate=median(rates) if rates else None,
        not_finite=list(not_finite),
        curves={name: thinned(bins, width) for name, bins in curves.items() if bins},
        languages={code: thinned(bins, panel_width) for code, bins in by_language.items() if bins},
        seen=seen,
    )


def percent(share: float | None) -> str:
    return "–" if share is None else f"{figure(100 * share, 3)}{charts.NARROW_SPACE}%"


def fixed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def quiet(text: str) -> str:
    return f'<p class="quiet">{text}</p>'


def title_of(code: str) -> str:
    """English name, own name and code, for a hint."""
    language = languages.find(code)
    return f"{language.name} · {language.own_name} · {code}" if language else code


def scored(evaluation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Languages with their evaluation, most bits per byte first, those without a figure last."""

    def key(item: tuple[str, dict[str, Any]]) -> float:
        value = number(item[1].get("bits_per_byte"))
        return float("inf") if value is None else -value

    found = mapping(evaluation.get("languages")).items()
    return sorted(((code, mapping(entry)) for code, entry in found), key=key)


def extremes(evaluation: dict[str, Any]) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """Worst and best language in bits per byte, of those trained on if there is one."""
    rows = [(code, row, number(row.get("bits_per_byte"))) for code, row in scored(evaluation)]
    taught = [row for row in rows if row[1].get("trained_on") is not False]
    known = [(code, value) for code, _, value in taught or rows if value is not None]
    return (known[0], known[-1]) if known else None


def started(env: dict[str, Any]) -> str:
    try:
        when = datetime.fromisoformat(str(env["started"]))
    except (KeyError, ValueError):
        return esc(env.get("started", ""))
    return f"{when.day} {when:%B %Y, %H:%M %Z}".strip()


def header(name: str, config: dict[str, Any], env: dict[str, Any], history: History, evaluation: Any) -> str:
    planned = number(mapping(config.get("train")).get("steps"))
    mesh = mapping(env.get("mesh")) or mapping(config.get("mesh"))
    parameters, seen = number(env.get("parameters")), len(history.seen)
    shown = [
        ("Parameters", compact(parameters), figure(parameters)),
        ("Steps", figure(history.steps), f"of {figure(planned)} planned"),
        ("Tokens seen", compact(history.tokens), f"in {seen} languages"),
        ("Final loss", fixed(history.loss), "nats a token, at the last step"),
        ("Tokens per second", compact(history.rate), "median over steps"),
        ("Mesh", esc(" × ".join(map(str, mesh.values()))) or "–", esc(" × ".join(mesh))),
    ]
    said = f"Trained on {esc(env['devices'])}. " if "devices" in env else ""
    if planned and history.steps < planned:
        said += f"After {figure(history.steps)} of {figure(planned)} steps it is not finished yet. "
    if found := extremes(evaluation):
        (worst, most), (best, least) = found
        ratio = fixed(quotient(most, least), 2)
        shown += [
            ("Best language", fixed(least), f"{esc(languages.name(best))}, bits per byte"),
            ("Worst language", fixed(most), f"{esc(languages.name(worst))}, bits per byte"),
            ("Gap", fixed(most - least), f"bits per byte; worst is {ratio} times best"),
        ]
        said += f"It predicts {esc(languages.name(best))} best"
        said += f" and {esc(languages.name(worst))} worst." if best != worst else "."
    else:
        said += "It has not been evaluated yet."
    cells = (f'<div><dt>{label}</dt><dd>{value}</dd><dd class="note">{note}</dd></div>' for label, value, note in shown)
    by = f"Varietas {esc(env.get('varietas', ''))}".strip()
    return (
        f'<header><p class="eyebrow"><span>{by} · report of a run</span>'
        f"<span>{started(env)}</span></p><h1>{esc(name)}</h1>"
        f'<p class="lede">{said}</p><dl class="headline">{"".join(cells)}</dl></header>'
    )


def loss_section(history: History) -> str:
    bad = history.not_finite
    said = ""
    if bad:
        many = f"{figure(len(bad))} steps" if len(bad) > 1 else "One step"
        said = f'<p class="warn">{many} without a finite loss (NaN), first at step {bad[0]}.</p>'
    curve = history.curves.get("loss", Line("", [], []))
    if curve.low:
        said += quiet("Each point is a mean over some steps; the shade is their range.")
    marks = bad[:: 1 + len(bad) // 100]
    return line_chart([curve], title="Nats a token", height=280, marks=marks) + said


def steps_section(history: History) -> str:
    def chart(name: str, title: str, log: bool = False) -> str:
        curve = history.curves.get(name, Line("", [], []))
        return line_chart([curve], title=title, log=log, zero=not log, height=150)

    drawn = [
        chart("learning_rate", "Learning rate"),
        chart("grad_norm", "Gradient norm", log=True),
        chart("tokens_per_second", "Tokens per second"),
    ]
    if "mfu" in history.curves:
        drawn.append(chart("mfu", "Share of peak FLOP/s used"))
    return f'<div class="pair">{"".join(drawn)}</div>'


def languages_section(history: History) -> str:
    ends = {code: line.y[-1] or 0.0 for code, line in history.languages.items() if code}
    if not ends:
        return quiet("No loss by language has been recorded yet.")
    order = sorted(ends, key=lambda code: -ends[code])
    everything = history.languages.get("", Line("", [], []))
    named = [order[0], "", order[-1]] if len(order) > 1 else [order[0]]
    lines = [Line(languages.name(code) if code else "all", line.x, line.y) for code in named if (line := history.languages.get(code))]
    every = list(history.languages.values())
    xs = [x for line in every for x in line.x]
    start = max(xs) / 5  # the first steep fall would leave no room for the rest
    late = charts.finite(y for line in every for x, y in zip(line.x, line.y, strict=True) if x >= start)
    x_axis, y_axis = charts.linear_axis(xs, tight=True), charts.linear_axis(late, tight=True)
    panels = [
        f"<div><p><span>{esc(languages.name(code))}</span><b>{fixed(ends[code], 2)}</b></p>"
        + charts.panel([history.languages[code], everything], x_axis, y_axis, hint=title_of(code))
        + "</div>"
        for code in order
    ]
    return (
        line_chart(lines, title="Worst, all and best, nats a token")
        + f'<div class="panels">{"".join(panels)}</div>'
        + quiet(
            f"Worst first. Every panel spans {figure(y_axis.low, 3)} to {figure(y_axis.high, 3)} "
            "nats a token, and what lies above at the beginning is cut off; grey is all languages "
            "together. Losses a token do not compare languages fairly; bits per byte do."
        )
    )


def mixture_section(history: History, mixture: dict[str, Any]) -> str:
    wanted = {code: mapping(entry) for code, entry in mapping(mixture.get("languages")).items()}
    seen = {code: number(entry.get("tokens")) or 0.0 for code, entry in history.seen.items()}
    total = sum(seen.values())
    weights = {code: number(entry.get("weight")) for code, entry in wanted.items()}
    rows = []
    for code in sorted({*wanted, *seen}, key=lambda code: (-(weights.get(code) or 0.0), code)):
        share = quotient(seen.get(code, 0.0), total)
        epochs = number(history.seen.get(code, {}).get("epochs"))
        has = wanted.get(code, {})
        hint = f"{title_of(code)}: " + ", ".join(f"{figure(number(has.get(key)))} {key}" for key in ("documents", "tokens", "bytes"))
        figures = (percent(weights.get(code)), percent(share), figure(epochs, 3))
        rows.append(Bar(languages.name(code), weights.get(code), share, figures, hint))
    if not rows:
        return quiet("No mixture and no tokens by language have been recorded yet.")
    drawn = bar_chart(rows, names=("wanted", "seen"), columns=("wanted", "seen", "epochs"))
    return drawn + quiet("Shares of tokens. An epoch is one pass over a language’s documents.")


EVALUATION_NOTE = (
    "Bits per byte: lower is better, and it compares languages and tokenizers. "
    "Untrained is this model before its first step; unigram is a guesser that knows only how "
    "often each token occurs. Bars run to the worst language."
)


def evaluation_section(evaluation: dict[str, Any]) -> str:
    rows = scored(evaluation)
    if not rows:
        return quiet("The model has not been evaluated yet.")
    bits = {code: number(row.get("bits_per_byte")) for code, row in rows}
    english = next((bits[code] for code in bits if languages.name(code) == "English"), None)
    longest = max(charts.finite(bits.values()), default=1.0) or 1.0
    body = []
    for code, row in rows:
        value = bits[code]
        untrained, unigram, size, tokens, words = (number(row.get(key)) for key in ("untrained", "unigram", "bytes", "tokens", "words"))
        language = languages.find(code)
        own = f"<i>{esc(language.own_name)}</i> " if language else ""
        tags = f"<small>{esc(code)} {STATUS[language.status] if language else ''}</small>"
        taught = row.get("trained_on") is not False
        mark = "" if taught else ' <small class="mark">no training text</small>'
        below = None if (part := quotient(value, unigram)) is None else 1 - part
        bar = f'<span class="meter"><i style="width:{100 * (value or 0) / longest:.1f}%"></i></span>'
        cells = (
            f"<b>{fixed(value)}</b>{bar}",
            fixed(quotient(value, english), 2),
            percent(below),
            fixed(untrained),
            fixed(unigram),
            fixed(quotient(tokens, words), 2),
            figure(size),
        )
        body.append(
            f'<tr{"" if taught else " class=untaught"}><th scope="row">'
            f"{esc(languages.name(code))}{mark}<br>{own}{tags}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    names = "Language|Bits per byte|Ratio to English|Below unigram|Untrained|Unigram"
    head = "".join(f"<th>{name}</th>" for name in f"{names}|Tokens per word|Bytes".split("|"))
    step, text = figure(number(evaluation.get("step"))), esc(evaluation.get("text", ""))
    return (
        quiet(f"After step {step}. {text}".strip())
        + f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        + f"<tbody>{''.join(body)}</tbody></table></div>{quiet(EVALUATION_NOTE)}"
    )


def samples_section(samples: Any) -> str:
    found = [s for s in samples if isinstance(s, dict)] if isinstance(samples, list) else []
    out = []
    for sample in found:
        code = str(sample.get("language", ""))
        language = languages.find(code)
        side = "rtl" if (language.code if language else code).endswith(RIGHT_TO_LEFT) else "auto"
        short = (language.iso639_1 or language.code[:3]) if language else ""
        out.append(
            f"<figure><figcaption>{esc(languages.name(code))}</figcaption>"
            f'<blockquote lang="{short}" dir="{side}"><b>{esc(sample.get("prompt", ""))}</b>'
            f"{esc(sample.get('text', ''))}</blockquote></figure>"
        )
    drawn = f'<div class="samples">{"".join(out)}</div>'
    return drawn if out else quiet("Nothing has been sampled yet.")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested dicts as (dotted name, value)."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def pairs(title: str, values: Mapping[str, Any]) -> str:
    """A titled list of names and values."""
    rows = []
    for name, value in flat(values):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append(f"<div><dt>{esc(name)}</dt><dd>{esc(text) or '–'}</dd></div>")
    return f'<div class="pairs"><h3>{esc(title)}</h3><dl>{"".join(rows)}</dl></div>'


def config_section(config: dict[str, Any]) -> str:
    alone = {key: value for key, value in config.items() if not isinstance(value, dict)}
    groups = {key: value for key, value in config.items() if isinstance(value, dict)}
    drawn = [pairs("run", alone)] if alone else []
    drawn += [pairs(name, values) for name, values in groups.items()]
    return f'<div class="columns">{"".join(drawn)}</div>'


def environment_section(env: dict[str, Any], mixture: dict[str, Any], tokens: int) -> str:
    if not env and not mixture:
        return quiet("The environment has not been recorded.")
    memory = mapping(env.get("step_memory"))
    each = number(env.get("flops_per_token"))
    names = ("varietas", "python", "platform", "devices", "started")
    machine = {name: env[name] for name in names if name in env}
    machine |= {f"step {k}": f"{compact(number(size))}B" for k, size in memory.items()}
    machine |= {"FLOP per token": figure(each), "FLOP in all": figure(each * tokens)} if each else {}
    digest = mapping(env.get("parameter_digest"))
    digests = {key: mixture[key] for key in mixture if key != "languages"}
    if digest:
        digests[f"parameters, step {digest.get('step', '–')}"] = digest.get("sha256", "–")
    drawn = [("machine", machine), ("versions", mapping(env.get("versions"))), ("data", digests)]
    inner = "".join(pairs(title, values) for title, values in drawn if values)
    return f'<div class="columns">{inner}</div>'


def render(run: Path) -> str:
    """The report as HTML. Raises ValueError if `run` has no readable config.json."""
    config = read_json(run / "config.json")
    if not isinstance(config, dict):
        raise ValueError(f"{run}: no config.json that can be read, so this is not a run's folder")
    history = read_metrics(run / "metrics.jsonl")
    env, mixture, evaluation = (mapping(read_json(run / f"{name}.json")) for name in ("environment", "mixture", "evaluation"))
    sections = {
        "Loss": loss_section(history),
        "Steps": steps_section(history),
        "Languages": languages_section(history),
        "Mixture": mixture_section(history, mixture),
        "Evaluation": evaluation_section(evaluation),
        "Samples": samples_section(read_json(run / "samples.json")),
        "Configuration": config_section(config),
        "Environment": environment_section(env, mixture, history.tokens),
    }
    name = run.resolve().name
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in sections)
    body = "".join(f'<section id="{title.lower()}"><h2>{title}</h2><div>{inner}</div></section>' for title, inner in sections.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(name)} · Varietas</title><style>{STYLE}{charts.STYLE}</style></head><body>"
        f"<main>{header(name, config, env, history, evaluation)}<nav>{links}</nav>{body}"
        f"<footer>Made by Varietas from the files of this run’s folder, and from nothing else."
        f"</footer></main><script>{charts.SCRIPT}</script></body></html>\n"
    )


def write_report(run: Path) -> Path:
    """Writes report.html into the run's folder, whole or not at all, and returns its path."""
    path = run / "report.html"
    part = path.with_name(f".report.{os.getpid()}.tmp")
    part.write_text(render(run), "utf-8")
    os.replace(part, path)
    return path


STYLE = """
:root { color-scheme: light dark; --paper: #fcfbf8; --ink: #1d1e22; --quiet: #6a6962; --rule: #e3e0d7;
  --accent: #23418f; --second: #b4791f; --third: #4f7a6a; --pale: #ccd4ea; --faint: #bdbab0; --warn: #a8322a;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, P052, "Book Antiqua", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15161a; --ink: #e8e5dc; --quiet: #9a978d;
  --rule: #2d2e33; --accent: #9fb3f2; --second: #dcae62; --third: #86b8a4; --pale: #35405f; --faint: #595850; --warn: #ee8e80 } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 var(--sans) }
main { max-width: 75rem; margin: auto; padding: clamp(1.5rem, 5vw, 5rem) clamp(1.1rem, 4vw, 3rem) 3rem }
.eyebrow { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 2rem; margin: 0; color: var(--quiet); font-size: .9rem }
h1 { font: 400 clamp(2.4rem, 7vw, 4.6rem)/1.08 var(--serif); letter-spacing: -.015em; margin: 1.6rem 0 1rem; overflow-wrap: anywhere }
.lede { font: 1.35rem/1.5 var(--serif); max-width: 38rem; margin: 0 0 2.6rem }
dl, dd { margin: 0 }
.headline { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.7rem 2rem; padding: 1.8rem 0; border-top: 1px solid var(--ink) }
.headline dt { font-size: .9rem; color: var(--quiet) }
.headline dd { font: 2.1rem/1.25 var(--serif); font-variant-numeric: lining-nums }
.headline dd.note { font: .84rem/1.4 var(--sans); color: var(--quiet) }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: .8rem 0; border-top: 1px solid var(--rule); font-size: .9rem }
nav a { color: var(--accent); text-decoration: none } nav a:hover { text-decoration: underline }
section { display: grid; grid-template-columns: 10rem minmax(0, 1fr); gap: 0 2.5rem; padding: 2.6rem 0; border-top: 1px solid var(--rule) }
h2 { font: 400 1.6rem/1.2 var(--serif); margin: 0 0 1.4rem }
h3 { font: italic 400 1.15rem/1.3 var(--serif); margin: 0 0 .4rem }
.quiet, footer { color: var(--quiet); font-size: .9rem; max-width: 42rem; margin: 0 0 1rem } .warn { color: var(--warn) }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 2.5rem }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1.3rem 1.4rem; margin-bottom: 1.5rem }
.panels div { break-inside: avoid } .panels p { display: flex; justify-content: space-between; gap: .5rem; margin: 0 0 .2rem; font-size: .84rem; line-height: 1.3 }
.panels b, td { font-weight: 400; font-variant-numeric: tabular-nums lining-nums }
.wide { overflow-x: auto; margin-bottom: 1.2rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: right; padding: .5rem 0 .5rem 1.1rem; border-bottom: 1px solid var(--rule); vertical-align: top; white-space: nowrap }
thead th { font-weight: 400; color: var(--quiet); white-space: normal; vertical-align: bottom; line-height: 1.25; border-color: var(--ink) }
th:first-child { position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 600; padding: .5rem .6rem .5rem 0; line-height: 1.35 }
th i { font: italic 400 1rem/1.3 var(--serif) } th small { font-weight: 400; color: var(--quiet) }
small.mark { color: var(--second); white-space: nowrap } td b { font-weight: 600 }
.meter { display: block; width: 7rem; height: 4px; margin: .35rem 0 0 auto; background: var(--rule) }
.meter i { display: block; height: 100%; background: var(--accent) } .untaught .meter i { background: var(--second) }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.8rem 2.5rem }
.samples figure, blockquote { margin: 0; break-inside: avoid } .samples figcaption { font-size: .84rem; color: var(--quiet); margin-bottom: .2rem }
blockquote { font: 1.12rem/1.55 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere; hyphens: auto } blockquote b { color: var(--accent); font-weight: 400 }
.columns { columns: 19rem; column-gap: 2.5rem } .pairs { break-inside: avoid; margin-bottom: 1.7rem; font-size: .88rem }
.pairs div { display: flex; justify-content: space-between; gap: 1rem; padding: .22rem 0; border-bottom: 1px solid var(--rule) }
.pairs dt { color: var(--quiet); flex: none } .pairs dd { text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
footer { padding-top: 2rem; font: italic 1rem var(--serif) }
@media (max-width: 54rem) { section { grid-template-columns: minmax(0, 1fr) } .headline { grid-template-columns: repeat(2, 1fr); gap: 1.3rem 1rem } .headline dd { font-size: 1.7rem } .lede { font-size: 1.2rem } }
@media print { @page { margin: 16mm 14mm } body { font-size: 10pt } main { padding: 0; max-width: none } nav { display: none } section { display: block; padding: 1.4rem 0 } h2 { break-after: avoid } tr { break-inside: avoid } .wide { overflow: visible } table { font-size: .8rem } * { print-color-adjust: exact } }
"""
