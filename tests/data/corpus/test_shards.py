"""Whatever of a shard is damaged is noticed, costs the damaged documents alone, and is told apart from a disk that fails."""

import json
import pickle
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.shards import DamagedDocument, Shard

CODE = "ces_Latn"
SHARD = f"tokens/{CODE}-00000.array_record"


@pytest.fixture
def corpus(corpus_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus_folder, tmp_path / "c"))


def everything(path: Path, skip: bool) -> list[list[int]]:
    corpus = Corpus(path)
    n = corpus.documents(CODE)
    return [ids.tolist() for ids in corpus.read(np.full(n, corpus.languages.index(CODE)), np.arange(n), skip)]


def write(path: Path, texts: list[bytes]) -> None:
    """Writes a shard that ArrayRecord finds nothing wrong with, and what the manifest says of its size."""
    writer = ArrayRecordWriter(str(path / SHARD), "group_size:1")
    for text in texts:
        writer.write(text)
    writer.close()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["languages"][CODE]["shard_bytes"] = [(path / SHARD).stat().st_size]
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_no_flipped_bit_is_silent(corpus: Path) -> None:
    good, whole, draw = everything(corpus, False), (corpus / SHARD).read_bytes(), random.Random(0)
    lost: Counter[int] = Counter()
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        (corpus / SHARD).write_bytes(content)
        found = everything(corpus, True)
        assert all(ids in ([], expected) for ids, expected in zip(found, good, strict=True))
        lost[found.count([])] += 1
    assert lost[0] and lost[1] > 50  # padding of the file; a document


def test_a_damaged_document_is_named_and_the_others_are_read(corpus: Path) -> None:
    good = everything(corpus, False)
    content = bytearray((corpus / SHARD).read_bytes())
    content[30_000] ^= 1
    (corpus / SHARD).write_bytes(content)
    found = everything(corpus, True)
    (number,) = [k for k, ids in enumerate(found) if not ids]
    assert found[:number] + found[number + 1 :] == good[:number] + good[number + 1 :]
    with pytest.raises(DamagedDocument, match=rf"{SHARD}: document {number} of ces_Latn is damaged .*hash mismatch.*; restore") as error:
        everything(corpus, False)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)  # workers send it to their parent


@pytest.mark.parametrize(("change", "why"), [(lambda ids: ids[:-1], "bytes, expected"), (lambda ids: ids + 1020, "token ids beyond 1,023")])
def test_a_document_that_cannot_be_of_this_corpus_is_damaged(change: object, why: str, corpus: Path) -> None:
    ids = [np.array(text, "<u2") for text in everything(corpus, False)]
    ids[7] = change(ids[7])  # type: ignore[operator]
    write(corpus, [text.tobytes() for text in ids])
    assert [k for k, found in enumerate(everything(corpus, True)) if not found] == [7]
    with pytest.raises(DamagedDocument, match=f"document 7 of ces_Latn .*{why}"):
        everything(corpus, False)


def test_a_shard_with_other_documents_is_damaged_as_a_whole(corpus: Path) -> None:
    texts = [np.array(text, "<u2").tobytes() for text in everything(corpus, False)]
    write(corpus, texts[:-1])
    assert not any(everything(corpus, True))
    with pytest.raises(DamagedDocument, match="it holds 83 documents, expected 84"):
        everything(corpus, False)


def test_a_disk_that_fails_is_no_damage(corpus: Path) -> None:
    class Failing:
        def read(self, _: object) -> None:
            raise RuntimeError("read() failed: Input/output error; reading x")

    size = (corpus / SHARD).stat().st_size
    shard = Shard(corpus / SHARD, 84, size, np.dtype("<u2"), 1024)
    shard._reader = Failing()
    with pytest.raises(OSError, match=f"{SHARD}: read.. failed: Input/output error$"):
        shard.read(np.arange(2), np.ones(2))


def test_missing_and_cut_shards_are_found_without_reading_any(corpus: Path) -> None:
    assert Corpus(corpus).faults() == []
    (corpus / SHARD).unlink()
    other = corpus / "tokens/fin_Latn-00000.array_record"
    size = other.stat().st_size
    other.write_bytes(other.read_bytes()[: 1 << 16])
    faults = [f"{corpus / SHARD}: no such file", f"{other}: it has 65,536 bytes, expected {size:,}"]
    assert Corpus(corpus).faults() == faults
    manifest = json.loads((corpus / "manifest.json").read_text())
    for language in manifest["languages"].values():  # as manifests were before they had sizes
        del language["shard_bytes"]
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    assert Corpus(corpus).faults() == faults[:1]
    other.write_bytes(other.read_bytes()[:-1])
    assert Corpus(corpus).faults()[1] == f"{other}: it has 65,535 bytes, expected a multiple of 65,536"
