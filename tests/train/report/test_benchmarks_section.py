"""The section on benchmarks: the newest scores, the worst first, and none where there are none."""

from pathlib import Path

from pages import HOSTILE, Page, make, record

from varietas.train.report.page import render
from varietas.train.run_folder.benchmarks import Benchmark, Score, write


def result(task: str, value: float, step: int = 2, group: str = "", **more: object) -> Benchmark:
    return Benchmark(task, step, (Score("acc", value, 0.015, 0.25),), 900, group, **more)  # type: ignore[arg-type]


def test_the_newest_scores_are_shown_worst_first(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(0)])
    for task, code, values in (("belebele_deu_Latn", "deu_Latn", (0.3, 0.45)), ("belebele_mlt_Latn", "mlt_Latn", (0.26, 0.275))):
        for step, value in enumerate(values, 1):
            write(run, result(task, value, step, "belebele", language=code))
    write(run, result("belebele", 0.3625, members=("belebele_deu_Latn", "belebele_mlt_Latn")))
    write(run, result(f"own{HOSTILE}", 0.5))
    page = render(run)
    text = Page(page).text
    section = text[text.index("Benchmarks", text.index("Benchmarks") + 1) :]
    assert HOSTILE not in page and "belebele: acc, 0shot" in section and "acc over steps" in section
    assert section.index("belebele_mlt_Latn") < section.index("Maltese") < section.index("belebele_deu_Latn") < section.index("mean of 2")
    for figure in ("0.275", "0.450", "0.362", "0.015", "0.250", "900"):
        assert figure in section, figure
    assert "0.260" not in section.split("acc over steps")[0]  # an older one


def test_a_run_without_benchmarks_has_no_such_section(tmp_path: Path) -> None:
    assert 'id="benchmarks"' not in render(make(tmp_path / "run", [record(0)]))
