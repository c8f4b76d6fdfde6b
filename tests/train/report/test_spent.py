"""The section of the report on time and energy."""

import json
from pathlib import Path

from pages import HOSTILE, Page, whole

from varietas.train.accounting.goodput import FILE
from varietas.train.report.figures import NARROW_SPACE
from varietas.train.report.page import render


def shown(run: Path, *lines: dict[str, object]) -> str:
    """The text of the section on time."""
    (run / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = render(run)
    Page(html)
    section = html[html.index('<section id="time">') :]
    return " ".join(Page(section[: section.index("</section>") + len("</section>")]).text.replace(NARROW_SPACE, " ").split())


def began(time: float, host: str = "n1", job: str = "") -> dict[str, object]:
    return {"began": 1_795_800_000.0 + time, "host": host, "job": job, "step": None, "seconds": {"init": 10.0, "compile": 20.0}}


def line(step: int, trained: float, saved: float, joules: float = 0.0) -> dict[str, object]:
    return {
        "step": step,
        "seconds": {"init": 10.0, "compile": 20.0, "step": trained, "checkpoint": saved},
        "joules": {"estimate": joules} if joules else {},
    }


def test_a_run_without_restart(tmp_path: Path) -> None:
    text = shown(whole(tmp_path / "run"), began(0), line(0, 0, 0), line(1, 2, 0), line(99, 200, 20))
    assert "80.0 % of 4 min 10 s went into training steps that count (goodput). From its start to the next step it took 32 s." in text
    assert "Training steps 3 min 20 s 80.0 %" in text and "Saving checkpoints 20 s 8.0 %" in text and "Compiling 20 s 8.0 %" in text
    for absent in ("lost", "Not running", "Starts", "kWh", "Evaluations"):
        assert absent not in text, absent


def test_a_run_with_restarts(tmp_path: Path) -> None:
    first = [began(0, job="41"), line(0, 0, 0), line(1, 2, 0), line(50, 100, 10), line(60, 120, 10, 9e5)]
    text = shown(whole(tmp_path / "run"), *first, began(600), line(50, 0, 0), line(51, 4, 0), line(99, 96, 14, 9e5))
    assert "26.5 % of 12 min went into training steps that count (goodput). The run was restarted 1 time and lost 20 s of work." in text
    assert "From its last restart to the next step it took 34 s. It used 0.5 kWh (estimated from the power of the machine)." in text
    assert "Work that was lost 20 s 2.7 %" in text and "Not running 7 min 20 s 59.5 %" in text
    assert "n1, job 41 0 60 2 min 40 s 32 s 20 s" in text and "n1 50 99 2 min 20 s 34 s –" in text


def test_what_is_broken_or_hostile(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    assert "Where the time went has not been recorded yet." in shown(run)
    text = shown(run, {"began": HOSTILE, "host": HOSTILE, "seconds": HOSTILE}, {"began": 1e30, "seconds": {HOSTILE: 1.0, "step": HOSTILE}})
    assert HOSTILE in text  # as text
