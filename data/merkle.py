"""Merkle tree over document digests (RFC 9162, section 2.1), built while documents stream by.

Only the roots of the complete subtrees so far are held: log2(n) hashes for n documents.
"""

from collections.abc import Sequence
from hashlib import sha256


class MerkleTree:
    """Append 32-byte digests, then ask for `root()`."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []  # roots of complete subtrees, largest first

    def append(self, digest: bytes) -> None:
        self._add(sha256(b"\x00" + digest).digest(), 1)

    def extend(self, size: int, peaks: Sequence[bytes]) -> None:
        """Appends what another tree of `size` documents and these `peaks` holds; `self.size` must be a multiple of its first peak's."""
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
        if not self.peaks:
            return sha256(b"").digest()
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = sha256(b"\x01" + peak + node).digest()
        return node
