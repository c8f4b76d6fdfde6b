"""Documents in, a corpus folder out (see corpus.py): encode, digest, count, write; all or nothing.

Documents keep the order of the input within their language, so the same input gives the same corpus, digest for digest.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece as spm
from array_record.python.array_record_module import ArrayRecordWriter

from varietas.data import tokenizer
from varietas.data.corpus import FORMAT, SHARD_DOCUMENTS, corpus_digest, shard_path
from varietas.data.documents import SIGNALS, Document, Reject
from varietas.data.files import new_folder, write_json
from varietas.data.merkle import MerkleTree

BATCH_DOCUMENTS = 1024
SIGNAL_TYPES = {
    **dict.fromkeys(("quality", "lang_score"), pa.float32()),
    "robots": pa.bool_(),
    "pii": pa.list_(pa.list_(pa.uint32())),
    "registers": pa.map_(pa.string(), pa.float32()),
    "cluster_size": pa.uint32(),
    **dict.fromkeys(("filter", "crawl", "timestamp"), pa.string()),
}
INDEX = pa.schema(
    [
        ("digest", pa.binary(32)),  # SHA-256 of the text
        *((name, pa.string()) for name in ("id", "source", "url", "license")),
        *((name, pa.uint32()) for name in ("bytes", "tokens")),
        *((name, SIGNAL_TYPES[name]) for name in SIGNALS),  # null where not known
    ]
)


def prepare(
    records: Iterable[Document | Reject], model: bytes, out: Path, progress: Callable[[int], None] = lambda n_bytes: None
) -> dict[str, Any]:
    """Writes the corpus to `out`, which must not exist, and returns its manifest. `progress` is told the bytes of text done.

    Raises ValueError if `out` exists or not one record is usable, OSError if the disk is full.
    """
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    processor = tokenizer.load(model)
    with new_folder(out) as folder:
        (folder / "tokenizer.model").write_bytes(model)
        dtype = np.dtype("<u2" if processor.get_piece_size() <= 1 << 16 else "<u4")
        rejected: Counter[str] = Counter()
        with (folder / "rejects.jsonl").open("w", encoding="utf-8") as rejects:
            writers: dict[str, _LanguageWriter] = {}
            documents = _documents(records, rejects, rejected)
            while batch := list(islice(documents, BATCH_DOCUMENTS)):
                encoded = processor.encode([d.text for d in batch], add_bos=True, add_eos=True, num_threads=os.cpu_count() or 1)
                for document, ids in zip(batch, encoded, strict=True):
                    if document.lang not in writers:
                        writers[document.lang] = _LanguageWriter(folder, document.lang, processor.get_piece_size(), dtype)
                    progress(writers[document.lang].add(document, np.array(ids, dtype)))
        if not writers:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in rejected.most_common(3)) or "the input is empty"
            raise ValueError(f"no usable document in the input ({reasons}); nothing was written")
        languages = {code: writers[code].close() for code in sorted(writers)}
        np.save(folder / "unigrams.npy", np.stack([writers[code].unigrams for code in languages]))
        manifest = _manifest(languages, rejected, processor, hashlib.sha256(model).hexdigest(), dtype)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _documents(records: Iterable[Document | Reject], rejects: Any, rejected: Counter[str]) -> Iterator[Document]:
    for record in records:
        if isinstance(record, Document):
            yield record
        else:
            rejected[record.reason] += 1
            rejects.write(json.dumps(record.__dict__, ensure_ascii=False) + "\n")


def _manifest(
    languages: dict[str, dict[str, Any]],
    rejected: Counter[str],
    processor: spm.SentencePieceProcessor,
    tokenizer_digest: str,
    dtype: np.dtype,
) -> dict[str, Any]:
    total = {field: sum(language[field] for language in languages.values()) for field in ("documents", "tokens", "bytes")}
    return {
        "format": FORMAT,
        "digest": corpus_digest(tokenizer_digest, languages),
        **total,
        "records_read": total["documents"] + sum(rejected.values()),
        "rejected": dict(sorted(rejected.items())),
        "tokenizer_digest": tokenizer_digest,
        "vocab_size": processor.get_piece_size(),
        "pad_id": max(processor.pad_id(), 0),
        "dtype": dtype.str,
        "languages": languages,
    }


class _LanguageWriter:
    """The open shard, index and lengths of one language, and its running counts."""

    def __init__(self, folder: Path, code: str, vocab_size: int, dtype: np.dtype):
        for name in ("tokens", "lengths", "index"):
            (folder / name).mkdir(exist_ok=True)
        self._folder, self._code, self._dtype = folder, code, dtype
        self._lengths = (folder / "lengths" / f"{code}.u32").open("wb")
        self._tree = MerkleTree()
        self._rows: list[tuple] = []
        self._shard: ArrayRecordWriter | None = None
        self._index: pq.ParquetWriter | None = None
        self.unigrams = np.zeros(vocab_size, np.int64)
        self.documents = self.tokens = self.bytes = 0

    def add(self, document: Document, ids: np.ndarray) -> int:
        """Writes a document and returns the bytes of its text."""
        if self.documents % SHARD_DOCUMENTS == 0:
            self._next_shard()
        assert self._shard is not None
        text = document.text.encode()
        digest = hashlib.sha256(text).digest()
        with _disk_errors():
            self._shard.write(ids.tobytes())
        self._lengths.write(np.array(len(ids), "<u4").tobytes())
        self._tree.append(digest)
        signals = (document.signals.get(name) for name in SIGNALS)
        self._rows.append((digest, document.id, document.source, document.url, document.license, len(text), len(ids), *signals))
        if len(self._rows) == BATCH_DOCUMENTS:
            self._write_rows()
        np.add.at(self.unigrams, ids, 1)
        self.documents += 1
        self.tokens += len(ids)
        self.bytes += len(text)
        return len(text)

    def close(self) -> dict[str, Any]:
        """Closes the files; returns the language's entry in the manifest."""
        self._close_shard()
        self._lengths.close()
        return {"documents": self.documents, "tokens": self.tokens, "bytes": self.bytes, "root": self._tree.root().hex()}

    def _next_shard(self) -> None:
        self._close_shard()
        number = self.documents // SHARD_DOCUMENTS
        self._shard = ArrayRecordWriter(str(shard_path(self._folder, self._code, number)), "group_size:1")
        self._index = pq.ParquetWriter(self._folder / "index" / f"{self._code}-{number:05d}.parquet", INDEX, compression="zstd")

    def _write_rows(self) -> None:
        if self._rows and self._index is not None:
            columns = [pa.array(column, field.type) for column, field in zip(zip(*self._rows, strict=True), INDEX, strict=True)]
            self._index.write_table(pa.Table.from_arrays(columns, schema=INDEX))
            self._rows.clear()

    def _close_shard(self) -> None:
        self._write_rows()
        if self._shard is not None and self._index is not None:
            with _disk_errors():
                self._shard.close()
            self._index.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    """ArrayRecord's RuntimeError as the OSError that it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split(";")[0]) from None
