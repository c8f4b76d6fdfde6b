"""A corpus on disk: token ids in ArrayRecord shards, with one language per shard, and an index of what is known of each document.

    manifest.json                      format, counts, digests, and the bytes of each shard
    tokenizer.model or tokenizer.json  the tokenizer that the ids belong to
    chat_template.jinja                of conversations, whose ids have marks (data/chat/marks.py)
    unigrams.npy                       int64 (languages, vocabulary): how often each id occurs
    tokens/ces_Latn-00000.array_record one document per record: little-endian ids, those of a text with bos and eos
    lengths/ces_Latn.u32               number of tokens of each document, memory-mapped
    index/ces_Latn-00000.parquet       digest, id, source, url, license, bytes, tokens and signals of each document
    held_out/ces_Latn.jsonl            documents that are kept for evaluation and are in no shard (data/corpus/held_out.py); often none
    rejects.jsonl                      records that were rejected, and why
    commitment/                        what others can check of it (data/corpus/commitment.py); not in corpora of older versions

Document k of a language is record k % SHARD_DOCUMENTS of shard k // SHARD_DOCUMENTS, so no table is needed to find it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.chat.marks import marked_type, without_marks
from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.corpus.shards import DamagedDocument, Shard, fault
from varietas.data.files import read_json
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import file_in, load

FORMAT = 1
COMMITMENT, COMMITMENT_FORMAT = "commitment", 1
DTYPES = ("<u2", "<u4")  # of token ids
SHARD_DOCUMENTS = 1 << 16
OPEN_SHARDS = 256  # at a time: each takes a file descriptor, and a process often has no more than 1,024
ASKED = 16  # files at a time whose size is asked for: a parallel file system takes a while to answer
DECODED = 1024  # documents at a time
# Fields of the manifest that reading a corpus needs, and those of each of its languages.
MANIFEST = {"digest": str, "tokenizer_digest": str, "vocab_size": int, "pad_id": int, "dtype": str, "languages": dict}
LANGUAGE = {"documents": int, "tokens": int, "bytes": int, "root": str}


class Corpus:
    """A prepared corpus, opened for reading. Only its path is pickled."""

    def __init__(self, path: str | Path):
        """Opens the corpus in the folder `path`.

        Raises:
            ValueError: If the folder is not a complete corpus.
        """
        self.path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path)
        self.languages: tuple[str, ...] = tuple(self.manifest["languages"])
        self.digest: str = self.manifest["digest"]
        self.pad_id: int = self.manifest["pad_id"]
        self._dtype = np.dtype(self.manifest["dtype"])
        self._lengths: dict[str, np.ndarray] = {}
        self._open: dict[tuple[str, int], Shard] = {}
        self.sealed: tuple[str, ...] = tuple(self.manifest.get("sealed", ()))  # sources that are left out, if this is the public part
        self._check_files()

    def __reduce__(self) -> tuple[type, tuple]:
        return Corpus, (self.path,)

    def _check_files(self) -> None:
        """Raises ValueError if a file is missing or is not of this corpus, as far as that takes no time."""
        for code in self.languages:
            file = self.path / "lengths" / f"{code}.u32"
            if not file.exists() or file.stat().st_size != 4 * self.documents(code):
                raise damaged(file, f"expected {self.documents(code):,} lengths of 4 bytes, as many as manifest.json has documents")
        if self.sealed:
            return
        if self.unigrams.shape != (len(self.languages), self.manifest["vocab_size"]):
            raise damaged(self.path / "unigrams.npy", f"it counts {self.unigrams.shape}, not (languages, vocab_size) of manifest.json")
        try:
            tokenizer = hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()
        except OSError as error:
            raise damaged(self.tokenizer, error.strerror) from None
        if tokenizer != self.manifest["tokenizer_digest"]:
            raise damaged(self.tokenizer, "it is not the tokenizer with which the corpus was prepared")
        template = self.chat_template
        if template and not template.exists():
            raise damaged(template, "no such file")
        if template and hashlib.sha256(template.read_bytes()).hexdigest() != self.manifest["template_digest"]:
            raise damaged(template, "it is not the chat template with which the corpus was prepared")

    @property
    def tokenizer(self) -> Path:
        """The tokenizer that the ids belong to."""
        return file_in(self.path)

    @property
    def is_chat(self) -> bool:
        """Whether the documents are conversations, whose ids have marks."""
        return bool(self.manifest.get("template_digest"))

    @property
    def has_preferences(self) -> bool:
        """Whether each document is two conversations, the chosen and the rejected one."""
        return bool(self.manifest.get("preferences"))

    @property
    def chat_template(self) -> Path | None:
        """The chat template of conversations; None if the documents are texts."""
        return self.path / TEMPLATE if self.is_chat else None

    def documents(self, code: str) -> int:
        """Returns the number of documents of a language."""
        return self.manifest["languages"][code]["documents"]

    def tokens(self, code: str) -> int:
        """Returns the number of tokens of a language."""
        return self.manifest["languages"][code]["tokens"]

    def lengths(self, code: str) -> np.ndarray:
        """Returns the number of tokens of each document of a language: uint32 (documents,), memory-mapped."""
        if code not in self._lengths:
            self._lengths[code] = np.memmap(self.path / "lengths" / f"{code}.u32", np.dtype("<u4"), "r")
        return self._lengths[code]

    @cached_property
    def unigrams(self) -> np.ndarray:
        """int64 (languages, vocabulary): how often each token id occurs. Memory-mapped."""
        if self.sealed:
            raise self.needs_sealed_part("how often each token occurs")
        file = self.path / "unigrams.npy"
        try:
            return np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise damaged(file, error) from None

    @cached_property
    def commitment(self) -> dict[str, Any]:
        """The content of commitment.json.

        Raises:
            ValueError: If the corpus has none, a damaged one, or another than manifest.json names.
        """
        return _read_commitment(self.path, self.manifest.get("commitment"))

    def needs_sealed_part(self, what: str) -> ValueError:
        """Returns the error for what the public part of a corpus does not hold."""
        return ValueError(f"{self.path}: {what} needs the sealed part, and this is the public part of the corpus; ask who holds the corpus")

    def n_shards(self, code: str) -> int:
        """Returns the number of shards of a language."""
        return -(-self.documents(code) // SHARD_DOCUMENTS)

    def faults(self) -> list[str]:
        """Returns the shards that are missing or do not have their size, each as a line of text. No file is read."""
        if self.sealed:
            return [str(self.needs_sealed_part("the text"))]
        shards = [(code, shard) for code in self.languages for shard in range(self.n_shards(code))]
        files = [shard_path(self.path, *shard) for shard in shards]
        with ThreadPoolExecutor(ASKED) as pool:
            whys = list(pool.map(fault, files, [self._shard_bytes(*shard) for shard in shards]))
        return [f"{file}: {why}" for file, why in zip(files, whys, strict=True) if why]

    def read(self, languages: np.ndarray, documents: np.ndarray, skip: bool = False) -> list[np.ndarray]:
        """Returns the token ids of many documents, in the order in which they are asked for. Those of conversations have marks.

        Each shard is read once, because reading documents one by one is 30 times slower.

        Args:
            languages: Language of each document as an index into `self.languages`, (n,).
            documents: Number of each document within its language, (n,). Documents may be repeated.
            skip: Whether a damaged document is returned as an empty array. No other document is empty.

        Raises:
            DamagedDocument: If a document is damaged and `skip` is not set.
            OSError: If the disk fails.
        """
        shards = documents // SHARD_DOCUMENTS
        order = np.lexsort((documents, languages))
        languages, shards, documents = languages[order], shards[order], documents[order]
        other_shard = (np.diff(languages, prepend=-1) != 0) | (np.diff(shards, prepend=-1) != 0)
        fresh = other_shard | (np.diff(documents, prepend=-1) != 0)  # documents may be repeated
        languages, shards, documents, which = languages[fresh], shards[fresh], documents[fresh], np.cumsum(fresh) - 1
        ids: list[np.ndarray] = []
        for begin, end in pairwise([*np.flatnonzero(other_shard[fresh]).tolist(), len(documents)]):
            code, shard, numbers = self.languages[languages[begin]], int(shards[begin]), documents[begin:end]
            found = self.shard(code, shard).read(numbers % SHARD_DOCUMENTS, self.lengths(code)[numbers])
            for number, text in zip(numbers.tolist(), found, strict=True):
                if isinstance(text, str) and not skip:
                    raise DamagedDocument(shard_path(self.path, code, shard), code, number, text)
                ids.append(np.empty(0, self._dtype) if isinstance(text, str) else text)
        out: list[np.ndarray] = [np.empty(0, self._dtype)] * len(order)
        for at, k in zip(order.tolist(), which.tolist(), strict=True):
            out[at] = ids[k]
        return out

    def shard(self, code: str, shard: int) -> Shard:
        """Returns a shard of a language, opened for reading."""
        if self.sealed:
            raise self.needs_sealed_part("the text")
        if (code, shard) not in self._open:
            if len(self._open) >= OPEN_SHARDS:
                self._open.pop(next(iter(self._open))).close()  # the one that was opened first
            documents = min(SHARD_DOCUMENTS, self.documents(code) - shard * SHARD_DOCUMENTS)
            file, size = shard_path(self.path, code, shard), self._shard_bytes(code, shard)
            self._open[code, shard] = Shard(file, documents, size, self._dtype, self.manifest["vocab_size"], self.is_chat)
        return self._open[code, shard]

    def _shard_bytes(self, code: str, shard: int) -> int | None:
        """Returns the bytes of a shard, or None if the manifest is from before it had them."""
        sizes = self.manifest["languages"][code].get("shard_bytes")
        return sizes[shard] if sizes else None


def damaged(file: Path, why: object) -> ValueError:
    """Returns the error for a file of a corpus that cannot be used."""
    return ValueError(f"{file}: {str(why)[:200]}; the corpus is damaged, prepare it again")


def shard_path(corpus: Path, code: str, shard: int) -> Path:
    """Returns the ArrayRecord file of a shard."""
    return corpus / "tokens" / f"{code}-{shard:05d}.array_record"


def corpus_digest(tokenizer_digest: str, languages: Mapping[str, Any], template_digest: str = "") -> str:
    """Returns the SHA-256 that identifies a corpus: over its format, its tokenizer, and the Merkle root of each language's documents.

    That of conversations is taken over their chat template too.

    Args:
        tokenizer_digest: SHA-256 of the tokenizer's model file.
        languages: `languages` of the manifest; only the roots are used.
        template_digest: SHA-256 of the chat template; "" if the documents are texts.
    """
    what = {"format": FORMAT, "tokenizer": tokenizer_digest, "languages": {code: entry["root"] for code, entry in languages.items()}}
    if template_digest:
        what["chat_template"] = template_digest
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest of a corpus folder.

    Raises:
        ValueError: If the manifest is missing, damaged, or of another format.
    """
    file = path / "manifest.json"
    try:
        manifest = read_json(file, "prepare the corpus again")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"data.corpus: {path} is not a prepared corpus (it has no manifest.json); make one with `varietas prepare`"
        ) from None
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{file}: format {manifest.get('format')}, this version reads {FORMAT}; prepare the corpus again")
    unusable = [name for name, kind in MANIFEST.items() if not isinstance(manifest.get(name), kind)]
    for code, entry in manifest["languages"].items() if not unusable else ():
        wanted = {name: kind for name, kind in LANGUAGE.items() if not (name == "root" and manifest.get("sealed"))}
        unusable += [f"languages.{code}.{name}" for name, kind in wanted.items() if not isinstance((entry or {}).get(name), kind)]
        if not unusable and len(entry.get("shard_bytes", ())) not in (0, -(-entry["documents"] // SHARD_DOCUMENTS)):
            unusable.append(f"languages.{code}.shard_bytes")
    if unusable:
        raise damaged(file, f"it has no usable {', '.join(unusable[:5])}")
    if manifest["dtype"] not in DTYPES:
        raise damaged(file, f"dtype {manifest['dtype']!r} is none of {', '.join(DTYPES)}")
    if manifest.get("template_digest") and manifest["dtype"] != marked_type(manifest["vocab_size"]).str:
        raise ValueError(f"{file}: its conversations have marks of another version; prepare the corpus again")
    if manifest.get("sealed"):
        digest = (manifest.get("commitment") or {}).get("root")
    else:
        digest = corpus_digest(manifest["tokenizer_digest"], manifest["languages"], manifest.get("template_digest", ""))
    if manifest["digest"] != digest:
        raise damaged(file, "its digest does not match its languages")
    return manifest


def _read_commitment(path: Path, named: Mapping[str, str] | None) -> dict[str, Any]:
    """Returns the content of commitment.json. `named` is what the manifest says of it."""
    file, advice = path / COMMITMENT / "commitment.json", "restore the folder commitment from a copy"
    try:
        content = read_json(file, advice)
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise ValueError(f"{file}: no such file, but manifest.json names a commitment; {advice}") from None
        raise ValueError(f"{path} has no commitment; `varietas audit commit --corpus {path}` makes one") from None
    if content.get("format") != COMMITMENT_FORMAT:
        raise ValueError(f"{file}: format {content.get('format')}, this version reads {COMMITMENT_FORMAT}; use the version that made it")
    if not _is_commitment(content):
        raise ValueError(f"{file}: a field is missing or of another kind; {advice}")
    for name, here in (("root", content["root"]), ("sorted_root", content["sorted"]["root"])):
        if here != (there := (named or {}).get(name)):
            raise ValueError(f"{file}: it has the {name} {here}, but manifest.json names {there}; restore both from a copy")
    return content


def _is_commitment(content: Mapping[str, Any]) -> bool:
    """Returns whether commitment.json has all fields that are read, and all are of their kind."""
    try:
        languages, tree = content["languages"].values(), content["sorted"]
        sources = [source for language in languages for source in language["sources"].values()]
        counts = [*(entry["documents"] for entry in (*languages, *sources, tree)), tree["bits"]]
        hashes = [content["root"], tree["root"], tree["salt"], *(source["root"] for source in sources)]
        sizes = {len(bytes.fromhex(each)) for each in hashes}
        return sizes == {32} and min(counts) >= 0 and tree["bits"] < 64 and all(isinstance(code, str) for code in tree["languages"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return False


def decoded(corpus: Corpus) -> Iterator[Document]:
    """Yields the documents of a prepared corpus, decoded from its tokens, so that a tokenizer can be trained without the raw files."""
    processor = load(corpus.tokenizer)
    for index, code in enumerate(corpus.languages):
        for begin in range(0, corpus.documents(code), DECODED):
            numbers = np.arange(begin, min(begin + DECODED, corpus.documents(code)))
            for ids in corpus.read(np.full(len(numbers), index), numbers):
                yield Document("", code, processor.decode((without_marks(ids) if corpus.is_chat else ids).tolist()))
