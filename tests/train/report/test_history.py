"""What is read from the files of a run."""

import json
from pathlib import Path

from pages import make, record

from varietas.train.report import charts
from varietas.train.report.charts import Line
from varietas.train.report.history import PANEL_POINTS, POINTS, read_metrics, smoothed_end


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


def test_the_points_of_a_language_are_means_over_its_tokens(tmp_path: Path) -> None:
    run = make(tmp_path / "weighted")
    tokens, losses = (99, 1), (2.0, 12.0)  # a step with a single token counts little
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(100):
            entry = {"ces_Latn": {"loss": losses[step % 2], "tokens": tokens[step % 2], "epochs": 0.1}}
            whole = {"step": step, "loss": losses[step % 2], "grad_norm": 1.0, "tokens": tokens[step % 2], "languages": entry}
            file.write(json.dumps(whole) + "\n")
    history = read_metrics(run / "metrics.jsonl")
    for line in (history.languages["ces_Latn"], history.together):
        assert (line.every, len(line.x), line.x[0]) == (2, 50, 0.5)
        assert list(line.y) == [2.1] * 50


def test_the_last_point_lies_within_the_steps_that_were_done(tmp_path: Path) -> None:
    run = make(tmp_path / "odd", [record(step) for step in range(401)])
    curve = read_metrics(run / "metrics.jsonl").curves["loss"]
    assert (curve.every, list(curve.x[:2]), curve.x[-1]) == (2, [0.5, 2.5], 400)


def test_one_outlier_hardly_changes_the_smoothed_end() -> None:
    def end(values: list[float | None]) -> float | None:
        return smoothed_end(Line("", range(len(values)), values))

    assert end([5.0] * 79 + [99.0]) == 5.0
    assert end([9.0, 9.0, 5.0, 5.0, 5.0, 5.0, 99.0]) == 5.0  # five points at least
    assert end([9.0] * 90 + [1.0] * 10) == 1.0  # a tenth at most
    assert end([3.0]) == 3.0
    assert end([None]) is None
