"""The report of runs that are whole, broken, short, long or hostile."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, VOID, Page, evaluated, make, record, whole

from varietas.train.report import figures
from varietas.train.report.history import read_metrics
from varietas.train.report.markup import STYLE
from varietas.train.report.page import render, write_report


def test_figures_are_those_of_the_files(tmp_path: Path) -> None:
    text = Page(render(whole(tmp_path / "viking"))).text.replace(figures.NARROW_SPACE, " ")
    headline = text[: text.index("Optimiser")]
    for figure in ("viking", "34.2 M", "34 212 352", "of 3 planned", "1 800", "1.667", "1 001", "1 × 2 × 1", "1.000", "1.750", "0.750"):
        assert figure in headline, figure
    assert "After step 3 the model predicts English best and Maltese worst" in headline  # Icelandic had no training text
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
        samples=[{"language": HOSTILE, "prompt": HOSTILE, "text": HOSTILE}, HOSTILE],
        **{"evaluations/declaration/1": {"text": HOSTILE, "languages": {HOSTILE: evaluated(1.0), "x": bad, "y": HOSTILE}}},
    )
    for step in (1, 2):
        hostile_evaluation = {"name": HOSTILE, "step": HOSTILE, "text": HOSTILE, "text_digest": bad, "languages": {HOSTILE: evaluated(1.0)}}
        (run / "evaluations" / "flores").mkdir(parents=True, exist_ok=True)
        (run / "evaluations" / "flores" / f"{step}.json").write_text(json.dumps(hostile_evaluation))
    (run / "evaluations" / HOSTILE.replace("/", "")).mkdir()
    html = render(run)
    page = Page(html)
    assert HOSTILE not in html
    assert HOSTILE in page.text
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


@pytest.mark.parametrize("missing", ["metrics.jsonl", "environment.json", "mixture.json", "evaluations/declaration/3.json", "samples.json"])
@pytest.mark.parametrize("content", [None, "", '{"half', "[1]", "null"])
def test_a_file_may_be_missing_or_broken(tmp_path: Path, missing: str, content: str | None) -> None:
    run = whole(tmp_path / "run")
    (run / missing).unlink()
    if content is not None:
        (run / missing).write_text(content)
    Page(render(run))


def test_a_run_that_has_only_begun_tells_what_is_missing(tmp_path: Path) -> None:
    text = Page(render(make(tmp_path / "begun"))).text
    for gentle in ("No step has been recorded", "has not been evaluated yet", "No text has been generated", "shares of languages have not"):
        assert gentle in text
    assert "0 of 3 planned" in " ".join(text.split())
    assert "Optimiser" not in text  # nor other sections that would be empty
    with pytest.raises(ValueError, match=r"config\.json"):
        render(tmp_path)


def test_a_single_step_is_a_dot_without_statistics(tmp_path: Path) -> None:
    page = Page(render(make(tmp_path / "one", [record(0)])))
    assert "Trained for 1 of 3 steps." in page.text
    assert any(name == "class" and "dots" in value for _, name, value in page.attributes)
    sections = page.text[page.text.rindex("Loss ") : page.text.rindex("Configuration ")]
    assert not [untrue for untrue in ("mean of", "mean over", "cuts off", "band", "median of", "curve") if untrue in sections]


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


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{", "[]", '{"loss": 1}', "\0\0"], "4 lines of metrics.jsonl, the first of them line 2, could not be read."),
        (['{"step": 1, "lo'], "Line 2 of metrics.jsonl could not be read."),
        (["[" * 100_000], "Line 2 of metrics.jsonl could not be read."),
        (["", "  "], ""),
    ],
)
def test_lines_that_cannot_be_read_are_counted(tmp_path: Path, lines: list[str], said: str) -> None:
    run = make(tmp_path / "run")
    written = [json.dumps(record(0)), *lines, json.dumps(record(2))]
    (run / "metrics.jsonl").write_text("\n".join(written) + "\n")
    text = Page(render(run)).text
    assert said in text
    assert ("could not be read" in text) == bool(said)
    assert "Trained for 3 steps." in text


def styles() -> list[tuple[list[str], str]]:
    """Selectors, each as the list of its parts, and declarations of the style sheet, without those for print."""
    screen = re.sub(r"@media[^{]*\{", "", STYLE[: STYLE.index("@media print")])
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", screen)
    return [(selector.split(), body) for selectors, body in rules for selector in selectors.split(",")]


def breakable(chain: list[tuple[str, list[str]]]) -> bool:
    """Whether text in the last of nested elements (tag, classes) may break inside of a word."""

    def fits(part: str, element: tuple[str, list[str]]) -> bool:
        tag, *classes = part.split(".")
        return (not tag or tag == element[0]) and set(classes) <= set(element[1])

    anywhere = nowrap = False
    for depth, element in enumerate(chain):
        for parts, body in styles():
            above = iter(chain[:depth])
            if fits(parts[-1], element) and all(any(fits(part, outer) for outer in above) for part in parts[:-1]):
                anywhere = "overflow-wrap: anywhere" in body or anywhere
                nowrap = "white-space: nowrap" in body or (nowrap and "white-space" not in body)
    return anywhere and not nowrap


def test_numbers_do_not_break_over_lines(tmp_path: Path) -> None:
    """A number lies in no element whose text may break anywhere. Names, digests and generated text may."""
    run = whole(tmp_path / "run")
    html = re.sub(r"<(script|style)>.*?</\1>", "", render(run), flags=re.DOTALL)
    chain: list[tuple[str, list[str]]] = []
    places = set()
    for closing, tag, attributes, empty, text in re.findall(r"<(/?)([\w!]+)([^>]*?)(/?)>([^<]*)", html):
        if closing:
            assert chain.pop()[0] == tag
        elif not empty and tag not in VOID:
            found = re.search(r'class="?([^"]*)', attributes)
            chain.append((tag, found[1].split() if found else []))
        if re.search(rf"\d[.{figures.NARROW_SPACE}]\d|\d{figures.NARROW_SPACE}", text) and chain[-1][0] != "title":
            places.add(chain[-1][0])
            assert not breakable(chain), (text, chain)
    assert {"dd", "b", "td", "text", "output"} <= places  # headings, panels, tables, axes and captions were looked at
    assert breakable([("div", ["panels"]), ("span", [])])  # a name
    assert breakable([("div", ["list"]), ("dd", [])])  # a digest


def test_write_report_replaces_the_file(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    (run / "report.html").write_text("old")
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text("utf-8") == render(run)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
