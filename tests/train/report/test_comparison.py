"""Evaluations by name and step on the page."""

import re
from pathlib import Path
from typing import Any

from pages import Page, evaluated, make, record

from varietas.train.report.comparison import evaluation_section
from varietas.train.report.page import render
from varietas.train.run_folder import evaluations
from varietas.train.run_folder.evaluations import Evaluation


def evaluation(name: str, step: int, **bits: float) -> Evaluation:
    return Evaluation(name, step, f"text of {name}", name * 8, {f"{code}_Latn": evaluated(value) for code, value in bits.items()})


def cells(html: str) -> list[list[str]]:
    """The first words of each cell of the first table."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(?:<b>)?([^<]*)", row) for row in body.split("</tr>")[:-1]]


def test_names_stand_side_by_side_worst_language_of_the_main_one_first(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(step) for step in range(3)])
    evaluations.write(run, evaluation("declaration", 1, eng=9.0, ces=9.5))
    evaluations.write(run, evaluation("declaration", 3, eng=1.0, ces=1.5))
    evaluations.write(run, evaluation("flores", 2, eng=0.75, mlt=2.0, fin=3.0))
    html = evaluation_section(evaluations.read_all(run))
    assert re.findall(r"<th scope=.col.><span class=.name.>(\w+)</span><br><small>step (\d)", html) == [
        ("declaration", "3"),
        ("flores", "2"),
    ]
    assert cells(html) == [
        ["Czech", "1.500", "–"],
        ["English", "1.000", "0.750"],
        ["Finnish", "–", "3.000"],
        ["Maltese", "–", "2.000"],
    ]
    main, other = html[html.index("<h3>declaration, after step 3</h3>") :].split("<details>")
    assert "text of declaration" in main
    assert other.startswith("<summary>flores, after step 2</summary>")
    assert cells(other)[0][:2] == ["Finnish", "3.000"]


def test_the_header_is_of_the_main_evaluation(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(step) for step in range(3)])
    evaluations.write(run, evaluation("aaa", 3, eng=0.1, fin=9.9))
    assert "predicts English best and Finnish worst" in Page(render(run)).text
    evaluations.write(run, evaluation("declaration", 2, mlt=1.0, ces=1.5))
    text = " ".join(Page(render(run)).text.split())
    assert "After step 2 the model predicts Maltese best and Czech worst." in text
    assert "Gap 0.500 bits per byte; the worst has 1.50 times the best" in text


def test_one_evaluation_is_neither_compared_nor_drawn_over_steps() -> None:
    html = evaluation_section({"flores": [evaluation("flores", 3, eng=1.0, ces=1.5)]})
    assert html.count("<table") == 1
    assert re.search(r"<p [^>]*>Worst language first\. Fewer bits per byte are better\.[^<]*</p>", html)
    assert not [word for word in ("<figure", "<details", "All texts", "mean") if word in html]


def spoken(html: str) -> list[str]:
    """What the last chart says under the pointer, step by step."""
    return re.findall(r"&quot;(.*?)&quot;", html[html.rindex("data-say=") :])


def test_the_course_has_worst_mean_best_and_every_language() -> None:
    found = [evaluation("flores", step, eng=4.0 - step, ces=5.0 - step, mlt=6.5 - step) for step in (1, 2)]
    untaught: dict[str, Any] = {"fin_Latn": evaluated(9.0, trained_on=False)}
    found = [Evaluation(e.name, e.step, e.text, e.text_digest, {**e.languages, **untaught}) for e in found]
    html = evaluation_section({"flores": found})
    course = html[html.index("2 evaluations, after steps 1 to 2") :]
    assert re.findall(r"<div><p><span>([^<]*)</span><b>([^<]*)</b>", course) == [
        ("Finnish", "9.00"), ("Maltese", "4.50"), ("Czech", "3.00"), ("English", "2.00"),
    ]  # fmt: skip
    assert course.index("panels") < course.index("Worst, mean and best")  # each language first
    said = [words.replace("\u00a0", " ") for words in spoken(html)]
    assert said == [  # (5.5 + 4 + 3) / 3 and (4.5 + 3 + 2) / 3
        "step 1 · worst language 5.5 · mean 4.167 · best language 3",
        "step 2 · worst language 4.5 · mean 3.167 · best language 2",
    ]


def test_a_language_that_comes_later_begins_later() -> None:
    found = [evaluation("my", 10, eng=2.0), evaluation("my", 20, eng=2.0, ces=3.0), evaluation("my", 30, ces=2.5)]
    html = evaluation_section({"my": found})
    headings = re.findall(r"<div><p><span>([^<]*)</span><b>([^<]*)</b>", html)
    assert headings == [("Czech", "2.50"), ("English", "2.00")]


def test_a_course_of_a_single_language_is_one_chart() -> None:
    html = evaluation_section({"my": [evaluation("my", step, ces=3.0 / step) for step in (1, 2)]})
    assert html.count("<figure") == 1
    assert "Czech: bits per byte" in html
    assert not [word for word in ("Worst", "mean", "panels", "Ratio to English") if word in html]


def test_short_texts_are_marked() -> None:
    short = Evaluation("my", 3, "", "", {"ces_Latn": {**evaluated(1.0), "bytes": 499}, "mlt_Latn": {**evaluated(2.0), "bytes": 500}})
    html = evaluation_section({"my": [short]})
    assert re.findall(r"(\w+) <small class=.mark.>short text<", html) == ["Czech"]
    assert "less than 500 bytes" in html
    assert "short text" not in evaluation_section({"my": [evaluation("my", 3, ces=1.0)]}).lower()


def with_figures(step: int, ces: float, fin: float, tokens: dict[str, int]) -> Evaluation:
    bits, figure = {"ces_Latn": ces, "fin_Latn": fin}, {"value": abs(ces - fin), "interval": [0.1, 0.9]}
    rows = {
        code: {**evaluated(value), "interval": [value - 0.05, value + 0.05], "tokens_seen": tokens[code]} for code, value in bits.items()
    }
    parity = {"gap": figure, "ratio": {"value": max(ces, fin) / min(ces, fin), "interval": None}, "gini": figure, "languages": 2}
    return Evaluation("flores", step, "", "", rows, parity)


def test_intervals_tokens_seen_and_parity_stand_beside_results() -> None:
    html = evaluation_section({"flores": [with_figures(9, 1.5, 2.25, {"ces_Latn": 2_500_000, "fin_Latn": 12_000})]})
    assert cells(html) == [
        ["Finnish", "2.250", "2.200 … 2.300", "12.0\u202fk", "10.0\u202f%", "4.500", "2.500", "2.50", "12\u202f345"],
        ["Czech", "1.500", "1.450 … 1.550", "2.50\u202fM", "40.0\u202f%", "4.500", "2.500", "2.50", "12\u202f345"],
    ]
    text = Page(html).text
    assert "Worst − best 0.750 0.100 … 0.900 Worst / best 1.500 – Gini coefficient 0.750" in " ".join(text.split())
    assert "Tokens seen" not in evaluation_section({"flores": [evaluation("flores", 9, eng=1.0, ces=1.5)]})


def test_sources_are_folded() -> None:
    part = {"bits_per_byte": 1.25, "interval": [1.0, 1.5], "bytes": 10, "documents": 3}
    row = {**evaluated(1.5), "sources": {"<wiki>": part, "": {**part, "interval": None}}}
    html = evaluation_section({"my": [Evaluation("my", 3, "", "", {"ces_Latn": row})]})
    folded = Page(html[html.index("<details><summary>By source") :]).text
    assert " ".join(folded.split()).startswith("By source Language <wiki> no source Czech")
    assert "1.250 1.000 … 1.500 1.250 –" in " ".join(folded.split())


def test_the_course_shows_parity_with_bands_and_each_language_over_its_own_tokens() -> None:
    found = [with_figures(10 * k, 3.0 - k, 3.5 - k, {"ces_Latn": 1000 * k, "fin_Latn": 100 * k}) for k in (1, 2)]
    html = evaluation_section({"flores": found})
    Page(html)
    assert html.count('class="band s0"') == 2  # of the gap and of the Gini coefficient
    panels = html[html.index("By tokens seen") :]
    assert re.findall(r"<div><p><span>([^<]*)</span><b>([^<]*)</b>", panels) == [("Finnish", "1.50"), ("Czech", "1.00")]
    finnish, czech = (re.findall(r'class="line s0" d="M(\d+) [\d.]+L(\d+)', panel)[0] for panel in panels.split("<div><p>")[1:])
    assert (finnish, czech) == (("50", "100"), ("500", "1000"))  # of a viewport of 1,000 for 2,000 tokens
    assert "By tokens seen" not in evaluation_section({"my": [evaluation("my", step, ces=3.0, fin=2.0) for step in (1, 2)]})


def compared(label: str, **changes: Any) -> dict[str, Any]:
    of = {"first": 2.0, "interval": [0.01, 0.2], "documents": 40}
    rows = [
        {"code": "mlt_Latn", "second": 2.5, "change": 0.5, "p": 0.001, "significant": True, **of},
        {"code": "ces_Latn", "second": 2.01, "change": 0.01, "p": 0.8, "significant": False, **of},
        {"code": "isl_Latn", "second": 1.9, "change": -0.1, "p": None, "significant": False, **of, "interval": None, "documents": 1},
        {"code": "fin_Latn", "second": 1.5, "change": -0.5, "p": 0.002, "significant": True, **of},
    ]
    return {"label": label, "step": 40, "against": "runs/a", "against_step": 30, "text": "FLORES", "languages": rows, **changes}


def test_comparisons_stand_newest_first_worst_change_first(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(0)], comparisons={"comparisons": [compared("runs/old"), compared("runs/b<i>")]})
    page = Page(render(run))
    text = " ".join(page.text.split())
    assert text.index("runs/b<i> (step 40) against runs/a (step 30)") < text.index("runs/old (step 40) against runs/a")
    assert "Better in 1 language, worse in 1, not significantly different in 1. 1 language with a single document" in text
    html = render(run)
    rows = cells(html[html.index("Comparisons</h2>") :])
    assert [(row[0], row[3], row[6]) for row in rows] == [
        ("Maltese", "0.500", "worse"), ("Czech", "0.010", "no difference"), ("Icelandic", "−0.100", "–"), ("Finnish", "−0.500", "better"),
    ]  # fmt: skip


def test_damaged_comparisons_do_no_harm(tmp_path: Path) -> None:
    broken = [{}, {"languages": [7, {"code": 3}], "parity": [{}, {"gap": 4}]}, compared("b", languages=None, parity=7), 9]
    for number, content in enumerate(({"comparisons": broken}, {"comparisons": {}}, [], {"comparisons": [4]})):
        Page(render(make(tmp_path / str(number), [record(0)], comparisons=content)))
