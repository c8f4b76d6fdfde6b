"""The report of runs that are whole, broken, short, long or hostile."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from varietas.train import charts
from varietas.train.history import PANEL_POINTS, POINTS, read_metrics
from varietas.train.report import render, write_report

VOID = {"meta", "br"}
CODES = ("eng_Latn", "mlt_Latn", "ces_Latn")
HOSTILE = "</script><script>alert('x')</script>\"'&<b>"


class Page(HTMLParser):
    """Reads a page, refuses tags that do not balance, keeps attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data + " "


def record(step: int, **changes: Any) -> dict[str, Any]:
    entries = {code: {"loss": 3.0 + i, "tokens": 100 * (i + 1), "epochs": 0.5} for i, code in enumerate(CODES)}
    values = {"loss": 5.0 / (step + 1), "grad_norm": 0.4, "learning_rate": 1e-3, "tokens": 600, "tokens_per_second": 1000.0 + step}
    return {"step": step, **values, "mfu": None, "languages": entries} | changes


def evaluated(bits: float, trained_on: bool = True) -> dict[str, Any]:
    return {"bits_per_byte": bits, "untrained": 4.5, "unigram": 2.5, "bytes": 12345, "tokens": 300, "words": 120, "trained_on": trained_on}


def make(run: Path, records: list[dict[str, Any]] | None = None, **files: Any) -> Path:
    run.mkdir(exist_ok=True)
    for name, value in ({"config": {"seed": 7, "train": {"steps": 3, "batch_size": 8}}} | files).items():
        (run / f"{name}.json").write_text(json.dumps(value), "utf-8")
    if records is not None:
        (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    return run


def whole(run: Path) -> Path:
    return make(
        run,
        [record(step) for step in range(3)],
        environment={
            "varietas": "0.1.0",
            "started": "2026-11-23T20:41:00+00:00",
            "devices": "2 x cpu",
            "mesh": {"data": 1, "fsdp": 2, "tensor": 1},
            "versions": {"jax": "0.10.1"},
            "parameters": 34212352,
            "flops_per_token": 2.0e8,
            "step_memory": {"temporaries": 12884901888},
            "parameter_digest": {"step": 3, "sha256": "f00d"},
        },
        mixture={"corpus": "corpora/eu", "corpus_digest": "abcd", "languages": {c: {"weight": 0.25, "documents": 9} for c in CODES}},
        evaluation={
            "step": 3,
            "text": "the Declaration",
            "languages": {"eng_Latn": evaluated(1.0), "mlt_Latn": evaluated(1.75), "isl_Latn": evaluated(3.25, trained_on=False)},
        },
        samples=[{"language": "ces_Latn", "prompt": "Ahoj", "text": ", světe"}, {"language": "arb_Arab", "prompt": "", "text": "سلام"}],
    )


def test_figures_are_those_of_the_files(tmp_path: Path) -> None:
    text = Page(render(whole(tmp_path / "viking"))).text.replace(charts.NARROW_SPACE, " ")
    headline = text[: text.index("Optimiser")]
    for figure in ("viking", "34.2 M", "34 212 352", "of 3 planned", "1 800", "1.667", "1 001", "1 × 2 × 1", "1.000", "1.750", "0.750"):
        assert figure in headline, figure
    assert "English best, Maltese worst" in headline  # Icelandic had no training text
    for figure in ("16.7 %", "25.0 %", "0.500", "2.50", "60.0 %", "−30.0 %", "12 345", "12.00 GiB", "0.10.1", "abcd", "f00d", "Ahoj"):
        assert figure in text, figure


def test_worst_language_comes_first_and_is_marked_if_untaught(tmp_path: Path) -> None:
    html = render(whole(tmp_path / "run"))
    table = html[html.index("<tbody>") : html.index("</tbody>")]
    assert re.findall(r'<th scope="row">(\w+)', table) == ["Icelandic", "Maltese", "English"]
    assert table.count("no training text") == 1
    assert all(own in table for own in ("íslenska", "Malti", "mlt_Latn · EU", "isl_Latn · other"))
    assert all(f">{ratio}<" in table for ratio in ("3.25", "1.75", "1.00"))  # to English


def test_page_loads_nothing_and_balances(tmp_path: Path) -> None:
    html = render(whole(tmp_path / "run"))
    page = Page(html)
    assert not [way for way in ("http", "@import", "url(") if way in html]
    assert not {"link", "img", "iframe", "object", "base"} & set(page.tags)
    assert all(value.startswith("#") for _, name, value in page.attributes if name in ("src", "href", "xlink:href"))
    assert {value for _, name, value in page.attributes if name == "dir"} == {"ltr", "rtl"}


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    bad: dict[str, Any] = {HOSTILE: HOSTILE}
    hostile = record(0, tokens=HOSTILE, mfu=HOSTILE, languages={HOSTILE: {"loss": 2.0, "tokens": 5, "epochs": HOSTILE}})
    run = make(
        tmp_path / "<img src=x>",
        [hostile, record(1, languages=HOSTILE)],
        config={HOSTILE: HOSTILE, "train": {"steps": HOSTILE, **bad}},
        environment={"varietas": HOSTILE, "started": HOSTILE, "devices": HOSTILE, "mesh": bad, "versions": bad, "step_memory": bad},
        mixture={"corpus": HOSTILE, "languages": {HOSTILE: {"weight": HOSTILE}}},
        evaluation={"step": HOSTILE, "text": HOSTILE, "languages": {HOSTILE: evaluated(1.0), "x": bad, "y": HOSTILE}},
        samples=[{"language": HOSTILE, "prompt": HOSTILE, "text": HOSTILE}, HOSTILE],
    )
    html = render(run)
    page = Page(html)
    assert HOSTILE not in html
    assert HOSTILE in page.text
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


@pytest.mark.parametrize("missing", ["metrics.jsonl", "environment.json", "mixture.json", "evaluation.json", "samples.json"])
@pytest.mark.parametrize("content", [None, "", '{"half', "[1]", "null"])
def test_a_file_may_be_missing_or_broken(tmp_path: Path, missing: str, content: str | None) -> None:
    run = whole(tmp_path / "run")
    (run / missing).unlink()
    if content is not None:
        (run / missing).write_text(content)
    Page(render(run))


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    text = Page(render(make(tmp_path / "begun"))).text
    for gentle in ("has not been evaluated yet", "No values yet", "No loss by language", "Nothing has been sampled", "No mixture"):
        assert gentle in text
    with pytest.raises(ValueError, match=r"config\.json"):
        render(tmp_path)


def test_single_step(tmp_path: Path) -> None:
    page = Page(render(make(tmp_path / "one", [record(0)])))
    assert "So far 1 of 3 steps are done." in page.text
    assert any(name == "class" and "lone" in value for _, name, value in page.attributes)


@pytest.mark.parametrize("value", ["NaN", "null", "Infinity"])
def test_losses_that_are_not_finite_are_named(tmp_path: Path, value: str) -> None:
    run = make(tmp_path / "nan", [record(step) for step in range(4)])
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[2:] = [re.sub(r'"(loss|grad_norm)": [\d.]+', rf'"\1": {value}', line) for line in lines[2:]]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')  # and the last line was cut short
    history = read_metrics(run / "metrics.jsonl")
    assert (history.steps, history.loss, history.not_finite) == (4, 2.5, [2, 3])
    html = render(run)
    assert "2 steps, the first of them step 2, have no finite loss" in Page(html).text
    assert "nan" not in html.replace("<title>nan", "").replace("<h1>nan", "")
    assert "Infinity" not in html


def test_a_step_written_twice_counts_once(tmp_path: Path) -> None:
    run = make(tmp_path / "resumed", [record(step) for step in (0, 1, 2, 1, 2, 3)])
    history = read_metrics(run / "metrics.jsonl")
    assert (history.steps, history.tokens, history.seen["eng_Latn"]) == (4, 2400, 400)


def test_long_runs_are_thinned(tmp_path: Path) -> None:
    run, steps = make(tmp_path / "long"), 100_000
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(steps):
            entry = f'{{"loss": 2.0, "tokens": {step + 1}, "epochs": 0.1}}'
            file.write(f'{{"step": {step}, "loss": {step}, "tokens": 1, "languages": {{"eng_Latn": {entry}}}}}\n')
    history = read_metrics(run / "metrics.jsonl")
    curve = history.curves["loss"]
    assert (history.steps, history.tokens, history.loss) == (steps, steps, steps - 1)
    assert POINTS / 2 < len(curve.x) <= POINTS
    assert len(history.languages["eng_Latn"].x) <= PANEL_POINTS
    assert list(curve.y)[:-1] == list(curve.x)[:-1]  # here the mean of a bin is its middle
    assert (curve.low[0], curve.high[-1]) == (0, steps - 1)
    assert len(charts.line_chart([curve], title="Loss")) < 40_000


def test_write_report_replaces_the_file(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    (run / "report.html").write_text("old")
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text("utf-8") == render(run)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (12345.6, "12 346"),
        (3.14159, "3.142"),
        (3e-4, "3 × 10⁻⁴"),
        (-0.5, "−0.5"),
        (999.99, "1 000"),
    ],
)
def test_figure(value: float | None, words: str) -> None:
    assert charts.figure(value).replace(charts.NARROW_SPACE, " ") == words


@pytest.mark.parametrize(
    ("value", "words"), [(34212352, "34.2 M"), (999_960, "1.00 M"), (1.7e9, "1.70 B"), (9999, "9 999"), (12_000, "12.0 k")]
)
def test_compact(value: float, words: str) -> None:
    assert charts.compact(value).replace(charts.NARROW_SPACE, " ") == words


@pytest.mark.parametrize("values", [[3.0], [0.0], [2.5, 2.5], [1e-5, 3e-3], [-4.0, 9.0], [11.2, 2.31, 5.0], [1e9, 4e12]])
@pytest.mark.parametrize("log", [False, True])
def test_axes_hold_their_values_and_end_on_marks(values: list[float], log: bool) -> None:
    axis = charts.log_axis(values) if log else charts.linear_axis(values)
    assert all(-1e-9 <= axis.at(value) <= 1 + 1e-9 for value in values if value > 0 or not log)
    assert 2 <= len(axis.ticks) <= 12
    assert axis.ticks[0] == axis.low
