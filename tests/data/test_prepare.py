"""From raw lines to a corpus folder: nothing lost in silence, the same digest for the same text."""

import gzip
import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from varietas.data import corpus as corpus_module
from varietas.data import prepare as prepare_module
from varietas.data import shard as shard_module
from varietas.data import tokenizer
from varietas.data.corpus import Corpus
from varietas.data.documents import Document, Reject
from varietas.data.prepare import prepare_documents
from varietas.data.read import expand
from varietas.data.read import read as read_file

GOOD = b'{"id":"1","lang":"cs","text":"Ahoj, sv\xc4\x9bte","url":"u","source":"s","license":"l"}\n'


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [Document(str(i), "ces_Latn" if i % 3 else "eng_Latn", f"Věta {i} o {i * i} slovech. " * (1 + i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def model(documents: list[Document]) -> bytes:
    return tokenizer.train(lambda: documents, 320)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken\n", "invalid JSON"),
        (b'{"lang":"cs","text":"\xff"}\n', "invalid UTF-8"),
        (b'["text"]\n', "not an object"),
        (b'{"lang":"cs"}\n', "no text"),
        (b'{"text":"a"}\n', "no lang"),
        (b'{"lang":"cs","text":7}\n', "text is not a string"),
        (b'{"lang":"cs","text":" \\n "}\n', "empty text"),
        (b'{"lang":"cs","text":"\\ud800"}\n', "lone surrogate"),
        (b'{"lang":"c s!","text":"a"}\n', "unusable lang"),
        (b'{"lang":"","text":"a"}\n', "no lang"),
        (b"[" * 100_000 + b"\n", "invalid JSON"),
    ],
)
def test_bad_lines_are_rejected_with_place_and_reason_and_the_rest_read(line: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(GOOD + b"\n" + line + GOOD.replace(b"\n", b"\r\n"))
    first, bad, last = read_file(str(file))
    assert first == last == Document("1", "ces_Latn", "Ahoj, světe", "u", "s", "l")
    assert isinstance(bad, Reject) and (bad.file, bad.line, bad.reason) == (str(file), 3, reason)


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, lambda raw: zstandard.compress(raw[: len(GOOD)]) + zstandard.compress(raw[len(GOOD) :])]
)
def test_compressed_files(pack: object, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pack(GOOD * 1000))  # type: ignore[operator]
    assert len(list(read_file(str(tmp_path / "a")))) == 1000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_cut_short_gives_what_there_is_and_a_reject(pack: object, tmp_path: Path) -> None:
    lines = b"".join(b'{"lang":"cs","text":"%d"}\n' % (i * 7919) for i in range(50_000))
    content = pack(lines)  # type: ignore[operator]
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    *records, last = read_file(str(tmp_path / "a"))
    assert isinstance(last, Reject) and last.reason == "damaged compression"
    assert len(records) > 10_000 and sum(isinstance(r, Reject) for r in records) <= 1  # perhaps half a line


def test_line_separators_in_texts_do_not_split_them(tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\u000bd"
    (tmp_path / "a").write_text(json.dumps({"lang": "cs", "text": text}, ensure_ascii=False), "utf-8")
    assert [record.text for record in read_file(str(tmp_path / "a"))] == [text]  # type: ignore[union-attr]


def test_globs(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in expand([str(tmp_path / "*.jsonl")])] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(ValueError, match="no such file"):
        expand([str(tmp_path / "c*")])
    (tmp_path / "c.jsonl").mkdir()
    assert len(expand([str(tmp_path / "*.jsonl")])) == 2
    with pytest.raises(ValueError, match=r"is a folder; give its files as a quoted glob"):
        expand([str(tmp_path / "c.jsonl")])


def test_every_record_is_accounted_for(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    manifest = prepare_documents([*documents, Reject("f", 3, "no text", "{}")], model, tmp_path / "c")
    corpus = Corpus(tmp_path / "c")
    processor = tokenizer.load(model)
    assert manifest["records_read"] == 201 and manifest["documents"] == 200 and manifest["rejected"] == {"no text": 1}
    assert json.loads((tmp_path / "c" / "rejects.jsonl").read_text())["line"] == 3
    assert manifest["bytes"] == sum(len(d.text.encode()) for d in documents)
    for index, code in enumerate(corpus.languages):
        mine = [d for d in documents if d.lang == code]
        expected = [processor.encode(d.text, add_bos=True, add_eos=True) for d in mine]
        numbers = np.arange(len(mine))[::-1]
        assert [ids.tolist() for ids in corpus.read(np.full(len(mine), index), numbers)] == expected[::-1]
        assert corpus.lengths(code).tolist() == [len(ids) for ids in expected]
        assert corpus.unigrams[index].tolist() == np.bincount(np.concatenate(expected), minlength=320).tolist()
        table = pq.read_table(sorted((tmp_path / "c" / "index").glob(f"{code}-*.parquet"))).to_pylist()
        assert [row["digest"] for row in table] == [hashlib.sha256(d.text.encode()).digest() for d in mine]
        assert [(row["id"], row["tokens"]) for row in table] == [(d.id, len(ids)) for d, ids in zip(mine, expected, strict=True)]
    assert pickle.loads(pickle.dumps(corpus)).digest == corpus.digest


def test_digest_is_of_text_order_and_tokenizer(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    def digest(name: str, docs: list[Document], tok: bytes = model) -> str:
        return prepare_documents(docs, tok, tmp_path / name)["digest"]

    first = digest("a", documents)
    assert digest("b", documents) == first
    changed = [*documents[:-1], Document("199", documents[-1].lang, documents[-1].text + "!")]
    others = {digest("c", changed), digest("d", documents[::-1]), digest("e", documents, tokenizer.train(lambda: documents, 310))}
    assert len(others | {first}) == 4


def test_many_shards(documents: list[Document], model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_documents(documents, model, tmp_path / "one")
    for module in (corpus_module, prepare_module):
        monkeypatch.setattr(module, "SHARD_DOCUMENTS", 8)
    prepare_documents(documents, model, tmp_path / "many")
    assert len(list((tmp_path / "many" / "tokens").iterdir())) > 20
    one, many = Corpus(tmp_path / "one"), Corpus(tmp_path / "many")
    at = np.arange(60)
    monkeypatch.undo()
    expected = one.read(np.zeros(60, int), at)
    monkeypatch.setattr(corpus_module, "SHARD_DOCUMENTS", 8)
    assert all(np.array_equal(a, b) for a, b in zip(expected, many.read(np.zeros(60, int), at), strict=True))
    assert one.digest == many.digest


def test_all_or_nothing(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Document]:
        yield from documents
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        prepare_documents(interrupted(), model, tmp_path / "c")
    with pytest.raises(ValueError, match="no usable document"):
        prepare_documents([Reject("f", 1, "no text", "")], model, tmp_path / "c")
    assert list(tmp_path.iterdir()) == [tmp_path / "c.rejects.jsonl"]
    assert json.loads((tmp_path / "c.rejects.jsonl").read_text())["reason"] == "no text"
    prepare_documents(documents, model, tmp_path / "c")
    with pytest.raises(ValueError, match="exists"):
        prepare_documents(documents, model, tmp_path / "c")


def test_a_full_disk_leaves_nothing(documents: list[Document], model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ArrayRecord says it with a RuntimeError."""

    class Full:
        def __init__(self, *_: object) -> None: ...

        def write(self, _: bytes) -> None: ...

        def close(self) -> None:
            raise RuntimeError("write() failed: No space left on device; writing x")

    monkeypatch.setattr(shard_module, "ArrayRecordWriter", Full)
    with pytest.raises(OSError, match="No space left on device"):
        prepare_documents(documents, model, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_damaged_corpora_are_told(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="varietas prepare"):
        Corpus(tmp_path)
    prepare_documents(documents, model, tmp_path / "c")
    lengths = tmp_path / "c" / "lengths" / "ces_Latn.u32"
    lengths.write_bytes(lengths.read_bytes()[:-4])
    with pytest.raises(ValueError, match="damaged"):
        Corpus(tmp_path / "c")
    (tmp_path / "c" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        Corpus(tmp_path / "c")
