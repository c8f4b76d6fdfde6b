"""What the top of the page says of a run's state."""

import os
from pathlib import Path
from typing import Any

from pages import Page, evaluated, make, record

from varietas.train.report import figures
from varietas.train.report.page import render


def lede(run: Path) -> str:
    html = render(run)
    return Page(html[html.index('<p class="lede">') : html.index("<dl")]).text.replace(figures.NARROW_SPACE, " ").replace("  ", " ").strip()


def headline(run: Path) -> str:
    html = render(run)
    text = Page(html[html.index("<dl") : html.index("</header>")]).text
    return " ".join(text.split())


def test_a_finished_run_tells_its_steps_and_devices(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(step) for step in range(3)], environment={"devices": "8 x H100"})
    assert lede(run) == "Trained for 3 steps on 8 x H100. The model has not been evaluated yet."


def test_a_run_that_broke_off_says_where_when_and_how_it_continues(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(step) for step in range(2)])
    os.utime(run / "metrics.jsonl", (1_800_000_000, 1_800_000_000))  # date -u -d @1800000000
    begun = "Trained for 2 of 3 steps. Its metrics were last written on 15 January 2027, 08:00 UTC. If the run has stopped, the same "
    assert lede(run).startswith(begun + "varietas train command starts it again, because it has no checkpoint.")
    (run / "checkpoints" / "1" / "params").mkdir(parents=True)
    (run / "checkpoints" / "1" / "params" / "manifest").touch()
    assert lede(run).startswith(begun + "varietas train command continues it from its checkpoint of step 1.")


def test_a_run_that_ended_without_a_finite_loss(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(0), record(1, loss=None)])
    assert "The run ended there, because step 1 has no finite loss or gradient (NaN)." in lede(run)
    assert "If the run has stopped" not in lede(run)
    assert "Last loss 5.000 nats per token, in step 0" in headline(run)
    make(run, [record(0), record(1), record(2, grad_norm=None)])  # in the last step that was planned
    assert lede(run).startswith("Trained for 3 steps. The run ended there, because step 2 has no finite loss or gradient (NaN).")
    assert "The run ended there. Look at the documents of that step" in Page(render(run)).text


def test_a_run_without_steps_has_only_figures_that_are_known(tmp_path: Path) -> None:
    run = make(tmp_path / "run", config={"train": {"steps": 3}, "mesh": {"data": 1, "fsdp": 2, "tensor": 1}})
    assert lede(run) == "No step has been recorded yet. The model has not been evaluated yet."
    assert headline(run) == "Steps 0 of 3 planned Mesh 1 × 2 × 1 data × fsdp × tensor"
    make(
        run, config={"train": {"steps": 3}}, environment={"devices": "2 x cpu", "parameters": 1234, "started": "2026-11-23T20:41:00+00:00"}
    )
    assert headline(run) == f"Parameters 1{figures.NARROW_SPACE}234 1{figures.NARROW_SPACE}234 Steps 0 of 3 planned".replace("\u202f", " ")
    assert "last started 23 November 2026, 20:41 UTC" in Page(render(run)).text


def test_a_single_language_is_neither_best_nor_worst(tmp_path: Path) -> None:
    one: dict[str, Any] = {"text": "", "languages": {"ces_Latn": evaluated(1.5)}}
    languages = {"ces_Latn": {"loss": 2.0, "tokens": 5, "epochs": 0.1}}
    run = make(tmp_path / "run", [record(step, languages=languages) for step in range(3)], **{"evaluations/declaration/3": one})
    assert lede(run).endswith("After step 3 the model was evaluated on Czech.")
    assert "Czech 1.500 bits per byte, declaration" in headline(run)
    assert "in 1 language " in headline(run)
    assert not [word for word in ("Best", "Worst", "Gap") if word in headline(run)]


def test_documents_that_were_left_out_are_told(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [record(step) for step in range(3)])
    (run / "corrupt.jsonl").write_text('{"step": 1, "document": 5}\n{"step": 2, "document": 9}\n{"st')
    assert "Trained for 3 steps. 2 documents had damaged bytes and were left out (corrupt.jsonl)." in lede(run)
