"""From raw lines to a corpus folder: nothing is lost silently, and the same text gives the same digest."""

import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from varietas.data.corpus import corpus as corpus_module
from varietas.data.corpus.corpus import Corpus
from varietas.data.prepare import prepare as prepare_module
from varietas.data.prepare import shard as shard_module
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.text.documents import Document, Reject
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import load


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [Document(str(i), "ces_Latn" if i % 3 else "eng_Latn", f"Věta {i} o {i * i} slovech. " * (1 + i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def model(documents: list[Document]) -> bytes:
    return tokenizer.train(lambda: documents, 320)


def test_every_record_is_accounted_for(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    manifest = prepare_documents([*documents, Reject("f", 3, "no text", "{}")], model, tmp_path / "c")
    corpus = Corpus(tmp_path / "c")
    processor = load(model)
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


def test_the_digest_depends_on_text_order_and_tokenizer(documents: list[Document], model: bytes, tmp_path: Path) -> None:
    def digest(name: str, docs: list[Document], tok: bytes = model) -> str:
        return prepare_documents(docs, tok, tmp_path / name)["digest"]

    first = digest("a", documents)
    assert digest("b", documents) == first
    changed = [*documents[:-1], Document("199", documents[-1].lang, documents[-1].text + "!")]
    others = {digest("c", changed), digest("d", documents[::-1]), digest("e", documents, tokenizer.train(lambda: documents, 310))}
    assert len(others | {first}) == 4


def test_many_shards_hold_the_same_as_one(documents: list[Document], model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_documents(documents, model, tmp_path / "one")
    for module in (corpus_module, prepare_module):
        monkeypatch.setattr(module, "SHARD_DOCUMENTS", 8)
    prepare_documents(documents, model, tmp_path / "many")
    assert len(list((tmp_path / "many" / "tokens").iterdir())) > 20
    many, at = Corpus(tmp_path / "many"), np.arange(60)
    monkeypatch.undo()
    one = Corpus(tmp_path / "one")
    expected = one.read(np.zeros(60, int), at)
    monkeypatch.setattr(corpus_module, "SHARD_DOCUMENTS", 8)
    assert all(np.array_equal(a, b) for a, b in zip(expected, many.read(np.zeros(60, int), at), strict=True))
    assert one.digest == many.digest


def test_a_failed_preparation_leaves_no_corpus(documents: list[Document], model: bytes, tmp_path: Path) -> None:
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
    """ArrayRecord reports a full disk with a RuntimeError."""

    class Full:
        def __init__(self, *_: object) -> None: ...

        def write(self, _: bytes) -> None: ...

        def close(self) -> None:
            raise RuntimeError("write() failed: No space left on device; writing x")

    monkeypatch.setattr(shard_module, "ArrayRecordWriter", Full)
    with pytest.raises(OSError, match="No space left on device"):
        prepare_documents(documents, model, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
