"""`varietas evaluate --tasks` with task files of its own: what it prints and keeps, what it refuses, and several processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import several

import varietas
from varietas.launch.cli import main
from varietas.train.run_folder.benchmarks import read_all

pytestmark = pytest.mark.heavy("lm_eval")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "run"
    varietas.Run("tiny", {"train.steps": 20, "checkpoint.every": 10}, folder=folder).train()
    return folder


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a task with options in a folder; other fields may be given."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tasks").mkdir()
    items = [{"q": f"{i} + {i} =", "choices": [str(2 * i), f"{i} a {i}", "nic"], "gold": i % 3} for i in range(9)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))

    def write(name: str, **fields: Any) -> None:
        config = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "items.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{q}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold",
            "metadata": {"version": 2.0},
            **fields,
        }
        (tmp_path / "tasks" / f"{name}.yaml").write_text(json.dumps(config))

    return write


def evaluate(run: Path, tmp_path: Path, *flags: str) -> int:
    return main(["evaluate", "--run", str(run), "--include_path", str(tmp_path / "tasks"), *flags])


def test_scores_of_a_group_are_tabled_and_kept(run: Path, tmp_path: Path, task: Callable[..., None], capfd: Capture) -> None:
    for code in ("ces_Latn", "mlt_Latn"):
        task(f"sums_{code}")
    task("alone", num_fewshot=0, fewshot_config={"sampler": "first_n", "split": "test"})
    group = {"group": "sums", "task": ["sums_ces_Latn", "sums_mlt_Latn"], "aggregate_metric_list": [{"metric": "acc"}]}
    (tmp_path / "tasks" / "sums.yaml").write_text(json.dumps(group))
    assert evaluate(run, tmp_path, "--tasks", "sums,alone", "--log_samples", "--num_fewshot", "2") == 0
    out, err = capfd.readouterr()
    names = [line.split()[0] for line in out.splitlines() if line]
    assert names[1:3] == ["sums_ces_Latn", "sums_mlt_Latn"] and names.index("sums") < names.index("alone")
    assert "sums (mean of 2)" in out and "Maltese" in out and "0.333" in out and f"kept in {run / 'benchmarks'}" in out
    assert "it/s" not in err and "WARNING" not in err  # what lm_eval and datasets would print
    found = {result.task: result for result in read_all(run)}
    assert found["sums_ces_Latn"].asked["num_fewshot"] == 2 and found["alone"].asked["num_fewshot"] == 0  # which says 0
    about = found["sums_ces_Latn"].about
    assert about["version"] == 2.0 and about["config"]["doc_to_text"] == "{{q}}" and about["lm_eval"].startswith("0.")
    assert about["parameters_digest"] == varietas.Run.open(run).digest()
    assert found["sums"].members == ("sums_ces_Latn", "sums_mlt_Latn") and found["sums"].n == 18
    samples = (run / "benchmarks" / "alone" / "20-0shot.samples.jsonl").read_text().splitlines()
    assert len(samples) == 9 and json.loads(samples[2])["arguments"][0] == ["2 + 2 =", " 4"]


def test_older_checkpoints_and_small_forms_are_kept_apart(run: Path, tmp_path: Path, task: Callable[..., None]) -> None:
    task("apart")
    assert evaluate(run, tmp_path, "--tasks", "apart", "--step", "10") == 0
    assert evaluate(run, tmp_path, "--tasks", "apart", "--quantize", "int8", "--limit", "3") == 0
    assert {file.name for file in (run / "benchmarks" / "apart").iterdir()} == {"10-0shot.json", "20-0shot-int8-limit3.json"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"unsafe_code": True}, "odd: runs code that the model writes"),
        ({"dataset_kwargs": {"trust_remote_code": True}}, "odd: executes code that comes with its data set (trust_remote_code)"),
        ({"metric_list": [{"metric": "f1", "hf_evaluate": True}]}, "odd: downloads the code of its metric f1 (hf_evaluate)"),
        ({"metric_list": [{"metric": "meteor_of_the_hub"}]}, "odd: downloads the code of its metric meteor_of_the_hub"),
        ({"dataset_path": "nobody/nothing", "dataset_kwargs": {}}, "odd: nobody/nothing is not at hand ("),
        ({"dataset_kwargs": {"data_files": "/no/such.jsonl"}}, "odd: json is not at hand ("),
        ({"output_type": "generate_until", "generation_kwargs": {"num_beams": 4}}, "odd: generation_kwargs has {'num_beams': 4}"),
        ({"output_type": "generate_until", "generation_kwargs": {"max_gen_toks": 500}}, "odd: asks for 500 new tokens, but the model's"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_before_anything_is_computed(
    run: Path, tmp_path: Path, task: Callable[..., None], fields: dict[str, Any], said: str, capfd: Capture
) -> None:
    task("good")
    task("odd", **fields)
    assert evaluate(run, tmp_path, "--tasks", "good", "odd") == 2
    assert f"not all --tasks can be run. {said}" in capfd.readouterr().err
    assert not (run / "benchmarks" / "good").exists()


def test_a_misspelt_task_gets_the_nearest_name(run: Path, tmp_path: Path, task: Callable[..., None], capfd: Capture) -> None:
    task("sums_of_numbers")
    assert evaluate(run, tmp_path, "--tasks", "sums_of_numberz") == 2
    assert "there is no task 'sums_of_numberz'; did you mean sums_of_numbers?" in capfd.readouterr().err
    assert main(["evaluate", "--run", str(run), "--tasks", "a", "--include_path", str(tmp_path / "no")]) == 2
    assert f"--include_path {tmp_path / 'no'} is not a folder" in capfd.readouterr().err


def test_two_processes_find_the_same(run: Path, tmp_path: Path, task: Callable[..., None]) -> None:
    task("together")
    task(
        "written",
        output_type="generate_until",
        doc_to_choice=None,
        doc_to_target="{{choices[0]}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 6},
    )
    flags = ["--include_path", str(tmp_path / "tasks"), "--tasks", "together", "written", "--log_samples"]
    assert main(["evaluate", "--run", str(run), *flags]) == 0
    folders = [run / "benchmarks" / name for name in ("together", "written")]
    alone = [(folder / "20-0shot.samples.jsonl").read_text() for folder in folders]
    said = several.run(2, "evaluate", "--run", run, *flags, cwd=tmp_path)
    assert [one.status for one in said] == [0, 0], said
    for folder, before in zip(folders, alone, strict=True):
        together = (folder / "20-0shot.samples.jsonl").read_text()
        for line, other in zip(before.splitlines(), together.splitlines(), strict=True):
            one, two = json.loads(line), json.loads(other)
            assert one["arguments"] == two["arguments"]
            for (answer,), (again,) in zip(one["resps"], two["resps"], strict=True):
                assert answer == again if isinstance(answer, str) else answer[0] == pytest.approx(again[0], abs=1e-3)
