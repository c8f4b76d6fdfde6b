"""The sections of the report on training, data and setting, and on what of its text the model repeats.

Each is a function from what was read to HTML; without data it says so.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from varietas.data.text import languages
from varietas.train.report.charts import Bar, bar_chart, line_chart
from varietas.train.report.comparison import bounds
from varietas.train.report.figures import figure, fixed, percent, plural, quotient
from varietas.train.report.history import NO_CURVE, History
from varietas.train.report.markup import esc, quiet, table, title_of, warn
from varietas.train.run_folder.config import flatten
from varietas.train.run_folder.records import mapping, number, objects

SHORT = 28  # characters of a value that stays on one line


def loss_section(history: History) -> str:
    """Draws the training loss. Warns of steps without a finite loss and of lines that could not be read."""
    if not history.steps:
        return quiet("No step has been recorded yet.") + unreadable(history)
    bad, curve = history.not_finite, history.curves.get("loss", NO_CURVE)
    said = line_chart([curve], title=history.unit.capitalize(), height=280, marks=bad[:: 1 + len(bad) // 100])
    note = "Steps are counted from 0. "
    if curve.every > 1:
        note += f"Each point is the mean of {curve.every} steps; the band around the curve spans their least and greatest loss."
    said += quiet(note)
    if bad:
        first = f"step {figure(bad[0])}"
        which = f"{first.capitalize()} has" if len(bad) == 1 else f"{figure(len(bad))} steps, the first of them {first}, have"
        ended = "The run ended there. " if bad[-1] == history.steps - 1 else ""
        advice = "Look at the documents of that step, or start another run with a lower optim.peak_lr or optim.clip_norm."
        said += warn(f"{which} no finite loss or gradient (NaN). {ended}{advice}")
    if history.left_out:
        step, why = next(iter(history.left_out.items()))
        are = "are" if len(history.left_out) > 1 else "is"
        said += warn(
            f"{plural(len(history.left_out), 'step')} {are} left out: the model has learned nothing from their rows. The first of them is "
            f"step {figure(step)} ({esc(why)}). left_out.json lists all."
        )
    return said + unreadable(history)


def unreadable(history: History) -> str:
    """Warns of lines that could not be read."""
    where = f"line {figure(history.first_unreadable)}"
    if not history.unreadable:
        return ""
    if history.unreadable == 1:
        return warn(f"{where.capitalize()} of metrics.jsonl could not be read. Its step is missing from this page.")
    lines = f"{plural(history.unreadable, 'line')} of metrics.jsonl, the first of them {where}"
    return warn(f"{lines}, could not be read. Their steps are missing from this page.")


def curves_section(history: History, *shown: tuple[str, str, bool]) -> str:
    """Draws charts side by side.

    Args:
        history: Where the curves are.
        *shown: The name of each curve, its title, and whether its scale is logarithmic.
    """
    if not any(key in history.curves for key, _, _ in shown):
        return quiet("No values have been recorded.")
    drawn = (line_chart([history.curves.get(key, NO_CURVE)], title=title, log=log, zero=not log, height=150) for key, title, log in shown)
    return f'<div class="side">{"".join(drawn)}</div>'


def mixture_section(history: History, mixture: Mapping[str, Any]) -> str:
    """Draws the share of tokens of each language: as the mixture wants it, and as the run has read it so far."""
    entries = {code: mapping(entry) for code, entry in mapping(mixture.get("languages")).items()}
    wanted = {code: number(entry.get("weight")) for code, entry in entries.items()}
    total = sum(history.seen.values())
    seen = {code: quotient(tokens, total) for code, tokens in history.seen.items()}
    rows = []
    for code in sorted({*wanted, *seen}, key=lambda code: (-(wanted.get(code) or 0.0), -(seen.get(code) or 0.0), code)):
        sizes = ", ".join(f"{figure(number(entries[code].get(key)))} {key}" for key in ("documents", "tokens", "bytes") if code in entries)
        values = (percent(wanted.get(code)), percent(seen.get(code)), fixed(history.epochs.get(code)))
        hint = title_of(code) + (f": {sizes} in the corpus" if sizes else "")
        rows.append(Bar(languages.name(code), wanted.get(code), seen.get(code), values, hint))
    if not rows:
        return quiet("The shares of languages have not been recorded yet.")
    note = (
        "Shares of tokens: “wanted” by the mixture, “seen” by the run so far. “Epochs” says how often the run has read "
        "the documents of the language that it has read most often."
    )
    return bar_chart(rows, names=("wanted", "seen"), columns=("wanted", "seen", "epochs")) + quiet(note)


def contamination_section(record: Mapping[str, Any]) -> str:
    """Shows how many evaluation items of each language the run has read, the largest share first, and scores without these."""
    rows = []
    for counts in objects(record.get("counts")):
        whole, nearly, part, short, items = (number(counts.get(kind)) or 0.0 for kind in ("whole", "nearly", "part", "short", "items"))
        share = quotient(whole + nearly, items - short)
        if whole + nearly + part:
            cells = (figure(items), figure(whole), figure(nearly), figure(part), figure(short), percent(share))
            name = f"{esc(languages.name(str(counts.get('language'))))} <small>{esc(str(counts.get('text')))}</small>"
            rows.append((-(share or 0.0), name, cells))
    step = figure(number(record.get("step")))
    if not rows:
        return quiet(f"Up to step {step} the run has read none of the items that were looked for.")
    scores = []
    for score in objects(record.get("scores")):
        if number(score.get("touched")):
            figures = (esc(str(score.get("metric"))), *(fixed(number(score.get(name))) for name in ("every", "unread", "untouched")))
            scores.append((esc(f"{languages.name(str(score.get('language')))}, {score.get('text')}"), figures))
    words, near, shortest = (number(record.get(name)) for name in ("words", "near", "shortest"))
    note = (
        f"Items that were in what the run has read up to step {step}. Whole: all words in a row. Nearly: {percent(near)} or more of the "
        f"sequences of {figure(words)} words. In part: one of them. Too short: less than {figure(shortest)} words. contamination.json "
        "names items, documents and steps."
    )
    columns = ("Items", "Whole", "Nearly", "In part", "Too short", "Read")
    of_scores = plain_table(("Score", "", "All items", "Without those read", "Of which nothing was read"), scores) if scores else ""
    return plain_table(("Language", *columns), [(name, cells) for _, name, cells in sorted(rows)]) + quiet(note) + of_scores


def memorisation_section(record: Mapping[str, Any]) -> str:
    """Shows the share of excerpts that the model repeats word for word, of each language, worst first, and by repetitions."""

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        found = bounds(row.get("interval"))
        between = f"{percent(found[0])} … {percent(found[1])}" if found else "–"
        share = f"<b>{percent(number(row.get('share')))}</b>"
        return figure(number(row.get("excerpts"))), figure(number(row.get("repeated"))), share, between

    def control(row: Mapping[str, Any]) -> str:
        other = mapping(row.get("held_out"))
        return f"{percent(number(other.get('share')))} of {figure(number(other.get('excerpts')))}" if number(other.get("excerpts")) else "–"

    found = {code: mapping(row) for code, row in mapping(record.get("languages")).items()}
    rows = [(esc(languages.name(code)), (*cells(row), control(row))) for code, row in found.items()]
    every = mapping(record.get("all"))
    rows.append(("<b>all</b>", (*cells(every), control(every))))
    times = []
    for row in objects(record.get("by_reads")):
        least, most = number(row.get("least")), number(row.get("most"))
        name = f"{figure(least)} or more" if most is None else figure(least) if least == most else f"{figure(least)} to {figure(most)}"
        times.append((name, cells(row)))
    step, given, wanted = (figure(number(record.get(name))) for name in ("step", "prompt_tokens", "tokens"))
    note = (
        f"After step {step}: given the first {given} tokens of a text that it has read, does the model write the {wanted} that follow "
        "(Carlini et al., 2022)? Held-out text shows how often it would guess them. memorisation.json names the excerpts."
    )
    columns = ("Excerpts", "Repeated", "Share", "95 %")
    by_reads = plain_table(("Times read", *columns), times) if times else ""
    return plain_table(("Language", *columns, "Held-out text"), rows) + quiet(note) + by_reads


def plain_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Draws a table from HTML: the headings, and for each row its name and its cells."""
    return table(head, (f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for name, cells in rows))


def samples_section(samples: Any) -> str:
    """Shows prompts and the text that the model continues them with."""
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
    if not drawn:
        return quiet("No text has been generated yet. <code>varietas report</code> generates some when the run has a checkpoint.")
    return f'<div class="samples">{"".join(drawn)}</div>' + quiet("Prompts are in colour; the model wrote the rest.")


def lists(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Draws titled lists of names and values. Empty lists are left out."""
    drawn = []
    for title, values in groups.items():
        rows = ""
        for name, value in flatten(values).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            rows += f"<div><dt>{esc(name)}</dt><dd{' class=n' if len(text) <= SHORT else ''}>{esc(text) or '–'}</dd></div>"
        drawn.append(f'<div class="list"><h3>{esc(title)}</h3><dl>{rows}</dl></div>' if rows else "")
    return f'<div class="columns">{"".join(drawn)}</div>'


def config_section(config: Mapping[str, Any]) -> str:
    """Lists all fields of the config."""
    alone = {key: value for key, value in config.items() if not isinstance(value, dict)}
    return lists({"run": alone} | {key: value for key, value in config.items() if isinstance(value, dict)})


def environment_section(env: Mapping[str, Any], mixture: Mapping[str, Any], tokens: int) -> str:
    """Lists machine, versions, cost of a step and digests. `tokens` is the number of tokens that the run has read."""
    if not env and not mixture:
        return quiet("Machine and versions have not been recorded yet.")
    machine = {key: env[key] for key in ("varietas", "python", "platform", "devices", "started") if key in env}
    machine |= {f"step, {key}": f"{fixed(quotient(number(size), 2**30), 2)} GiB" for key, size in mapping(env.get("step_memory")).items()}
    if each := number(env.get("flops_per_token")):
        machine |= {"FLOP per token": figure(each), "FLOP in all": figure(each * tokens)}
    data = {key: value for key, value in mixture.items() if key != "languages"}
    return lists(
        {"machine": machine, "versions": mapping(env.get("versions")), "data": data, "parameters": mapping(env.get("parameter_digest"))}
    )
