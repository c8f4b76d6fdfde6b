"""What a corpus commits to: one root over all its documents, from which nobody learns anything about a document that is not shown.

    commitment/commitment.json   the root, a root for each language and source, what is known of the sorted tree (sorted_tree.py)
    commitment/secret            32 random bytes, for its owner alone: whoever has them can show any document, or all
    commitment/ces_Latn.leaves   T and E of each document, 64 bytes, memory-mapped
    commitment/ces_Latn.sources  u32: which of the sources of the language each document is of
    commitment/ces_Latn.trees    TREE: the root of each source in each shard

T = SHA-256(salt || digest of the content || SHA-256(token ids as stored)) commits to the text of a document, and
E = SHA-256(salt || what the index says of it, as JSON) to the rest; each has a salt of its own. The leaf of a document is its number within
the language (8 bytes, big endian), T and E. Trees (RFC 9162) are built so that one shard at a time has to be in memory:

    A  the documents of one source in one shard
    B  the roots of A of a language and source, shard by shard; shards without a document of the source are left out
    C  f"{language}\\t{source}\\t{documents}\\t" + root of B, sorted by language and source. Its root is that of the corpus.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from varietas.data.corpus.corpus import COMMITMENT, COMMITMENT_FORMAT, Corpus, damaged
from varietas.data.corpus.index import SIGNAL_TYPES, index_errors
from varietas.data.corpus.shards import DamagedDocument, Shard
from varietas.data.corpus.sorted_tree import KEYS, by_key, key_of
from varietas.data.files import new_file, new_folder
from varietas.data.ledger.merkle import HASH, root

LEAF = 2 * HASH  # bytes of T and E
BATCH = 1024  # documents whose tokens are in memory at a time
TREE = np.dtype([("source", "<u4"), ("shard", "<u4"), ("documents", "<u4"), ("root", "V32")])
Part = Literal["text", "entry"]


@dataclass(frozen=True)
class Committed:
    """What is committed to of the documents of one shard."""

    leaves: np.ndarray  # uint8 (documents, LEAF): T and E; T of a damaged document is zero
    sources: tuple[str, ...]  # of these documents, sorted
    source: np.ndarray  # uint32 (documents,): which of `sources` each is of
    keys: np.ndarray  # KEYS (documents,), of the sorted tree, sorted
    damaged: Mapping[int, str]  # number within the language -> why its tokens cannot be read


def make_secret(file: Path) -> None:
    """Makes the secret of a corpus, which only the user can read, unless the file is there already."""
    if not file.exists():
        with new_file(file) as partial:
            write_secret(partial, secrets.token_bytes(HASH))


def write_secret(file: Path, secret: bytes) -> None:
    """Writes a secret to a file that only the user can read, from the beginning."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(secret)


def read_secret(file: Path) -> bytes:
    """Reads the secret of a corpus.

    Raises:
        ValueError: If it is not there or damaged.
    """
    try:
        secret = file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{file}: no such file, and only who has the secret of a corpus can show its documents") from None
    if len(secret) != HASH:
        raise ValueError(f"{file}: it has {len(secret):,} bytes, expected {HASH}; restore it from a copy")
    return secret


def salt_of(secret: bytes, code: str, number: int, part: Part) -> bytes:
    """Returns the salt of a document's text (T) or index entry (E), 32 bytes."""
    return hmac.digest(secret, f"{code}/{number}/{part}".encode(), "sha256")


def sorted_salt(secret: bytes) -> bytes:
    """Returns the salt of the sorted tree, which is public."""
    return hmac.digest(secret, b"sorted", "sha256")


def text_commitment(salt: bytes, content_digest: bytes, tokens_digest: bytes) -> bytes:
    """Returns T of a document."""
    return sha256(salt + content_digest + tokens_digest).digest()


def entry_commitment(salt: bytes, entry: str) -> bytes:
    """Returns E of a document."""
    return sha256(salt + entry.encode()).digest()


def entry_of(code: str, row: Mapping[str, Any]) -> str:
    """Returns what the index says of a document as JSON: sorted keys, no spaces, UTF-8, and nothing that is not known.

    Args:
        code: Its language.
        row: Its row of the index.
    """
    known = {name: value for name, value in row.items() if value is not None and name != "digest"}
    for name in known.keys() & SIGNAL_TYPES.keys():
        if pa.types.is_map(SIGNAL_TYPES[name]):
            known[name] = dict(known[name])
    return json.dumps({**known, "language": code}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def leaf_of(number: int, commitments: bytes) -> bytes:
    """Returns the leaf of a document. `commitments` are its T and E."""
    return number.to_bytes(8, "big") + commitments


def source_leaf(code: str, source: str, documents: int, root: bytes) -> bytes:
    """Returns the leaf of a language and source in tree C. `root` is that of its tree B."""
    return f"{code}\t{source}\t{documents}\t".encode() + root


def committed(secret: bytes, code: str, first: int, index: Path, shard: Shard, lengths: np.ndarray) -> Committed:
    """Computes what is committed to of the documents of one shard.

    Args:
        secret: That of the corpus.
        code: The language.
        first: Number of the first document within the language.
        index: The index of the shard.
        shard: Its tokens.
        lengths: Tokens of each document, (documents,).

    Raises:
        ValueError: If the index is damaged.
        OSError: If the disk fails.
    """
    leaves, keys, sources, broken = bytearray(), list[bytes](), list[str](), dict[int, str]()
    public = sorted_salt(secret)
    for row, ids in _rows(index, shard, lengths):
        number, digest = first + len(sources), row["digest"] or b""
        if isinstance(ids, str):
            broken[number] = ids
            leaves += bytes(HASH)
        else:
            leaves += text_commitment(salt_of(secret, code, number, "text"), digest, sha256(ids.data).digest())
        leaves += entry_commitment(salt_of(secret, code, number, "entry"), entry_of(code, row))
        keys.append(key_of(public, digest))
        sources.append(row["source"] or "")
    names, which = np.unique(np.array(sources, object), return_inverse=True)
    records = np.empty(len(keys), KEYS)
    records["key"] = np.frombuffer(b"".join(keys), "V32")
    records["number"] = first + np.arange(len(keys))
    both = np.frombuffer(bytes(leaves), np.uint8).reshape(-1, LEAF)
    return Committed(both, tuple(names.tolist()), which.astype("<u4"), by_key(records), broken)


def _rows(index: Path, shard: Shard, lengths: np.ndarray) -> Iterator[tuple[dict[str, Any], np.ndarray | str]]:
    """Yields the row of the index and the token ids of each document, or why these cannot be read."""
    at = 0
    for rows in _batches(index, len(lengths)):
        places = np.arange(at, at + len(rows))
        yield from zip(rows.to_pylist(), shard.read(places, lengths[places]), strict=True)
        at += len(rows)


def _batches(index: Path, documents: int) -> Iterator[pa.RecordBatch]:
    with index_errors(index):
        file = pq.ParquetFile(index)
        if (n := file.metadata.num_rows) != documents:
            raise damaged(index, f"it has {n:,} documents, expected {documents:,}")
        yield from file.iter_batches(BATCH)


def source_roots(first: int, what: Committed) -> list[tuple[str, int, bytes]]:
    """Returns the name, the number of documents and the root of tree A of each source in a shard that begins with document `first`."""
    found = []
    for k, name in enumerate(what.sources):
        members = np.flatnonzero(what.source == k)
        found.append((name, len(members), root(leaves_of(first, members, what.leaves))))
    return found


def leaves_of(first: int, places: np.ndarray, leaves: np.ndarray) -> list[bytes]:
    """Returns the leaves of documents at some places of a shard that begins with document `first`; `leaves` are those of the shard."""
    both = leaves[places].tobytes()
    return [leaf_of(first + at, both[LEAF * k : LEAF * k + LEAF]) for k, at in enumerate(places.tolist())]


def write_committed(first: int, what: Committed, code: str, shard: Path, out: Path) -> None:
    """Writes what is committed to of a shard, for `join` and `sorted_tree.write_chunk`, whole or not at all.

    Raises:
        DamagedDocument: If the tokens of a document cannot be read.
    """
    for number, why in what.damaged.items():
        raise DamagedDocument(shard, code, number, why)
    with new_folder(out) as folder:
        what.leaves.tofile(folder / "leaves")
        what.source.tofile(folder / "sources")
        what.keys.tofile(folder / "keys")
        roots = [[name, n, top.hex()] for name, n, top in source_roots(first, what)]
        (folder / "roots.json").write_text(json.dumps(roots, ensure_ascii=False), "utf-8")


def join(secret: bytes, shards: Mapping[str, Sequence[Path]], tree: dict[str, Any], out: Path) -> dict[str, Any]:
    """Joins the files of `write_committed` to those of the corpus, and returns the content of commitment.json.

    Args:
        secret: That of the corpus.
        shards: Folders of `write_committed` of each language, in the order of shards.
        tree: What `sorted_tree.join` returned.
        out: The folder to write to. It exists.
    """
    languages = {code: _join_language(code, folders, out) for code, folders in sorted(shards.items())}
    content = {"format": COMMITMENT_FORMAT, "root": root_of_sources(languages).hex(), "languages": languages, "sorted": tree}
    write_secret(out / "secret", secret)
    (out / "commitment.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return content


def _join_language(code: str, folders: Sequence[Path], out: Path) -> dict[str, Any]:
    of_shards = [json.loads((folder / "roots.json").read_text("utf-8")) for folder in folders]
    place = {name: k for k, name in enumerate(sorted({name for roots in of_shards for name, *_ in roots}))}
    trees = []
    with (out / f"{code}.leaves").open("wb") as leaves, (out / f"{code}.sources").open("wb") as sources:
        for shard, (folder, roots) in enumerate(zip(folders, of_shards, strict=True)):
            leaves.write((folder / "leaves").read_bytes())
            names = np.array([place[name] for name, *_ in roots], "<u4")
            sources.write(names[np.fromfile(folder / "sources", "<u4")].tobytes())
            trees += [(place[name], shard, n, bytes.fromhex(top)) for name, n, top in roots]
    table = np.array(sorted(trees), TREE)
    table.tofile(out / f"{code}.trees")
    return {"documents": int(table["documents"].sum(dtype=np.int64)), "sources": roots_by_source(table, list(place))}


def roots_by_source(table: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Returns the documents and the root of tree B of each source of a language.

    Args:
        table: TREE (n,), sorted: the roots of tree A of a language.
        names: The names of its sources.
    """
    bounds = np.searchsorted(table["source"], np.arange(len(names) + 1))
    found = {}
    for k, name in enumerate(names):
        mine = table[bounds[k] : bounds[k + 1]]
        found[name] = {"documents": int(mine["documents"].sum(dtype=np.int64)), "root": root(mine["root"].tolist()).hex()}
    return found


def source_leaves(languages: Mapping[str, Any]) -> dict[tuple[str, str], bytes]:
    """Returns the leaves of tree C by language and source, in their order. `languages` is that of commitment.json."""
    entries = [(code, source, entry) for code, language in languages.items() for source, entry in language["sources"].items()]
    entries.sort(key=lambda entry: entry[:2])
    return {(code, source): source_leaf(code, source, e["documents"], bytes.fromhex(e["root"])) for code, source, e in entries}


def root_of_sources(languages: Mapping[str, Any]) -> bytes:
    """Returns the root of tree C, which is that of the corpus. `languages` is that of commitment.json."""
    return root(source_leaves(languages).values())


def in_manifest(content: Mapping[str, Any]) -> dict[str, str]:
    """Returns what the manifest says of a commitment. `content` is that of commitment.json."""
    return {"root": content["root"], "sorted_root": content["sorted"]["root"]}


def leaves(corpus: Corpus, code: str) -> np.ndarray:
    """Returns T and E of each document of a language: uint8 (documents, LEAF), memory-mapped.

    Raises:
        ValueError: If the corpus has no commitment, or if the file does not have its size.
    """
    return _mapped(corpus, code, "leaves", np.dtype((np.uint8, LEAF)))


def source_numbers(corpus: Corpus, code: str) -> np.ndarray:
    """Returns which of the sources of the language each document is of: uint32 (documents,), memory-mapped. Raises as `leaves` does."""
    return _mapped(corpus, code, "sources", np.dtype("<u4"))


def tree_table(corpus: Corpus, code: str) -> np.ndarray:
    """Returns the roots of tree A of a language: TREE (n,), sorted by source and shard."""
    file = corpus.path / COMMITMENT / f"{code}.trees"
    try:
        return np.fromfile(file, TREE)
    except OSError as error:
        raise damaged(file, error.strerror) from None


def _mapped(corpus: Corpus, code: str, name: str, kind: np.dtype) -> np.ndarray:
    language, file = corpus.commitment["languages"].get(code), corpus.path / COMMITMENT / f"{code}.{name}"
    if not language:
        raise damaged(corpus.path / COMMITMENT / "commitment.json", f"it says nothing of {code}")
    n = language["documents"]
    if not file.exists() or file.stat().st_size != n * kind.itemsize:
        raise damaged(file, f"expected {n:,} records of {kind.itemsize} bytes, as many as commitment.json has documents")
    return np.memmap(file, np.uint8 if kind.subdtype else kind, "r").reshape(n, *kind.shape)
