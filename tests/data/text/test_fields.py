"""Records of collections that keep text and language in other fields than usual."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from varietas.data.formats.read import read
from varietas.data.text.documents import Document, Reject
from varietas.data.text.fields import Fields, Reading, find, parse_fields

# The fields are taken from the descriptions of the collections; the texts are made up.
THE_STACK = {"content": "def f(): ...", "lang": "Python", "max_stars_repo_name": "a/b", "ext": "py", "size": 12}
RED_PAJAMA_2 = {"raw_content": "Ein Satz.", "url": "https://a.example/", "language": "de", "source_domain": "a.example"}
DOLMA = {"id": "d1", "text": "A sentence.", "source": "common-crawl", "metadata": {"url": "https://a.example/", "language": {"en": 0.9}}}
NESTED = {"doc": {"id": "n1", "content": "Zdanie."}, "meta": {"language": "pl", "licence": {"name": "CC0"}}}


def read_fields(folder: Path, record: Any, arguments: str, default_lang: str = "") -> Document | Reject:
    (folder / "x.jsonl").write_text(json.dumps(record), "utf-8")
    (found,) = read(str(folder / "x.jsonl"), reading=Reading(default_lang, parse_fields(arguments.split())))
    return found


@pytest.mark.parametrize(
    ("record", "arguments", "expected"),
    [
        (THE_STACK, "text=content lang=none id=max_stars_repo_name", {"text": "def f(): ...", "lang": "eng_Latn", "id": "a/b"}),
        (
            RED_PAJAMA_2,
            "text=content,raw_content",
            {"text": "Ein Satz.", "lang": "deu_Latn", "url": "https://a.example/", "id": "x.jsonl:1"},
        ),
        (DOLMA, "url=metadata.url", {"text": "A sentence.", "id": "d1", "source": "common-crawl", "url": "https://a.example/"}),
        (
            NESTED,
            "text=doc.content id=doc.id lang=meta.language license=meta.licence.name",
            {"text": "Zdanie.", "id": "n1", "lang": "pol_Latn", "license": "CC0"},
        ),
    ],
    ids=["The Stack", "RedPajama", "dolma", "nested"],
)
def test_records_of_other_collections_become_documents(record: Any, arguments: str, expected: dict[str, str], tmp_path: Path) -> None:
    found = read_fields(tmp_path, record, arguments, "eng_Latn")
    assert isinstance(found, Document), found
    assert {name: getattr(found, name) for name in expected} == expected


def test_paths_replace_only_the_fields_for_which_they_are_given(tmp_path: Path) -> None:
    record = {"text": "Text.", "content": "Content.", "lang": "cs", "u": "https://a.example/", "doc_scores": [5.0]}
    usual, other = read_fields(tmp_path, record, ""), read_fields(tmp_path, record, "text=content")
    assert isinstance(usual, Document) and isinstance(other, Document)
    assert (usual.text, other.text) == ("Text.", "Content.")
    assert (other.lang, other.url, other.signals) == (usual.lang, usual.url, usual.signals) == ("ces_Latn", record["u"], {"quality": 0.5})
    lost = read_fields(tmp_path, record, "text=body")  # the usual name no longer counts
    assert isinstance(lost, Reject) and lost.reason == "no text"


def test_the_first_path_with_a_value_counts() -> None:
    record = {"a": None, "b": {"c": 1, "d.e": {"f": 2}, "d": {"e.f": 3}}, "b.c": 4, "x": {"y": 5}, "x.y": None}
    paths = ("a", "b.c", "b.d.e.f", "x.y", "b.c.d", "a.b", "z")
    assert [find(record, path) for path in paths] == [None, 4, 2, 5, None, None, None]


def test_the_reject_of_a_record_without_text_lists_its_fields(tmp_path: Path) -> None:
    found = read_fields(tmp_path, NESTED | {"empty": None, "deep": {"a": {"b": {"c": 1}}}}, "")
    assert isinstance(found, Reject) and found.reason == "no text"
    assert found.sample == "fields: doc.id, doc.content, meta.language, meta.licence.name, deep.a.b"


def test_paths_lead_to_columns_of_parquet(tmp_path: Path) -> None:
    """The columns may be nested, or among those that are not read otherwise."""
    rows = [{"md": "# Nadpis", "meta": {"language": "ces", "id": i}, "text": None} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    found = list(read(str(tmp_path / "x.parquet"), reading=Reading(fields=parse_fields(["text=md", "lang=meta.language", "id=meta.id"]))))
    assert [(record.text, record.lang, record.id) for record in found] == [("# Nadpis", "ces_Latn", str(i)) for i in range(3)]  # type: ignore[union-attr]
    for record in read(str(tmp_path / "x.parquet")):
        assert isinstance(record, Reject) and (record.reason, record.sample) == ("no text", "fields: meta.language, meta.id")


def test_paths_do_not_apply_to_plain_text(tmp_path: Path) -> None:
    (tmp_path / "ces_Latn.txt").write_text("Jeden.\n\nDruhý.\n", "utf-8")
    found = read(str(tmp_path / "ces_Latn.txt"), reading=Reading(fields=parse_fields(["text=content"])))
    assert [record.text for record in found] == ["Jeden.", "Druhý."]  # type: ignore[union-attr]


def test_arguments_are_parsed() -> None:
    assert parse_fields([]) == Fields()
    assert parse_fields(["text=a.b,c", "license=l"]) == Fields(text=("a.b", "c"), license=("l",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["txt=a"], r"--fields txt=a: unknown field 'txt'; did you mean text=\?"),
        (["licence=a"], r"did you mean license=\?"),
        (["text"], r"--fields text: a path is missing; write text=PATH"),
        (["text="], "a path is missing"),
        (["id=a,,b"], "--fields id=a,,b: a path is missing"),
        (["id=a", "id=b"], "--fields id=b: id is given twice"),
    ],
)
def test_mistakes_in_arguments_are_reported(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fields(arguments)
