"""A corpus on disk: token ids in ArrayRecord shards, one language a shard, and what is known of each document beside them.

    manifest.json                      what this is, counts, digests
    tokenizer.model                    the SentencePiece model the ids belong to
    unigrams.npy                       int64 (languages, vocabulary): how often each id occurs
    tokens/ces_Latn-00000.array_record a document a record, little-endian ids with bos and eos
    lengths/ces_Latn.u32               tokens of each document, memory-mapped
    index/ces_Latn-00000.parquet       digest, id, source, url, license, bytes, tokens of each document
    rejects.jsonl                      what was not taken, and why

Document k of a language is record k % SHARD_DOCUMENTS of shard k // SHARD_DOCUMENTS: no table is needed to find it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.documents import Document

FORMAT = 1
SHARD_DOCUMENTS = 1 << 16
OPEN_SHARDS = 256  # at a time: each holds a file descriptor, of which a process often has 1,024
DECODED = 1024  # documents at a time
MANIFEST = ("digest", "tokenizer_digest", "vocab_size", "pad_id", "dtype", "languages")  # what reading a corpus needs


class Corpus:
    """A prepared corpus, opened for reading. Pickles as its path."""

    def __init__(self, path: str | Path):
        """Raises ValueError if the folder is no whole corpus."""
        self.path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path)
        self.languages: tuple[str, ...] = tuple(self.manifest["languages"])
        self.digest: str = self.manifest["digest"]
        self.pad_id: int = self.manifest["pad_id"]
        self._dtype = np.dtype(self.manifest["dtype"])
        self._lengths: dict[str, np.ndarray] = {}
        self._readers: dict[Path, Any] = {}
        for code in self.languages:
            file = self.path / "lengths" / f"{code}.u32"
            if not file.exists() or file.stat().st_size != 4 * self.documents(code):
                raise ValueError(f"{file}: expected {self.documents(code)} lengths of 4 bytes; the corpus is damaged, prepare it again")

    def __reduce__(self) -> tuple[type, tuple]:
        return Corpus, (self.path,)

    def documents(self, code: str) -> int:
        return self.manifest["languages"][code]["documents"]

    def tokens(self, code: str) -> int:
        return self.manifest["languages"][code]["tokens"]

    def lengths(self, code: str) -> np.ndarray:
        """Tokens of each document of a language, uint32, memory-mapped."""
        if code not in self._lengths:
            self._lengths[code] = np.memmap(self.path / "lengths" / f"{code}.u32", np.dtype("<u4"), "r")
        return self._lengths[code]

    @cached_property
    def unigrams(self) -> np.ndarray:
        """int64 (languages, vocabulary): occurrences of each token id."""
        file = self.path / "unigrams.npy"
        try:
            return np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(file, error) from None

    def read(self, languages: np.ndarray, documents: np.ndarray) -> list[np.ndarray]:
        """The token ids of many documents, in the order asked for: one read a shard, since single reads are 30 times slower."""
        shards = documents // SHARD_DOCUMENTS
        order = np.lexsort((documents, languages))
        languages, shards, documents = languages[order], shards[order], documents[order]
        other_shard = (np.diff(languages, prepend=-1) != 0) | (np.diff(shards, prepend=-1) != 0)
        fresh = other_shard | (np.diff(documents, prepend=-1) != 0)  # one may be asked for several times
        languages, shards, documents, which = languages[fresh], shards[fresh], documents[fresh], np.cumsum(fresh) - 1
        ids: list[np.ndarray] = []
        for begin, end in pairwise([*np.flatnonzero(other_shard[fresh]).tolist(), len(documents)]):
            texts = self._read_shard(self.languages[languages[begin]], int(shards[begin]), documents[begin:end] % SHARD_DOCUMENTS)
            ids += [np.frombuffer(text, self._dtype) for text in texts]
        out: list[np.ndarray] = [np.empty(0, self._dtype)] * len(order)
        for at, k in zip(order.tolist(), which.tolist(), strict=True):
            out[at] = ids[k]
        return out

    def _read_shard(self, code: str, shard: int, records: np.ndarray) -> list[bytes]:
        file = shard_path(self.path, code, shard)
        try:
            if file not in self._readers:
                from array_record.python.array_record_module import ArrayRecordReader

                if len(self._readers) >= OPEN_SHARDS:
                    self._readers.pop(next(iter(self._readers))).close()  # the one opened first
                self._readers[file] = ArrayRecordReader(str(file))
            texts = self._readers[file].read(records.tolist())
        except RuntimeError as error:
            raise _damaged(file, error) from None
        expected = self.lengths(code)[shard * SHARD_DOCUMENTS + records].astype(np.int64) * self._dtype.itemsize
        if [len(text) for text in texts] != expected.tolist():
            raise _damaged(file, "records are cut short")
        return texts


def _damaged(file: Path, why: object) -> ValueError:
    return ValueError(f"{file}: {str(why)[:200]}; the corpus is damaged, prepare it again")


def shard_path(corpus: Path, code: str, shard: int) -> Path:
    return corpus / "tokens" / f"{code}-{shard:05d}.array_record"


def corpus_digest(tokenizer_digest: str, languages: Mapping[str, Any]) -> str:
    """SHA-256 over what a corpus is: its format, its tokenizer, and the Merkle root of each language's documents."""
    what = {"format": FORMAT, "tokenizer": tokenizer_digest, "languages": {code: entry["root"] for code, entry in languages.items()}}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a corpus folder. Raises ValueError that says what is wrong and what to do."""
    file = path / "manifest.json"
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"data.corpus: {path} is no prepared corpus (no manifest.json); make one with `varietas prepare`") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); prepare the corpus again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else "none"
        raise ValueError(f"{file}: format {found}, this version reads {FORMAT}; prepare the corpus again")
    if missing := [name for name in MANIFEST if name not in manifest]:
        raise ValueError(f"{file} lacks {', '.join(missing)}; prepare the corpus again")
    if manifest["digest"] != corpus_digest(manifest["tokenizer_digest"], manifest["languages"]):
        raise ValueError(f"{file}: its digest does not fit its languages; the corpus is damaged, prepare it again")
    return manifest


def decoded(path: Path) -> Iterator[Document]:
    """The texts of a prepared corpus, out of its tokens: what a tokenizer can be trained on without the raw files."""
    from varietas.data.tokenizer import load

    corpus, processor = Corpus(path), load(path / "tokenizer.model")
    for index, code in enumerate(corpus.languages):
        for begin in range(0, corpus.documents(code), DECODED):
            numbers = np.arange(begin, min(begin + DECODED, corpus.documents(code)))
            for ids in corpus.read(np.full(len(numbers), index), numbers):
                yield Document("", code, processor.decode(ids.tolist()))
