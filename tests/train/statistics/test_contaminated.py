"""Scores without items, by hand, and samples of benchmarks as lm_eval writes them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from varietas.train.run_folder.evaluations import Documents, Evaluation
from varietas.train.statistics.contaminated import cleaned_evaluation, cleaned_samples, samples_in


def test_bits_per_byte_without_documents_are_those_of_the_rest() -> None:
    of = Documents(["a", "b", "c"], [""] * 3, [10, 20, 30], [10 * math.log(2), 40 * math.log(2), 90 * math.log(2)])
    evaluation = Evaluation("x", 7, "", "", {}, {}, {"ces_Latn": of, "fin_Latn": Documents(["d"], [""], [1], [1.0])})
    czech, finnish = cleaned_evaluation(evaluation, {"b", "d"}, {"a", "b", "d"})
    assert (czech.every, czech.unread, czech.untouched) == pytest.approx((140 / 60, 100 / 40, 3.0))
    assert (czech.items, czech.read, czech.touched, czech.step, czech.language) == (3, 1, 2, 7, "ces_Latn")
    assert finnish.unread is finnish.untouched is None and finnish.every


def write(run: Path, samples: list[dict[str, Any]], name: str = "arc_cs", step: str = "40-0shot") -> Path:
    folder = run / "benchmarks" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{step}.json").write_text(json.dumps({"task": name, "language": "ces_Latn"}))
    file = folder / f"{step}.samples.jsonl"
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return file


def test_samples_have_the_texts_and_scores_of_items(tmp_path: Path) -> None:
    doc = {"question": "Kolik?", "choices": {"text": ["dvě", "tři", "dvě"], "label": ["A", "B"]}, "n": 3, "none": None}
    write(
        tmp_path,
        [
            {"doc_id": k, "doc": doc, "metrics": ["acc", "acc_norm", "exact"], "acc": k % 2, "acc_norm": 1.0, "exact": "no"}
            for k in range(4)
        ],
    )
    (found,) = samples_in(tmp_path)
    assert (found.task, found.step, found.language) == ("arc_cs", 40, "ces_Latn")
    assert found.texts[0] == ["Kolik?", "dvě", "tři", "A", "B"]
    assert {name: list(of) for name, of in found.scores.items()} == {"acc": [0, 1, 0, 1], "acc_norm": [1.0] * 4}
    accuracy, _ = cleaned_samples(found, {1}, {1, 3})
    assert (accuracy.metric, accuracy.every, accuracy.untouched) == ("acc", 0.5, 0.0) and accuracy.unread == pytest.approx(1 / 3)
    assert cleaned_samples(found, {0, 1, 2, 3}, {0, 1, 2, 3})[0].unread is None


def test_items_with_several_filters_of_answers_count_once(tmp_path: Path) -> None:
    answers = {"strict": [1.0, 0.0], "flexible": [1.0, 1.0]}
    pairs = [(kept, k, right) for kept, rights in answers.items() for k, right in enumerate(rights)]
    write(tmp_path, [{"doc": f"item {k}", "filter": kept, "metrics": ["exact_match"], "exact_match": right} for kept, k, right in pairs])
    (found,) = samples_in(tmp_path)
    assert found.texts == [["item 0"], ["item 1"]]
    assert found.scores == {f"exact_match, {kept}": rights for kept, rights in answers.items()}


def test_damaged_and_empty_samples_are_told_and_left_out(tmp_path: Path) -> None:
    write(tmp_path, [], "empty")
    write(tmp_path, [{"doc": "x", "metrics": 7}], "strange")
    assert [found.scores for found in samples_in(tmp_path)] == [{}] and not list(samples_in(tmp_path / "no run"))
    write(tmp_path, [], "broken").write_text('{"doc"')
    with pytest.raises(ValueError, match=r"40-0shot.samples.jsonl, line 1: not valid JSON; ask the benchmark again with --log_samples"):
        list(samples_in(tmp_path))
