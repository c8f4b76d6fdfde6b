"""Curves as SVG: where they are interrupted, when points are dots, and what is said under the pointer."""

import re

from varietas.train.report.axes import Axis
from varietas.train.report.charts import FEW, Bar, Line, bar_chart, curves, line_chart, path, spoken

X, Y = Axis(0, 10, (0, 10)), Axis(0, 1, (0, 1))


def test_a_curve_is_interrupted_where_a_value_is_missing_and_lone_points_stay_visible() -> None:
    line = Line("", [0, 1, 2, 3, 4], [0.0, 1.0, None, 0.5, float("nan")])
    assert path(line, X, Y, 100) == "M0 100L100 0M300 50h0"
    assert path(Line("", [0, 1], [0.1, 0.0]), X, Axis(0.01, 1, (0.01, 1), log=True), 100) == "M0 50h0"  # zero has no logarithm


def test_few_points_are_dots() -> None:
    assert re.findall(r'class="dots s0" d="([^"]*)"', curves([Line("", [0, 5], [0.0, 1.0])], X, Y, 100)) == ["M0 100h0M500 0h0"]
    few, many = (Line("", range(n), [0.5] * n) for n in (FEW, FEW + 1))
    assert "dots" not in curves([few, many], X, Y, 100)


def test_the_words_under_the_pointer_name_every_line() -> None:
    lines = [Line("a", [0, 1000], [1.0, 2.0]), Line("b", [1000], [None])]
    assert spoken(lines) == [(0, "step\u00a00 · a\u00a01"), (1000, "step\u00a01\u202f000 · a\u00a02 · b\u00a0–")]
    assert spoken([Line("", [2.5], [1.0], every=2)]) == [(2.5, "around step\u00a02 · 1")]


def test_a_legend_with_values_takes_the_place_of_the_last_ones() -> None:
    lines = [Line("a", [0, 1], [1.0, 9.0], note="1.50"), Line("b", [0, 1], [1.0, 2.0])]
    html = line_chart(lines, title="t")
    assert "<output></output>" in html
    assert re.findall(r'class="key s\d">([^<]*)', html) == ["a 1.50", "b"]


def test_text_is_escaped() -> None:
    drawn = line_chart([Line("<i>", [0], [1.0]), Line("<b>", [0], [1.0])], title="<u>")
    drawn += bar_chart([Bar("<i>", 0.5, None, ["<b>"], "<u>")], names=("<s>", "<p>"), columns=["<q>"])
    assert not re.findall(r"<[ibusq]>|<p>", drawn)
