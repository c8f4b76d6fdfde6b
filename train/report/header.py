"""The top of the report: the name of the run, its state in a few sentences, and its main figures."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from varietas.data.text import languages
from varietas.train.report.figures import compact, figure, fixed, moment, plural, quotient
from varietas.train.report.history import History
from varietas.train.report.markup import esc
from varietas.train.run_folder.corrupt import FILE, read_corrupt
from varietas.train.run_folder.evaluations import Evaluation, compared
from varietas.train.run_folder.folder import saved_steps
from varietas.train.run_folder.records import mapping, number


def header(run: Path, config: Mapping[str, Any], env: Mapping[str, Any], history: History, main: Evaluation | None) -> str:
    """Returns the header as HTML.

    Args:
        run: The folder of the run.
        config: Its config.json.
        env: Its environment.json; may be empty.
        history: Its metrics.
        main: The newest of its main evaluations.
    """
    said = filter(None, (progress(run, config, env, history), left_out(run), verdict(main)))
    cells = "".join(
        f'<div><dt>{label}</dt><dd>{value}</dd><dd class="note">{note}</dd></div>'
        for label, value, note in (*training(config, env, history), *results(main))
        if value != "–"
    )
    try:
        started = f"last started {moment(datetime.fromisoformat(str(env.get('started'))))}"
    except (ValueError, OverflowError):
        started = ""
    version = f"Varietas {esc(env['varietas'])}" if "varietas" in env else "Varietas"
    return (
        f'<header><p class="eyebrow"><span>{version} · report of a run</span><span>{started}</span></p><h1>{esc(run.resolve().name)}</h1>'
        f'<p class="lede">{" ".join(said)}</p><dl class="headline">{cells}</dl></header>'
    )


def progress(run: Path, config: Mapping[str, Any], env: Mapping[str, Any], history: History) -> str:
    """Tells what was done, and of a run that is not finished where it stands and how it continues."""
    planned = number(mapping(config.get("train")).get("steps"))
    devices = f" on {esc(env['devices'])}" if "devices" in env else ""
    if not history.steps:
        return "No step has been recorded yet."
    unfinished = history.steps < (planned or 0)
    if unfinished:
        written = moment(datetime.fromtimestamp((run / "metrics.jsonl").stat().st_mtime, UTC))
        of = f"{figure(history.steps)} of {plural(round(planned or 0), 'step')}"
        said = f"Trained for {of}{devices}. Its metrics were last written on {written}."
    else:
        said = f"Trained for {plural(history.steps, 'step')}{devices}."
    if history.not_finite and history.not_finite[-1] == history.steps - 1:
        return f"{said} The run ended there, because step {figure(history.steps - 1)} has no finite loss or gradient (NaN)."
    if not unfinished:
        return said
    saved = max(saved_steps(run), default=0)
    again = f"continues it from its checkpoint of step {figure(saved)}" if saved else "starts it again, because it has no checkpoint"
    return f"{said} If the run has stopped, the same <code>varietas train</code> command {again}."


def left_out(run: Path) -> str:
    """Tells how many damaged documents were left out, if any."""
    found = len(read_corrupt(run))
    return f"{plural(found, 'document')} had damaged bytes and {'was' if found == 1 else 'were'} left out ({FILE})." if found else ""


def verdict(main: Evaluation | None) -> str:
    """Names the languages that the model predicts best and worst."""
    scores = list(compared(main.languages)) if main else []
    if not main or not scores:
        return "The model has not been evaluated yet."
    when = f"After step {figure(main.step)}"
    if len(scores) == 1:
        return f"{when} the model was evaluated on {esc(languages.name(scores[0]))}."
    return f"{when} the model predicts {esc(languages.name(scores[-1]))} best and {esc(languages.name(scores[0]))} worst."


def training(config: Mapping[str, Any], env: Mapping[str, Any], history: History) -> list[tuple[str, str, str]]:
    """Returns label, value and note of the figures on training."""
    planned = number(mapping(config.get("train")).get("steps"))
    mesh = mapping(env.get("mesh")) or mapping(config.get("mesh"))
    parameters = number(env.get("parameters"))
    return [
        ("Parameters", compact(parameters), figure(parameters)),
        ("Steps", figure(history.steps), f"of {figure(planned)} planned" if planned else ""),
        ("Tokens seen", compact(history.tokens) if history.steps else "–", f"in {plural(len(history.seen), 'language')}"),
        ("Last loss", fixed(history.loss), f"{history.unit}, in step\u00a0{figure(history.loss_step)}"),
        ("Tokens per second", compact(history.rate), "median over steps" if history.steps > 1 else "in the only step"),
        ("Mesh", " × ".join(figure(number(size)) for size in mesh.values()) or "–", esc(" × ".join(mesh))),
    ]


def results(main: Evaluation | None) -> list[tuple[str, str, str]]:
    """Returns label, value and note of the figures on the evaluation."""
    scores = list(compared(main.languages).items()) if main else []
    if not main or not scores:
        return []
    (worst, most), (best, least) = scores[0], scores[-1]
    unit = f"bits per byte, {esc(main.name)}"
    if len(scores) == 1:
        return [(esc(languages.name(best)), fixed(least), unit)]
    return [
        (f"Best: {esc(languages.name(best))}", fixed(least), unit),
        (f"Worst: {esc(languages.name(worst))}", fixed(most), unit),
        ("Gap", fixed(most - least), f"bits per byte; the worst has {fixed(quotient(most, least), 2)} times the best"),
    ]
