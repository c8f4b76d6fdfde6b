"""Merkle tree over document digests (RFC 9162, section 2.1), built while documents stream by.

Only the roots of the complete subtrees so far are held: log2(n) hashes for n documents.
"""

from hashlib import sha256


class MerkleTree:
    """Append 32-byte digests, then ask for `root()`."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of complete subtrees, largest first

    def append(self, digest: bytes) -> None:
        node = sha256(b"\x00" + digest).digest()
        ones = self.size
        while ones & 1:
            node = sha256(b"\x01" + self._peaks.pop() + node).digest()
            ones >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self._peaks:
            return sha256(b"").digest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = sha256(b"\x01" + peak + node).digest()
        return node
