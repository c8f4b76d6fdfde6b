"""The order of the languages' panels, and what the page says about them."""

import re
from pathlib import Path
from typing import Any

import pytest
from pages import Page, make, record

from varietas.data.text.languages import LANGUAGES
from varietas.train.report.by_language import losses_section
from varietas.train.report.history import read_metrics


def losses(run: Path, steps: int, values: dict[str, Any]) -> str:
    """The section of a run in which each language has the loss `values[code](step)`."""

    def languages(step: int) -> dict[str, Any]:
        return {code: {"loss": loss(step), "tokens": 100, "epochs": 0.5} for code, loss in values.items()}

    make(run, [record(step, loss=4.0, languages=languages(step)) for step in range(steps)])
    return losses_section(read_metrics(run / "metrics.jsonl"))


def headings(html: str) -> list[tuple[str, str]]:
    return re.findall(r"<div><p><span>([^<]*)</span><b>([^<]*)</b>", html)


@pytest.mark.parametrize("steps", [7, 80, 500, 5000])
def test_a_language_with_an_outlier_in_its_last_step_keeps_its_place(tmp_path: Path, steps: int) -> None:
    html = losses(
        tmp_path / "run",
        steps,
        {
            "dan_Latn": lambda step: 50.0 if step == steps - 1 else 4.0,
            "mlt_Latn": lambda step: 5.0,
            "kat_Geor": lambda step: 0.1 if step == steps - 1 else 4.5,
        },
    )
    assert headings(html) == [("Maltese", "5.00"), ("Georgian", "4.50"), ("Danish", "4.00")]
    assert re.findall(r'class="key s\d">([^<]*)<', html)[::2] == ["Maltese 5.00", "Danish 4.00"]
    assert "median of the last tenth" in html


def test_what_is_cut_off_is_said_only_where_something_is(tmp_path: Path) -> None:
    steep = {"dan_Latn": lambda step: 9.0 if step < 5 else 3.0, "mlt_Latn": lambda step: 4.0}
    flat = {"dan_Latn": lambda step: 3.0, "mlt_Latn": lambda step: 4.0}
    assert "cuts off values of the first steps outside that range" in losses(tmp_path / "steep", 60, steep)
    assert "cuts off" not in losses(tmp_path / "flat", 60, flat)
    short = losses(tmp_path / "short", 20, steep)  # points are dots, and all of them are shown
    assert "cuts off" not in short
    assert "Each panel spans 2 to 10 nats per token" in Page(short).text


def test_points_that_stand_for_several_steps_are_explained(tmp_path: Path) -> None:
    flat = {"dan_Latn": lambda step: 3.0, "mlt_Latn": lambda step: 4.0}
    assert "mean over the tokens of 3 steps" in losses(tmp_path / "long", 200, flat)
    assert "mean over" not in losses(tmp_path / "short", 60, flat)


def test_a_single_language_has_one_chart_and_no_comparison(tmp_path: Path) -> None:
    html = losses(tmp_path / "run", 60, {"ces_Latn": lambda step: 3.0})
    assert html.count("<figure") == 1
    assert "Czech: nats per token" in html
    assert not [word for word in ("Worst", "best", "grey") if word in html]
    assert not headings(html)


def test_sixty_languages_each_have_a_panel(tmp_path: Path) -> None:
    codes = list(LANGUAGES)[:60]
    html = losses(tmp_path / "run", 30, {code: (lambda step, n=n: 3.0 + n / 100) for n, code in enumerate(codes)})
    assert [name for name, _ in headings(html)] == [LANGUAGES[code].name for code in codes[::-1]]
