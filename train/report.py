"""The report of a run: one HTML file made from the files of the run's folder and nothing else.

Each section is a function from what was read to HTML, `render` joins them.
Every file but config.json may be missing, short or broken; the section then says so. Whatever comes from a file reaches the page
through `esc` or one of the functions that write a number.
"""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from varietas.data import languages
from varietas.data.files import write_atomically
from varietas.train import charts
from varietas.train.charts import Bar, Line, bar_chart, compact, figure, finite, fixed, line_chart, percent
from varietas.train.folder import flatten
from varietas.train.history import History, mapping, number, read_json, read_metrics

STATUS = {"eu": "EU", "candidate": "candidate", "other": "other"}
NO_CURVE = Line("", [], [])


def quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def esc(value: object) -> str:
    return escape(str(value))


def quiet(text: str) -> str:
    return f'<p class="quiet">{text}</p>'


def scored(evaluation: Mapping[str, Any]) -> list[tuple[str, float | None, dict[str, Any]]]:
    """(language, bits per byte, the whole entry), worst first and those without a figure last."""
    entries = ((code, mapping(entry)) for code, entry in mapping(evaluation.get("languages")).items())
    rows = [(code, number(entry.get("bits_per_byte")), entry) for code, entry in entries]
    return sorted(rows, key=lambda row: float("inf") if row[1] is None else -row[1])


def header(name: str, config: Mapping[str, Any], env: Mapping[str, Any], history: History, evaluation: Mapping[str, Any]) -> str:
    planned = number(mapping(config.get("train")).get("steps"))
    mesh = mapping(env.get("mesh")) or mapping(config.get("mesh"))
    parameters = number(env.get("parameters"))
    shown = [
        ("Parameters", compact(parameters), figure(parameters) if parameters else ""),
        ("Steps", figure(history.steps), f"of {figure(planned)} planned" if planned else ""),
        ("Tokens seen", compact(history.tokens), f"in {len(history.seen)} languages"),
        ("Final loss", fixed(history.loss), "nats a token, the last recorded"),
        ("Tokens per second", compact(history.rate), "median over steps"),
        ("Mesh", esc(" × ".join(map(str, mesh.values()))) or "–", esc(" × ".join(mesh))),
    ]
    said = f"Trained on {esc(env['devices'])}. " if "devices" in env else ""
    if planned and history.steps < planned:
        said += f"So far {figure(history.steps)} of {figure(planned)} steps are done. "
    rows = [(code, bits, entry.get("trained_on") is not False) for code, bits, entry in scored(evaluation) if bits is not None]
    if rows := [row for row in rows if row[2]] or rows:  # a language without training text is in the table, not up here
        (worst, most, _), (best, least, _) = rows[0], rows[-1]
        shown += [
            ("Best language", fixed(least), f"{esc(languages.name(best))}, bits per byte"),
            ("Worst language", fixed(most), f"{esc(languages.name(worst))}, bits per byte"),
            ("Gap", fixed(most - least), f"bits per byte; the worst is {fixed(quotient(most, least), 2)} times the best"),
        ]
        said += f"It predicts {esc(languages.name(best))} best" + (f", {esc(languages.name(worst))} worst." if best != worst else ".")
    else:
        said += "It has not been evaluated yet."
    cells = "".join(f'<div><dt>{label}</dt><dd>{value}</dd><dd class="note">{note}</dd></div>' for label, value, note in shown)
    by, started = (esc(text) for text in (env.get("varietas", ""), str(env.get("started", ""))[:16].replace("T", " ")))
    return (
        f'<header><p class="eyebrow"><span>Varietas {by} · report of a run</span><span>{started}</span></p><h1>{esc(name)}</h1>'
        f'<p class="lede">{said}</p><dl class="headline">{cells}</dl></header>'
    )


def loss_section(history: History) -> str:
    bad, curve = history.not_finite, history.curves.get("loss", NO_CURVE)
    said = quiet("Each point is a mean over some steps, the shade their range.") if curve.low else ""
    if bad:
        which = f"Step {bad[0]} has" if len(bad) == 1 else f"{figure(len(bad))} steps, the first of them step {bad[0]}, have"
        said += f'<p class="warn">{which} no finite loss or gradient (NaN).</p>'
    return line_chart([curve], title="Nats a token", height=280, marks=bad[:: 1 + len(bad) // 100]) + said


def curves_section(history: History, *shown: tuple[str, str, bool]) -> str:
    """Charts side by side, of (key of a record, title, whether its scale is logarithmic)."""
    drawn = (line_chart([history.curves.get(key, NO_CURVE)], title=title, log=log, zero=not log, height=150) for key, title, log in shown)
    return f'<div class="side">{"".join(drawn)}</div>'


def title_of(code: str) -> str:
    """English name, own name and code."""
    language = languages.find(code)
    return f"{language.name} · {language.own_name} · {code}" if language else code


def languages_section(history: History) -> str:
    lines = {code: Line(languages.name(code) or "all", line.x, line.y) for code, line in history.languages.items()}
    ends = {code: line.y[-1] or 0.0 for code, line in lines.items() if code}
    if not ends:
        return quiet("No loss by language has been recorded yet.")
    order = sorted(ends, key=lambda code: -ends[code])
    steps = [x for line in lines.values() for x in line.x]
    start = max(steps) / 5  # the first steep fall would leave no room for the rest
    late = finite(y for line in lines.values() for x, y in zip(line.x, line.y, strict=True) if x >= start)
    x_axis, y_axis = charts.step_axis(steps), charts.linear_axis(late)
    together = lines.get("", NO_CURVE)
    named = [lines[code] for code in dict.fromkeys((order[0], "", order[-1])) if code in lines]
    panels = (
        f"<div><p><span>{esc(lines[code].name)}</span><b>{fixed(ends[code], 2)}</b></p>"
        f"{charts.panel([lines[code], together], x_axis, y_axis, hint=title_of(code))}</div>"
        for code in order
    )
    note = (
        f"Worst first. Every panel spans {figure(y_axis.low)} to {figure(y_axis.high)} nats a token and cuts off what lies above; "
        "grey is all languages together. A loss a token does not compare languages fairly; bits per byte do."
    )
    return f'{line_chart(named, title="Worst, all and best, nats a token")}<div class="panels">{"".join(panels)}</div>{quiet(note)}'


def mixture_section(history: History, mixture: Mapping[str, Any]) -> str:
    entries = {code: mapping(entry) for code, entry in mapping(mixture.get("languages")).items()}
    wanted = {code: number(entry.get("weight")) for code, entry in entries.items()}
    total = sum(history.seen.values())
    rows = []
    for code in sorted({*wanted, *history.seen}, key=lambda code: (-(wanted.get(code) or 0.0), code)):
        share = quotient(history.seen.get(code, 0.0), total)
        sizes = (f"{figure(number(entries.get(code, {}).get(key)))} {key}" for key in ("documents", "tokens", "bytes"))
        figures = (percent(wanted.get(code)), percent(share), fixed(history.epochs.get(code)))
        rows.append(Bar(languages.name(code), wanted.get(code), share, figures, f"{title_of(code)}: {', '.join(sizes)}"))
    if not rows:
        return quiet("No mixture and no tokens by language have been recorded yet.")
    drawn = bar_chart(rows, names=("wanted", "seen"), columns=("wanted", "seen", "epochs"))
    return drawn + quiet("Shares of tokens. An epoch is one pass over all documents of a language.")


def evaluation_section(evaluation: Mapping[str, Any]) -> str:
    rows = scored(evaluation)
    if not rows:
        return quiet("The model has not been evaluated yet.")
    english = next((bits for code, bits, _ in rows if languages.find(code) is languages.LANGUAGES["eng_Latn"]), None)
    longest = max(finite(bits for _, bits, _ in rows), default=0.0)
    body = []
    for code, bits, entry in rows:
        language, taught = languages.find(code), entry.get("trained_on") is not False
        own = f"<i>{esc(language.own_name)}</i> <small>{esc(code)} · {STATUS[language.status]}" if language else f"<small>{esc(code)}"
        mark = "" if taught else ' <small class="mark">no training text</small>'
        untrained, unigram, size, tokens, words = (number(entry.get(key)) for key in ("untrained", "unigram", "bytes", "tokens", "words"))
        part, length = quotient(bits, unigram), 100 * (quotient(bits, longest) or 0.0)
        cells = (
            f'<b>{fixed(bits)}</b><span class="meter"><i style="width:{length:.1f}%"></i></span>',
            fixed(quotient(bits, english), 2),
            percent(None if part is None else 1 - part),
            fixed(untrained),
            fixed(unigram),
            fixed(quotient(tokens, words), 2),
            figure(size),
        )
        body.append(f'<tr{"" if taught else " class=untaught"}><th scope="row">{esc(languages.name(code))}{mark}<br>{own}</small></th>')
        body += [f"<td>{cell}</td>" for cell in cells] + ["</tr>"]
    names = ("Language", "Bits per byte", "Ratio to English", "Below unigram", "Untrained", "Unigram", "Tokens per word", "Bytes")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    note = (
        "Fewer bits per byte are better, and they compare between languages and tokenizers. Untrained is this model before its first "
        "step; unigram is a guesser that knows only how often each token occurs. Bars run to the worst language."
    )
    about = f"After step {figure(number(evaluation.get('step')))}. {esc(evaluation.get('text', ''))}".strip()
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'{quiet(about)}<div class="wide">{table}</div>{quiet(note)}'


def samples_section(samples: Any) -> str:
    drawn = []
    for sample in samples if isinstance(samples, list) else ():
        code, prompt, text = (str(mapping(sample).get(key, "")) for key in ("language", "prompt", "text"))
        language = languages.find(code)
        short, script = (language.iso639_1 or language.code[:3], language.code[-4:]) if language else ("", code[-4:])
        side = "rtl" if script in ("Arab", "Hebr") else "ltr" if language else "auto"
        drawn.append(
            f'<figure><figcaption>{esc(languages.name(code))}</figcaption><blockquote lang="{short}" dir="{side}">'
            f"<b>{esc(prompt)}</b>{esc(text)}</blockquote></figure>"
        )
    return f'<div class="samples">{"".join(drawn)}</div>' if drawn else quiet("Nothing has been sampled yet.")


def lists(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Titled lists of names and values; empty ones are left out."""
    drawn = []
    for title, values in groups.items():
        texts = (
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for name, value in flatten(values).items()
        )
        rows = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(text) or '–'}</dd></div>" for name, text in texts)
        drawn.append(f'<div class="list"><h3>{esc(title)}</h3><dl>{rows}</dl></div>' if rows else "")
    return f'<div class="columns">{"".join(drawn)}</div>'


def config_section(config: Mapping[str, Any]) -> str:
    alone = {key: value for key, value in config.items() if not isinstance(value, dict)}
    return lists({"run": alone} | {key: value for key, value in config.items() if isinstance(value, dict)})


def environment_section(env: Mapping[str, Any], mixture: Mapping[str, Any], tokens: int) -> str:
    if not env and not mixture:
        return quiet("Nothing has been recorded about the machine yet.")
    machine = {key: env[key] for key in ("varietas", "python", "platform", "devices", "started") if key in env}
    machine |= {f"step, {key}": f"{fixed(quotient(number(size), 2**30), 2)} GiB" for key, size in mapping(env.get("step_memory")).items()}
    if each := number(env.get("flops_per_token")):
        machine |= {"FLOP per token": figure(each), "FLOP in all": figure(each * tokens)}
    data = {key: value for key, value in mixture.items() if key != "languages"}
    return lists(
        {"machine": machine, "versions": mapping(env.get("versions")), "data": data, "parameters": mapping(env.get("parameter_digest"))}
    )


def render(run: Path) -> str:
    """The report as HTML. Raises ValueError if `run` has no config.json that can be read."""
    config = mapping(read_json(run / "config.json"))
    if not config:
        raise ValueError(f"{run}: found no config.json that can be read; give the folder of a run, as in runs/demo")
    history = read_metrics(run / "metrics.jsonl")
    env, mixture, evaluation = (mapping(read_json(run / f"{name}.json")) for name in ("environment", "mixture", "evaluation"))
    speed = [("tokens_per_second", "Tokens per second", False), ("mfu", "Peak FLOP/s used", False)]
    sections = {
        "Loss": loss_section(history),
        "Optimiser": curves_section(history, ("learning_rate", "Learning rate", False), ("grad_norm", "Gradient norm", True)),
        "Throughput": curves_section(history, *speed[: 2 if "mfu" in history.curves else 1]),
        "Languages": languages_section(history),
        "Mixture": mixture_section(history, mixture),
        "Evaluation": evaluation_section(evaluation),
        "Samples": samples_section(read_json(run / "samples.json")),
        "Configuration": config_section(config),
        "Environment": environment_section(env, mixture, history.tokens),
    }
    name = run.resolve().name
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in sections)
    body = "".join(f'<section id="{t.lower()}"><h2>{t}</h2><div>{inner}</div></section>' for t, inner in sections.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(name)} · Varietas</title><style>{charts.STYLE}</style></head><body><main>"
        f"{header(name, config, env, history, evaluation)}<nav>{links}</nav>{body}"
        "<footer>Made by Varietas from the files in this run’s folder, and from nothing else.</footer>"
        f"</main><script>{charts.SCRIPT}</script></body></html>\n"
    )


def write_report(run: Path) -> Path:
    """Writes report.html into the run's folder, whole or not at all, and returns its path."""
    path = run / "report.html"
    write_atomically(path, render(run).encode("utf-8", "replace"))
    return path
