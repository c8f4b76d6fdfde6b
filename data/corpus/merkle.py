"""A Merkle tree over document digests (RFC 9162, section 2.1), built one document at a time.

Only the roots of the complete subtrees so far are kept: log2(n) hashes for n documents.
"""

from collections.abc import Sequence
from hashlib import sha256


class MerkleTree:
    """A tree that grows: append 32-byte digests, then call `root()`."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []  # roots of complete subtrees, largest first

    def append(self, digest: bytes) -> None:
        """Appends the digest of a document."""
        self._add(sha256(b"\x00" + digest).digest(), 1)

    def extend(self, size: int, peaks: Sequence[bytes]) -> None:
        """Appends all documents of another tree.

        Args:
            size: Number of documents in the other tree. Its largest complete subtree must divide `self.size`.
            peaks: `peaks` of the other tree.
        """
        for height in range(size.bit_length() - 1, -1, -1):
            if size >> height & 1:
                self._add(peaks[0], 1 << height)
                peaks = peaks[1:]

    def _add(self, node: bytes, size: int) -> None:
        """Appends a complete subtree of `size` documents."""
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
