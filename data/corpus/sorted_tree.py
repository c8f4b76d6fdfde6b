"""A tree over the digests of all texts of a corpus in sorted order: finds a text, and proves that a text is not in the corpus.

The key of a document is SHA-256(salt || digest of its content), with one salt for the corpus, which is public.

    commitment/sorted.bin   RECORDS sorted by key, then by language and number; the same text may be there more than once
    commitment/buckets.bin  BUCKETS: where the keys of each bucket end, and the root of the tree over them

A bucket holds the keys that begin with the same `bits` bits, at most 4,096 on average. The leaves of the upper tree are
f"{keys}\\t" + salt + root of each bucket. That a text is absent follows from two neighbours in its bucket, one smaller and one larger. Only
the root of the upper tree is published. Buckets are built in chunks, so that memory does not grow with the corpus.
"""

import shutil
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.corpus.corpus import COMMITMENT, Corpus, damaged
from varietas.data.files import new_folder
from varietas.data.ledger.merkle import HASH, path, root

BUCKET_KEYS = 4096  # of a bucket, at most, on average
CHUNK_BITS = 9  # a chunk has 512 buckets
KEYS = np.dtype([("key", "V32"), ("number", "<u4")])  # of the documents of one shard
RECORDS = np.dtype([("key", "V32"), ("language", "<u2"), ("number", "<u4")])
BUCKETS = np.dtype([("end", "<u8"), ("root", "V32")])


@dataclass(frozen=True)
class SortedTree:
    """The sorted tree of a corpus, opened for reading."""

    languages: tuple[str, ...]
    salt: bytes
    bits: int
    records: np.ndarray  # RECORDS (documents,), memory-mapped
    buckets: np.ndarray  # BUCKETS (2**bits,), memory-mapped

    def bucket(self, key: bytes) -> tuple[int, int, int]:
        """Returns the number of the bucket of a key, and where its records begin and end."""
        number = int.from_bytes(key[:8], "big") >> 64 - self.bits
        return number, int(self.buckets["end"][number - 1]) if number else 0, int(self.buckets["end"][number])

    def leaves(self) -> list[bytes]:
        """Returns the leaves of the upper tree."""
        ends = self.buckets["end"].astype(np.int64)
        return upper_leaves(np.diff(ends, prepend=0).tolist(), self.salt, self.buckets["root"].tolist())


def key_of(salt: bytes, content_digest: bytes) -> bytes:
    """Returns the key of a document with this content."""
    return sha256(salt + content_digest).digest()


def upper_leaves(counts: Sequence[int], salt: bytes, roots: Sequence[bytes]) -> list[bytes]:
    """Returns the leaves of the upper tree, which bind the salt and the number of keys of each bucket."""
    return [f"{n}\t".encode() + salt + top for n, top in zip(counts, roots, strict=True)]


def by_key(records: np.ndarray) -> np.ndarray:
    """Returns KEYS or RECORDS sorted by key. Records with equal keys keep their order."""
    words = np.ascontiguousarray(records["key"]).view(">u8").reshape(-1, 4).astype(np.uint64)
    return records[np.lexsort(words.T[::-1])]


def bits_of(documents: int) -> int:
    """Returns how many bits tell the buckets of so many documents apart."""
    return max(0, (documents - 1) // BUCKET_KEYS).bit_length()


def chunks_of(documents: int) -> list[str]:
    """Returns the names of the chunks in which the tree of so many documents is built."""
    return [f"{number:06d}" for number in range(1 << max(0, bits_of(documents) - CHUNK_BITS))]


def write_chunk(shards: Sequence[tuple[int, Path]], documents: int, chunk: str, out: Path) -> None:
    """Writes the records and buckets of one chunk of the tree, whole or not at all.

    Args:
        shards: The place of the language in the corpus, and the file of KEYS (sorted), of each shard; in the order of the corpus.
        documents: Of the whole corpus.
        chunk: Its name, one of `chunks_of(documents)`.
        out: The folder to write.
    """
    bits = bits_of(documents)
    width = max(0, bits - CHUNK_BITS)
    low, high = (_least_key(int(chunk) + k, width) for k in (0, 1))
    parts = []
    for language, file in shards:
        keys = np.memmap(file, KEYS, "r")
        mine = keys[_place(keys, low) : _place(keys, high)]
        part = np.empty(len(mine), RECORDS)
        part["key"], part["language"], part["number"] = mine["key"], language, mine["number"]
        parts.append(part)
    records = by_key(np.concatenate(parts))
    first = int(chunk) << bits - width
    ends = [_place(records, _least_key(first + k + 1, bits)) for k in range(1 << bits - width)]
    buckets = np.empty(len(ends), BUCKETS)
    buckets["end"] = ends
    buckets["root"] = np.frombuffer(b"".join(root(records["key"][a:b].tolist()) for a, b in zip([0, *ends], ends, strict=False)), "V32")
    with new_folder(out) as folder:
        records.tofile(folder / "records")
        buckets.tofile(folder / "buckets")


def _least_key(prefix: int, bits: int) -> bytes | None:
    """Returns the least key whose first bits are `prefix`; None if it would be larger than all keys."""
    return (prefix << 8 * HASH - bits).to_bytes(HASH, "big") if prefix < 1 << bits else None


def _place(records: np.ndarray, key: bytes | None, low: int = 0, high: int | None = None) -> int:
    """Returns the place of the first record, of those from `low` to `high`, that is not smaller than a key."""
    return len(records) if key is None else bisect_left(records, key, low, high, key=lambda record: record["key"].tobytes())


def join(chunks: Sequence[Path], languages: Sequence[str], salt: bytes, out: Path) -> dict[str, Any]:
    """Joins the chunks to the files of the corpus, and returns what commitment.json says of the tree.

    Args:
        chunks: Folders of `write_chunk`, in their order.
        languages: Of the corpus; records have their places among these.
        salt: Of the keys.
        out: The folder to write to. It exists.
    """
    tables, n = [], 0
    with (out / "sorted.bin").open("wb") as records:
        for chunk in chunks:
            with (chunk / "records").open("rb") as part:
                shutil.copyfileobj(part, records, 1 << 20)
            tables.append(np.fromfile(chunk / "buckets", BUCKETS))
            tables[-1]["end"] += np.uint64(n)
            n = int(tables[-1]["end"][-1])
    buckets = np.concatenate(tables)
    buckets.tofile(out / "buckets.bin")
    tree = SortedTree(tuple(languages), salt, len(buckets).bit_length() - 1, np.empty(0, RECORDS), buckets)
    return {"root": root(tree.leaves()).hex(), "bits": tree.bits, "salt": salt.hex(), "documents": n, "languages": list(languages)}


def open_sorted(corpus: Corpus) -> SortedTree:
    """Opens the sorted tree of a corpus.

    Raises:
        ValueError: If the corpus has no commitment, or if files are missing or damaged.
    """
    known, folder = corpus.commitment["sorted"], corpus.path / COMMITMENT
    if corpus.sealed and not (folder / "sorted.bin").exists():
        raise corpus.needs_sealed_part("where a text is, and whether it is absent, follows from sorted.bin")
    for name, size in (("sorted.bin", known["documents"] * RECORDS.itemsize), ("buckets.bin", BUCKETS.itemsize << known["bits"])):
        file = folder / name
        if not file.exists() or file.stat().st_size != size:
            raise damaged(file, f"expected {size:,} bytes, as commitment.json says")
    records, buckets = np.memmap(folder / "sorted.bin", RECORDS, "r"), np.memmap(folder / "buckets.bin", BUCKETS, "r")
    return SortedTree(tuple(known["languages"]), bytes.fromhex(known["salt"]), known["bits"], records, buckets)


def find(tree: SortedTree, content_digest: bytes) -> list[tuple[str, int]]:
    """Returns the language, and the number within it, of all documents whose content has this digest."""
    return [(tree.languages[record["language"]], int(record["number"])) for record in _with_key(tree, key_of(tree.salt, content_digest))]


def _with_key(tree: SortedTree, key: bytes) -> np.ndarray:
    """Returns the records that have a key."""
    _, begin, end = tree.bucket(key)
    low = _place(tree.records, key, begin, end)
    after = int.from_bytes(key, "big") + 1
    return tree.records[low : end if after >> 8 * HASH else _place(tree.records, after.to_bytes(HASH, "big"), low, end)]


def holds(tree: SortedTree, code: str, keys: np.ndarray) -> np.ndarray:
    """Returns whether the tree has a record of each of some documents of a language.

    Args:
        tree: The tree.
        code: The language.
        keys: KEYS (n,).

    Returns:
        bool (n,).
    """
    if code not in tree.languages or not len(tree.records):
        return np.zeros(len(keys), bool)
    language, numbers = tree.languages.index(code), keys["number"]
    words = _first_words(keys)
    buckets = (words >> np.uint64(1) >> np.uint64(63 - tree.bits)).astype(np.int64)
    ends = np.concatenate([[0], tree.buckets["end"].astype(np.int64)])
    low, high = ends[buckets], ends[buckets + 1]
    while (open_ := low < high).any():  # all are searched for at a time; a number of 64 bits stands for a key
        middle = (low + high) // 2
        records = tree.records[np.minimum(middle, len(tree.records) - 1)]
        theirs, same = _first_words(records), records["language"] == language
        less = (theirs < words) | (theirs == words) & ((records["language"] < language) | same & (records["number"] < numbers))
        low, high = np.where(open_ & less, middle + 1, low), np.where(open_ & ~less, middle, high)
    records = tree.records[np.minimum(low, len(tree.records) - 1)]
    found = (records["key"] == keys["key"]) & (records["language"] == language) & (records["number"] == numbers)
    for k in np.flatnonzero(~found).tolist():  # other keys may begin with the same 64 bits
        exact = _with_key(tree, keys["key"][k].tobytes())
        found[k] = ((exact["language"] == language) & (exact["number"] == numbers[k])).any()
    return found


def _first_words(records: np.ndarray) -> np.ndarray:
    """Returns the first 64 bits of each key, uint64 (n,)."""
    return np.ascontiguousarray(records["key"]).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def absence(tree: SortedTree, content_digest: bytes) -> dict[str, Any]:
    """Returns a proof that no document has this content (see `proofs.check_absence`), as a dict that JSON can hold.

    Raises:
        ValueError: If there is such a document.
    """
    if found := find(tree, content_digest):
        code, number = found[0]
        raise ValueError(f"the text is in the corpus, as document {number:,} of {code}; there is no proof of its absence")
    key = key_of(tree.salt, content_digest)
    number, begin, end = tree.bucket(key)
    at = _place(tree.records, key, begin, end) - begin
    keys = tree.records["key"][begin:end].tolist()

    def neighbour(place: int) -> dict[str, Any] | None:
        if not 0 <= place < len(keys):
            return None
        return {"index": place, "key": keys[place].hex(), "path": [sibling.hex() for sibling in path(keys, place)]}

    upper = tree.leaves()
    return {
        "claim": "no document of the corpus has a content with this digest",
        "content_digest": content_digest.hex(),
        "salt": tree.salt.hex(),
        "before": neighbour(at - 1),
        "after": neighbour(at),
        "bucket": {
            "index": number,
            "size": len(upper),
            "documents": len(keys),
            "root": tree.buckets["root"][number].tobytes().hex(),
            "path": [sibling.hex() for sibling in path(upper, number)],
        },
        "sorted_root": root(upper).hex(),
    }
