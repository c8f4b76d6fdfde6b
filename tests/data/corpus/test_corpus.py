"""A prepared corpus is read as it was written, with small and large vocabularies, and damage to it is reported."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from varietas.data.corpus.corpus import Corpus
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document, Reject
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import load

FIELDS = ("id", "source", "url", "license")
DOCUMENTS = [
    Document(f"id{i}", "ces_Latn" if i % 4 else "mlt_Latn", f"Věta {i} o {i * i} slovech.\n" * (1 + i % 5), f"url{i}", f"source{i}", "CC0")
    for i in range(300)
]


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokenizer.train(lambda: DOCUMENTS, 310)


@pytest.fixture(scope="module")
def whole(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "corpus"
    prepare_documents(DOCUMENTS, model, path)
    return path


def test_the_index_holds_what_is_known_of_each_document(whole: Path) -> None:
    corpus = Corpus(whole)
    for code in corpus.languages:
        mine = [d for d in DOCUMENTS if d.lang == code]
        rows = pq.read_table(whole / "index" / f"{code}-00000.parquet").to_pylist()
        assert [tuple(row[name] for name in FIELDS) for row in rows] == [tuple(getattr(d, name) for name in FIELDS) for d in mine]
        assert [row["digest"] for row in rows] == [hashlib.sha256(d.text.encode()).digest() for d in mine]
        assert [row["bytes"] for row in rows] == [len(d.text.encode()) for d in mine]
        assert [row["tokens"] for row in rows] == corpus.lengths(code).tolist()
        assert corpus.tokens(code) == corpus.lengths(code).sum() and corpus.documents(code) == len(mine)
    assert corpus.pad_id == tokenizer.PAD == 3


def test_documents_are_read_in_any_order_and_repeatedly(whole: Path, model: bytes) -> None:
    corpus, processor = Corpus(whole), load(model)
    rng = np.random.default_rng(0)
    languages = rng.integers(0, 2, 500)
    documents = rng.integers(0, [corpus.documents(corpus.languages[i]) for i in languages])
    texts = {code: [d.text for d in DOCUMENTS if d.lang == code] for code in corpus.languages}
    for language, document, ids in zip(languages, documents, corpus.read(languages, documents), strict=True):
        assert ids[0] == tokenizer.BOS and ids[-1] == tokenizer.EOS
        assert processor.decode(ids.tolist()) == texts[corpus.languages[language]][document]


def test_counts_of_the_manifest_agree(model: bytes, tmp_path: Path) -> None:
    records = [Reject("f", 1, "no text", ""), *DOCUMENTS, Reject("f", 2, "no lang", ""), Reject("f", 3, "no lang", "")]
    manifest = prepare_documents(records, model, tmp_path / "c")
    assert manifest["bytes"] == sum(len(d.text.encode()) for d in DOCUMENTS)
    assert manifest["rejected"] == {"no lang": 2, "no text": 1}
    assert manifest["records_read"] == len(records) == manifest["documents"] + 3
    for total in ("documents", "tokens", "bytes"):
        assert manifest[total] == sum(language[total] for language in manifest["languages"].values())


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, "<u2"), ((1 << 16) + 1, "<u4")])
def test_ids_take_two_bytes_or_four(size: int, dtype: str, model: bytes, tmp_path: Path) -> None:
    """The tokenizer is extended to `size` pieces. Each new piece is a character of the private planes 15 and 16."""
    grown = ModelProto.FromString(model)
    new = size - len(grown.pieces)
    characters = [chr(point) for plane in (0xF0000, 0x100000) for point in range(plane, plane + 0xFFFE)][:new]
    grown.pieces.extend(ModelProto.SentencePiece(piece=character, score=-1e6) for character in characters)
    manifest = prepare_documents([Document("1", "ces_Latn", characters[-1])], grown.SerializeToString(), tmp_path / "c")
    assert manifest["dtype"] == dtype and manifest["vocab_size"] == size
    corpus = Corpus(tmp_path / "c")
    (ids,) = corpus.read(np.zeros(1, int), np.zeros(1, int))
    assert ids.tolist() == [tokenizer.BOS, size - 1, tokenizer.EOS]
    assert np.flatnonzero(corpus.unigrams[0]).tolist() == [tokenizer.BOS, tokenizer.EOS, size - 1]


def overwrite(at: int) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[at] ^= 0xFF
        file.write_bytes(content)

    return damage


def cut(at: int) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(file.read_bytes()[:at]) and None


def edit(**fields: object) -> Callable[[Path], None]:
    return lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | fields)) and None


def edit_language(**fields: object) -> Callable[[Path], None]:
    """Edits what the manifest says of Czech; a field whose value is None is removed."""

    def damage(file: Path) -> None:
        manifest = json.loads(file.read_text())
        entry = manifest["languages"]["ces_Latn"] | fields
        manifest["languages"]["ces_Latn"] = {name: value for name, value in entry.items() if value is not None}
        file.write_text(json.dumps(manifest))

    return damage


def read_all(path: Path) -> None:
    corpus = Corpus(path)
    corpus.unigrams.sum()
    Stream(corpus, Mixture(), 64, 0)
    corpus.read(np.zeros(225, int), np.arange(225))


SHARD = "tokens/ces_Latn-00000.array_record"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (SHARD, Path.unlink),
        (SHARD, cut(0)),
        (SHARD, cut(1 << 16)),  # at the edge of a block of the format, where the file seems whole
        (SHARD, cut(-1)),
        (SHARD, overwrite(5000)),
        (SHARD, overwrite(65_600)),
        ("lengths/ces_Latn.u32", Path.unlink),
        ("lengths/ces_Latn.u32", cut(400)),
        ("lengths/ces_Latn.u32", cut(-4)),
        ("unigrams.npy", Path.unlink),
        ("unigrams.npy", cut(0)),
        ("unigrams.npy", cut(300)),
        ("manifest.json", Path.unlink),
        ("manifest.json", cut(1)),
        ("manifest.json", cut(100)),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("manifest.json", lambda path: path.write_text(path.read_text().replace('"root": "', '"root": "0'))),
        ("manifest.json", lambda path: path.write_text('{"format": 1}')),
        ("manifest.json", edit(languages=[])),
        ("manifest.json", edit(languages={"ces_Latn": None})),
        ("manifest.json", edit(vocab_size=5)),  # ids beyond it would not be noticed
        ("manifest.json", edit(dtype="zz")),
        ("manifest.json", edit(pad_id="x")),
        ("manifest.json", edit_language(tokens=None)),
        ("manifest.json", edit_language(tokens="x")),
        ("manifest.json", edit_language(tokens=99)),
        ("manifest.json", edit_language(documents=99)),
        ("manifest.json", edit_language(root=None)),
        ("tokenizer.model", Path.unlink),
        ("tokenizer.model", cut(-1)),
        ("tokenizer.model", overwrite(100)),
    ],
)
def test_errors_about_damage_name_the_file_and_the_remedy(name: str, damage: Callable[[Path], None], whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    damage(tmp_path / "c" / name)
    with pytest.raises(ValueError, match="prepare") as error:
        read_all(tmp_path / "c")
    assert (
        str(error.value).removeprefix("data.corpus: ").startswith(str(tmp_path / "c"))
        and Path(name).name in str(error.value)
        and "\n" not in str(error.value)
    )


def test_another_format_is_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    manifest = tmp_path / "c" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match="format 2, this version reads 1"):
        Corpus(tmp_path / "c")
