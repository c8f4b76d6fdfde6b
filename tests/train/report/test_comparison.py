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
