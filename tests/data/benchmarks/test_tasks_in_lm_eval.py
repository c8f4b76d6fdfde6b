"""lm_eval runs the folders that we write: with a model that knows the answers, with its own dummy model, and with transformers."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.heavy("lm_eval")

LANGUAGES = ("hun_Latn", "por_Latn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of two languages, in a folder that has moved."""
    from varietas.data.benchmarks.making import KINDS, make, task_of
    from varietas.data.benchmarks.sentences import gather
    from varietas.data.benchmarks.tasks import write
    from varietas.data.text.embedded import training_documents

    texts = gather(document for document in training_documents() if document.lang in LANGUAGES)
    found = [benchmark for lang, mine in texts.items() for benchmark in make(lang, mine, mine, list(KINDS), 40, 0)]
    there = tmp_path_factory.mktemp("made")
    write([task_of(benchmark) for benchmark in found if benchmark.items], there / "first", "A test.")
    shutil.move(there / "first", there / "moved")
    return there / "moved"


def evaluated(folder: Path, model: Any, *tasks: str, **more: Any) -> Mapping[str, Mapping[str, Any]]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return simple_evaluate(model=model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, **more)["results"]


def knowing(folder: Path, generated: Callable[[Mapping[str, str]], str], sign: float = 1.0) -> Any:
    """Returns a model that knows all answers, or none with another sign."""
    from lm_eval.api.model import LM

    records = [json.loads(line) for file in (folder / "items").iterdir() for line in file.read_text("utf-8").splitlines()]
    right = {(record["context"], record["choices"][record["answer"]]) for record in records if "choices" in record}
    begins = {record["context"]: record for record in records if "target" in record}

    class Knowing(LM):
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return [(sign * (request.args in right), False) for request in requests]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise AssertionError

        def generate_until(self, requests: list[Any]) -> list[str]:
            return [generated(begins[request.args[0]]) for request in requests]

    return Knowing()


def test_who_knows_the_answers_has_all_points_and_who_avoids_them_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = evaluated(folder, knowing(folder, lambda record: record["target"]), "varietas")
    assert results["varietas"]["acc,none"] == 1.0 and results["varietas"]["own_language,none"] == 1.0
    tasks = {name for name in results if name.endswith(LANGUAGES)}
    assert len(tasks) >= 15 and all(results[name].get("acc,none", 1.0) == 1.0 for name in tasks)
    english = "This is the language of the island to the west of the continent, whatever was asked."
    results = evaluated(folder, knowing(folder, lambda record: english, -1.0), "varietas")
    assert results["varietas"]["acc,none"] == 0.0 and results["varietas"]["own_language,none"] == 0.0


def test_all_tasks_of_a_language_have_a_tag_and_dummy_runs_them(folder: Path) -> None:
    results = evaluated(folder, "dummy", "varietas_por_Latn")
    assert {name for name in results if name.endswith("_Latn")} and not any(name.endswith("hun_Latn") for name in results)
    assert all(0.0 <= row["acc,none"] <= 1.0 for row in results.values() if "acc,none" in row)


def test_transformers_runs_them(folder: Path, tmp_path: Path) -> None:
    """The untrained model is at chance where it reads nothing that its tokenizer knows."""
    import varietas

    run = varietas.Run("tiny", {"train.steps": 1, "optim.peak_lr": 1e-9}, folder=tmp_path / "run")
    run.train()
    run.export(tmp_path / "hf")
    given = {"model_args": f"pretrained={tmp_path / 'hf'},dtype=float32", "device": "cpu", "batch_size": 8}
    results = evaluated(
        folder, "hf", "varietas_continuation_hun_Latn", "varietas_recall_0_hun_Latn", "varietas_generation_hun_Latn", **given
    )
    assert 0.0 < results["varietas_continuation_hun_Latn"]["acc,none"] < 0.6
    assert results["varietas_recall_0_hun_Latn"]["acc,none"] <= 0.5
    assert results["varietas_generation_hun_Latn"]["own_language,none"] < 0.5
