"""Folders of tasks, without lm_eval: test_tasks_in_lm_eval.py runs them."""

import json
from pathlib import Path

import pytest
import yaml

from varietas.data.benchmarks.items import Item
from varietas.data.benchmarks.making import Benchmark, task_of
from varietas.data.benchmarks.tasks import Task, write

ITEMS = (Item("Ahoj,", (" světe.", " stole."), 0, "konec"), Item("Kde", (" stůl?", " jsi?"), 1))


def tasks() -> list[Task]:
    texts = [Benchmark("word_order", lang, ITEMS, 2) for lang in ("ces_Latn", "mlt_Latn")]
    parts = [Benchmark("recall", "ces_Latn", ITEMS, 2, part) for part in ("0", "300")]
    return [task_of(benchmark) for benchmark in [*texts, *parts, Benchmark("generation", "ces_Latn", ITEMS, 2)]]


def test_a_folder_has_tasks_groups_items_and_examples(tmp_path: Path) -> None:
    write(tasks(), tmp_path / "made", "Made for a test.")
    read = {path.stem: yaml.safe_load(path.read_text().replace("!function ", "")) for path in (tmp_path / "made").glob("*.yaml")}
    assert read["varietas"]["task"] == ["varietas_word_order", "varietas_recall", "varietas_generation"]
    assert read["varietas_recall"]["task"] == ["varietas_recall_0", "varietas_recall_300"]
    assert read["varietas_word_order"]["task"] == ["varietas_word_order_ces_Latn", "varietas_word_order_mlt_Latn"]
    assert read["varietas_word_order_mlt_Latn"]["metadata"]["chance"] == 0.5
    lines = (tmp_path / "made/items/varietas_word_order_mlt_Latn.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["choices"][json.loads(line)["answer"]] for line in lines] == [" světe.", " jsi?"]
    readme = (tmp_path / "made/README.md").read_text("utf-8")
    assert "Made for a test." in readme and "Maltese" in readme and "**světe.**" in readme and "**stole.**" not in readme


def test_the_same_items_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write(tasks(), tmp_path / name, "")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 10 and all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_nothing_is_overwritten_and_no_empty_folder_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there exists; name a new folder"):
        write(tasks(), tmp_path / "there", "")
    with pytest.raises(ValueError, match="no language has enough text"):
        write([], tmp_path / "new", "x.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
