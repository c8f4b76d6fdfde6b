"""Results of benchmarks in a run's folder: written and read, languages of tasks, tables of groups, files that are broken."""

import json
from pathlib import Path

import pytest

from varietas.train.run_folder.benchmarks import FOLDER, Benchmark, Score, blocks, language_of, read_all, write

ASKED = {"num_fewshot": 5, "chat": True, "form": "int8", "limit": 100.0}


def of(task: str, value: float, group: str = "", step: int = 3, **more: object) -> Benchmark:
    return Benchmark(task, step, (Score("acc", value, 0.01, 0.25), Score("loss", value, higher_is_better=False)), 10, group, **more)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    later, first = of("a::b/c", 0.5, step=7, asked=ASKED, about={"version": 1}), of("a::b/c", 0.25, language="deu_Latn", members=("x", "y"))
    path = write(tmp_path, later, [{"doc": "č"}, {"doc": "\ud800"}])
    assert path == tmp_path / FOLDER / "a-b-c" / "7-5shot-chat-int8-limit100.json"
    assert path.with_suffix(".samples.jsonl").read_text("utf-8").startswith('{"doc": "č"}\n')
    write(tmp_path, first)
    assert read_all(tmp_path) == [first, later] and first.way == "0shot"
    write(tmp_path, of("a::b/c", 0.75, step=7, asked=ASKED))
    assert [result.scores[0].value for result in read_all(tmp_path)] == [0.25, 0.75]
    assert not path.with_suffix(".samples.jsonl").exists()  # they were of another result
    assert of("a", 0.5, asked={**ASKED, "multiturn": False}).way == "5shot-chat-oneturn-int8-limit100"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"task": "a"}', '{"task": "a", "step": 1, "scores": 3}', '{"task": 3, "step": 1, "scores": [{}]}']
)
def test_broken_files_are_left_out(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, of("good", 0.5))
    (path.parent / "4-0shot.json").write_text(content)
    assert [result.task for result in read_all(tmp_path)] == ["good"]
    hostile = json.loads(path.read_text()) | {"n": "x", "group": 3, "members": {"a": 1}, "asked": [], "about": None, "language": None}
    path.write_text(json.dumps(hostile))
    assert read_all(tmp_path)[0].way == "0shot"


def test_the_worst_comes_first_and_the_mean_of_a_group_stands_with_its_tasks() -> None:
    parts = [of("easy", 0.9, "stem"), of("hard", 0.2, "stem"), of("alone", 0.4), of("stem", 0.55, "all", members=("easy", "hard"))]
    found = {(block.group, block.metric): block for block in blocks([*parts, of("all", 0.5, members=("stem",))])}
    assert list(found) == [("stem", "acc"), ("stem", "loss"), ("", "acc"), ("", "loss"), ("all", "acc"), ("all", "loss")]
    assert [result.task for result, _ in found["stem", "acc"].rows] == ["hard", "easy"]
    assert [result.task for result, _ in found["stem", "loss"].rows] == ["easy", "hard"]  # less is better
    assert [result.task for result, _ in found["", "acc"].rows] == ["alone"] and found["", "acc"].mean is None
    mean = found["stem", "acc"].mean
    assert mean is not None and (mean[0].task, mean[1].value) == ("stem", 0.55)


@pytest.mark.parametrize(
    ("task", "data", "code"),
    [
        ("belebele_deu_Latn", "deu_Latn", "deu_Latn"),
        ("belebele_ell_Grek", "", "ell_Grek"),
        ("arc_de", "de", "deu_Latn"),
        ("xcopa_et", "", "ekk_Latn"),
        ("lambada_openai_mt_fr", "", "fra_Latn"),
        ("global_mmlu_full_pt_anatomy", "", "por_Latn"),
        ("arc_challenge_mt_is", "", "isl_Latn"),
        ("xnli_eu_mt", "", "eus_Latn"),
        ("mmmlu_pt_br_virology", "", "por_Latn"),
        ("multiblimp_mlt", "", "mlt_Latn"),
        ("wmt16-en-ro", "ro-en", "ron_Latn"),
        ("persona_desire-to-be-deployed-in-the-real-world", "", ""),
        ("hellaswag", "", ""),
        ("arc_easy", "ARC-Easy", ""),
        ("arc_challenge", "ARC-Challenge", ""),
        ("mmlu_pro", "", ""),
        ("squadv2", "squad_v2", ""),
    ],
)
def test_the_language_of_a_task(task: str, data: str, code: str) -> None:
    assert language_of(task, data) == code
