"""The section on experts: distances between languages by hand, and a file that may be missing or broken."""

import json
from pathlib import Path

import numpy as np
import pytest
from pages import Page, make, record

from varietas.train.report.experts import distances, read_loads
from varietas.train.report.page import render

LOADS = {"ces_Latn": [[30, 10, 0], [20, 20, 0]], "mlt_Latn": [[0, 10, 30], [20, 20, 0]]}


def run_with(folder: Path, lines: str) -> Path:
    run = make(folder, [record(step, max_violation=0.5) for step in range(3)])
    (run / "experts.jsonl").write_text(lines)
    return run


def test_a_language_is_as_far_apart_as_its_tokens_go_elsewhere() -> None:
    """In the first layer all tokens go to (30, 20, 30) of 80, so 3/8 of each language goes elsewhere; in the second layer none does."""
    apart = distances({code: np.array(of_language, np.float64) for code, of_language in LOADS.items()})
    assert apart == {"ces_Latn": pytest.approx(3 / 16), "mlt_Latn": pytest.approx(3 / 16)}


def test_the_last_loads_are_drawn(tmp_path: Path) -> None:
    old, new = ({"step": step, "steps": 1, "loads": loads} for step, loads in ((0, {"eng_Latn": [[1, 0]]}), (2, LOADS)))
    run = run_with(tmp_path / "run", json.dumps(old) + "\n" + json.dumps(new) + "\n" + '{"step": 3, "loa')
    assert set(read_loads(run)) == set(LOADS)
    text = Page(render(run)).text
    assert "Busiest expert above the mean" in text and "Apart" in text and "18.8%" in text.replace("\u202f", "").replace("\u00a0", "")


@pytest.mark.parametrize(
    "content", ["", "\0\0", "[1]\n", '{"step": 1, "loads": {"ces_Latn": [1, 2]}}\n', '{"step": 1, "loads": {"a": "b"}}\n']
)
def test_a_broken_file_leaves_the_curve(tmp_path: Path, content: str) -> None:
    text = Page(render(run_with(tmp_path / "run", content))).text
    assert "Busiest expert above the mean" in text and "Apart" not in text


def test_a_run_without_experts_has_no_such_section(tmp_path: Path) -> None:
    assert 'id="experts"' not in render(make(tmp_path / "run", [record(0)]))
