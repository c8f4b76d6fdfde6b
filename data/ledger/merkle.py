"""Merkle trees (RFC 9162, section 2.1): one root for many leaves, and proofs that a leaf is under a root.

A leaf is bytes; its hash is SHA-256(0x00 || leaf), that of an inner node SHA-256(0x01 || left || right), and the root of no leaves is
SHA-256(""). `MerkleTree` grows leaf by leaf and keeps only the roots of the complete subtrees so far: log2(n) hashes for n leaves.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

HASH = 32  # bytes


class MerkleTree:
    """A tree that grows: append leaves, then call `root()`."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []  # roots of complete subtrees, largest first

    def append(self, leaf: bytes) -> None:
        """Appends a leaf."""
        self._add(sha256(b"\x00" + leaf).digest(), 1)

    def extend(self, size: int, peaks: Sequence[bytes]) -> None:
        """Appends all leaves of another tree.

        Args:
            size: Number of leaves of the other tree. Its largest complete subtree must divide `self.size`.
            peaks: `peaks` of the other tree.
        """
        for height in range(size.bit_length() - 1, -1, -1):
            if size >> height & 1:
                self._add(peaks[0], 1 << height)
                peaks = peaks[1:]

    def _add(self, node: bytes, size: int) -> None:
        """Appends a complete subtree of `size` leaves."""
        ones = self.size // size
        while ones & 1:
            node = sha256(b"\x01" + self.peaks.pop() + node).digest()
            ones >>= 1
        self.peaks.append(node)
        self.size += size

    def root(self) -> bytes:
        """Returns the root of the tree. The root of an empty tree is the SHA-256 of the empty string."""
        if not self.peaks:
            return sha256(b"").digest()
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = sha256(b"\x01" + peak + node).digest()
        return node


def root(leaves: Iterable[bytes]) -> bytes:
    """Returns the root of the tree over some leaves, all at once: several times faster than a MerkleTree."""
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else sha256(b"").digest()


def path(leaves: Iterable[bytes], index: int) -> list[bytes]:
    """Returns the inclusion proof of a leaf (RFC 9162, section 2.1.3.1): the siblings of the nodes between it and the root, lowest first.

    Raises:
        ValueError: If there is no leaf of this index.
    """
    return paths(leaves, [index])[0]


def paths(leaves: Iterable[bytes], indices: Sequence[int]) -> list[list[bytes]]:
    """Returns what `path` returns of several leaves. The tree is computed once. Raises as `path` does."""
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    for index in indices:
        _check_index(index, len(level))
    at, siblings = list(indices), [list[bytes]() for _ in indices]
    while len(level) > 1:
        for of_one, index in zip(siblings, at, strict=True):
            if index ^ 1 < len(level):  # the last node of a level may stand alone, and is then a node of the level above as well
                of_one.append(level[index ^ 1])
        level, at = _above(level), [index >> 1 for index in at]
    return siblings


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Returns the root to which an inclusion proof leads (RFC 9162, section 2.1.3.2). The proof holds if this is the root that is known.

    Args:
        leaf: The leaf.
        index: Its place among the leaves, from 0.
        size: Number of leaves.
        path: What `path` returned.

    Raises:
        ValueError: If a tree of this size has no leaf of this index, or if the proof has another length than it must have there.
    """
    _check_index(index, size)
    if any(len(sibling) != HASH for sibling in path):
        raise ValueError(f"an inclusion proof has hashes of {HASH} bytes; this one is damaged")
    node, last, left = sha256(b"\x00" + leaf).digest(), size - 1, list(path)
    while last:
        if index & 1 or index < last:
            if not left:
                break
            sibling = left.pop(0)
            node = sha256(b"\x01" + (sibling + node if index & 1 else node + sibling)).digest()
        index, last = index >> 1, last >> 1
    if last or left:
        raise ValueError(f"an inclusion proof of this leaf of {size:,} has not {len(path)} hashes; it is damaged or of another tree")
    return node


def proof_of(leaves: Sequence[bytes], index: int) -> dict[str, Any]:
    """Returns the inclusion proof of a leaf as JSON can hold it: `index`, `size` (number of leaves) and `path`."""
    return in_json(index, len(leaves), path(leaves, index))


def in_json(index: int, size: int, path: Sequence[bytes]) -> dict[str, Any]:
    """Returns what `proof_of` returns, from the parts of a proof."""
    return {"index": index, "size": size, "path": [sibling.hex() for sibling in path]}


def climbed(leaf: bytes, proof: Mapping[str, Any]) -> bytes:
    """Returns the root to which what `proof_of` returned leads from a leaf.

    Raises:
        ValueError: As `root_of`; also KeyError or TypeError if the proof is of another kind.
    """
    return root_of(leaf, proof["index"], proof["size"], [bytes.fromhex(sibling) for sibling in proof["path"]])


def _above(level: list[bytes]) -> list[bytes]:
    """Returns the nodes of the next level."""
    pairs = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    return pairs + level[-1:] if len(level) & 1 else pairs


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size:,} leaves has no leaf {index:,}")
