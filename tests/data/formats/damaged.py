"""Members of gzip and Zstandard files that are damaged as disks and interrupted downloads damage them."""

import zstandard

checked_frame = zstandard.ZstdCompressor(write_checksum=True).compress


def with_damage(member: bytes, kind: str) -> bytes:
    """Returns a member with a wrong checksum, an overwritten middle, without its end or beginning, or garbage instead of it."""
    middle = len(member) // 2
    if kind == "checksum":
        at = len(member) - (5 if member[:2] == b"\x1f\x8b" else 1)  # gzip ends with the size
        return member[:at] + bytes([member[at] ^ 1]) + member[at + 1 :]
    if kind == "overwritten":
        return member[:middle] + bytes(100) + member[middle + 100 :]
    return {"cut": member[:middle], "beheaded": b"\xff" * 10 + member[10:], "garbage": b"garbage " * 50}[kind]
