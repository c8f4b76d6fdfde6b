"""Evaluations are kept by name and step, and an evaluation of another text never overwrites one."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from varietas.data.text.documents import Document
from varietas.train.run_folder import evaluations
from varietas.train.run_folder.evaluations import Documents, Evaluation

ROW: dict[str, Any] = {
    "bits_per_byte": 1.5, "untrained": 6.0, "unigram": 4.0, "bytes": 900, "tokens": 300, "words": 120, "trained_on": True,
}  # fmt: skip
DOCUMENTS = Documents(["0" * 16, "a" * 16], ["news", ""], [900, 30], [1200.5, 41.0])
FLORES = Evaluation("flores", 40, "FLORES, dev", "aa" * 32, {"ces_Latn": ROW, "mlt_Latn": {**ROW, "trained_on": False}})


def test_evaluations_are_read_back_by_name_in_the_order_of_steps(tmp_path: Path) -> None:
    usual = Evaluation("declaration", 100, "the usual text", "bb" * 32, {"ces_Latn": ROW})
    for evaluation in (FLORES, replace(FLORES, name="aaa"), *(replace(usual, step=step) for step in (100, 20, 9))):
        path = evaluations.write(tmp_path, evaluation)
        assert path == tmp_path / "evaluations" / evaluation.name / f"{evaluation.step}.json"
    found = evaluations.read_all(tmp_path)
    assert list(found) == ["declaration", "aaa", "flores"]
    assert [evaluation.step for evaluation in found["declaration"]] == [9, 20, 100]
    assert found["flores"] == [FLORES]


def test_the_file_holds_every_field(tmp_path: Path) -> None:
    record = json.loads(evaluations.write(tmp_path, FLORES).read_text("utf-8"))
    assert list(record) == ["name", "step", "text", "text_digest", "languages", "parity", "documents"]
    assert record["languages"]["ces_Latn"] == ROW
    assert [path.name for path in (tmp_path / "evaluations" / "flores").iterdir()] == ["40.json"]  # no temporary file is left


def test_documents_and_parity_are_read_back_and_files_of_older_versions_have_none(tmp_path: Path) -> None:
    parity = {"gap": {"value": 0.5, "interval": [0.25, 0.75]}}
    new = replace(FLORES, step=80, parity=parity, documents={"ces_Latn": DOCUMENTS})
    evaluations.write(tmp_path, new)
    old = json.loads(evaluations.write(tmp_path, FLORES).read_text())
    del old["parity"], old["documents"]
    (tmp_path / "evaluations" / "flores" / "40.json").write_text(json.dumps(old))
    assert evaluations.read_all(tmp_path) == {"flores": [FLORES, new]}
    old["documents"] = {"ces_Latn": {**asdict(DOCUMENTS), "nats": [1.0]}}  # a value is missing
    (tmp_path / "evaluations" / "flores" / "40.json").write_text(json.dumps(old))
    assert evaluations.read_all(tmp_path) == {"flores": [FLORES, new]}


def test_an_evaluation_is_known_by_text_step_and_form_whatever_its_name(tmp_path: Path) -> None:
    kept = replace(FLORES, documents={"ces_Latn": DOCUMENTS})
    small = replace(kept, name="flores-int8")
    for each in (kept, small, replace(FLORES, step=80)):
        evaluations.write(tmp_path, each)
    digest = kept.text_digest
    assert evaluations.known(tmp_path, "other", 40, digest) == kept
    assert evaluations.known(tmp_path, "other-int8", 40, digest) == small
    assert evaluations.known(tmp_path, "other-int4", 40, digest) is None
    assert evaluations.known(tmp_path, "flores", 80, digest) is None  # without figures of documents
    assert evaluations.known(tmp_path, "flores", 40, "bb" * 32) is None


def test_a_name_stands_for_one_text(tmp_path: Path) -> None:
    evaluations.write(tmp_path, FLORES)
    better = replace(FLORES, languages={"ces_Latn": {**ROW, "bits_per_byte": 1.0}})
    evaluations.write(tmp_path, better)
    for step in (40, 80):
        with pytest.raises(ValueError, match=r"flores holds evaluations of another text .* give another --name") as error:
            evaluations.write(tmp_path, replace(FLORES, step=step, text_digest="cc" * 32))
        assert "\n" not in str(error.value)
    assert evaluations.read_all(tmp_path) == {"flores": [better]}


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "null", '{"step": 3}', '{"languages": []}', '{"languages": {}}', "\0", "[" * 100_000, '"\xff"']
)
def test_broken_files_are_left_out(tmp_path: Path, broken: str) -> None:
    evaluations.write(tmp_path, FLORES)
    for path in ("evaluations/flores/50.json", "evaluations/other/50.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(broken.encode("latin-1"))
    assert evaluations.read_all(tmp_path) == {"flores": [FLORES]}


def test_only_folders_and_files_with_valid_names_are_read(tmp_path: Path) -> None:
    whole = evaluations.write(tmp_path, FLORES).read_bytes()
    for path in (".flores/1.json", "flores/.41.json.7.partial", "flores/last.json", "flores/-1.json", "a b/1.json", "flores/7/1.json"):
        (tmp_path / "evaluations" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "evaluations" / path).write_bytes(whole)
    assert evaluations.read_all(tmp_path) == {"flores": [FLORES]}


def test_rows_that_are_not_objects_become_empty(tmp_path: Path) -> None:
    path = evaluations.write(tmp_path, FLORES)
    path.write_text(json.dumps({"languages": {"ces_Latn": ROW, "mlt_Latn": 7}}))
    assert evaluations.read_all(tmp_path)["flores"] == [Evaluation("flores", 40, "", "", {"ces_Latn": ROW, "mlt_Latn": {}})]


def test_a_run_without_evaluations_has_none(tmp_path: Path) -> None:
    assert evaluations.read_all(tmp_path) == {}
    assert evaluations.read_all(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ([], "declaration"),
        (["flores.jsonl.zst"], "flores"),
        (["flores200.dev.JSONL.gz"], "flores200.dev"),
        (["my/*.jsonl"], "my"),
        (["my/deep/**/*.parquet"], "deep"),
        (["my/part-*.jsonl"], "part"),
        (["my/flores_[a-m]*_dev.txt"], "flores_dev"),
        (["./*.jsonl"], "given"),
        (["*.zst", "*.gz"], "given"),
        (["https://host.example/sets/ntrex.jsonl?download=true#1"], "ntrex"),
        (["tfds:wiki40b"], "wiki40b"),
        (["/corpora/eu/"], "eu"),
        (["a b & c.txt"], "a-b-c"),
        (["../.hidden.jsonl"], "hidden"),
        (["čeština.txt"], "čeština"),
        (["c\u030ces\u030ctina.txt"], "čeština"),
        (["новости.jsonl"], "новости"),
        (["declaration.jsonl"], "declaration-given"),
        (["Declaration/*.jsonl"], "Declaration-given"),
        (["b.jsonl", "a.jsonl"], "a-and-b"),
        (["dev/flores.jsonl", "test/flores.jsonl"], "flores"),
        ([f"my/text-{n:03}.jsonl" for n in range(50)], "my"),
        ([f"text-{n:03}.jsonl" for n in range(50)], "text-000-and-49-more"),
        (["x" * 300 + ".txt"], "x" * 40),
    ],
)
def test_default_names_follow_from_the_files(inputs: list[str], name: str) -> None:
    assert evaluations.default_name(inputs) == name
    assert evaluations.default_name(inputs[::-1]) == name
    evaluations.check_name(name)


@pytest.mark.parametrize("path", ["", "/", "..", "...", "\udcff\udcfe", "\0", "???", "-rf", "a/../..", "COM:\\x", "~", "😀.txt", "ह" * 300])
def test_default_names_are_always_safe(path: str, tmp_path: Path) -> None:
    for inputs in ([path], [path, "other.txt"], [path] * 3 + ["a" * 50, "b" * 50]):
        name = evaluations.default_name(inputs)
        evaluations.check_name(name)
        assert evaluations.write(tmp_path, replace(FLORES, name=name)).parent.parent == tmp_path / "evaluations"


def test_a_user_may_choose_any_name_but_the_reserved_one() -> None:
    assert evaluations.name_for([], None) == "declaration"
    assert evaluations.name_for(["my/*.jsonl"], None) == "my"
    assert evaluations.name_for(["my/*.jsonl"], "dev-2") == "dev-2"
    assert evaluations.name_for([], "again") == "again"
    assert evaluations.name_for([], "declaration") == "declaration"
    for name in ("declaration", "Declaration"):
        with pytest.raises(ValueError, match="reserved for the Declaration of Human Rights; give another --name"):
            evaluations.name_for(["my.jsonl"], name)


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "a b", "a\nb", "a\n", "-a", "x" * 61, "a\0", "<b>"])
def test_unsafe_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--name"):
        evaluations.name_for([], name)
    with pytest.raises(ValueError, match="--name"):
        evaluations.write(tmp_path, replace(FLORES, name=name))
    assert not list(tmp_path.iterdir())


def test_the_digest_covers_languages_and_texts_in_any_order() -> None:
    one, two = Document("1", "ces_Latn", "Ahoj"), Document("2", "deu_Latn", "Hallo")
    digest = evaluations.text_digest([one, two])
    assert digest == evaluations.text_digest(iter([two, replace(one, id="9", url="http://x.example")]))
    assert len({digest, *map(evaluations.text_digest, ([one], [two], [one, one, two], [one, replace(two, lang="nld_Latn")], []))}) == 6
    each = hashlib.sha256(b"ces_Latn\0Ahoj").digest()
    assert evaluations.text_digest([one]) == hashlib.sha256(each).hexdigest()


def test_compared_languages_have_enough_text_and_were_trained_on() -> None:
    rows = {
        "a": {**ROW, "bits_per_byte": 1.0},
        "b": {**ROW, "bits_per_byte": 3.0},
        "c": {**ROW, "bits_per_byte": 9.0, "trained_on": False},
        "d": {**ROW, "bits_per_byte": 0.1, "bytes": 499},
        "e": {"bits_per_byte": 2.0},
        "f": {**ROW, "bits_per_byte": None},
    }
    assert list(evaluations.compared(rows).items()) == [("b", 3.0), ("e", 2.0), ("a", 1.0)]
    assert evaluations.compared({code: rows[code] for code in "dcf"}) == {"c": 9.0, "d": 0.1}
    assert evaluations.compared({}) == {}


def test_neither_jax_nor_numpy_is_imported() -> None:
    code = "import sys, varietas.train.run_folder.evaluations as e; print(e.read_all, {'jax', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.endswith("set()\n")
