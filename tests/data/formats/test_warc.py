"""Damaged WARC files: each damaged place costs only what it damages, and is reported once."""

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from damaged import checked_frame, with_damage
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from varietas.data.formats import warc_records
from varietas.data.formats.read import read
from varietas.data.text.documents import Document, Reject

N = 8  # records of a file
BROKEN = 3  # number of the damaged record, from 1
WHOLE = [i for i in range(1, N + 1) if i != BROKEN]

Pack = Callable[[list[bytes]], bytes]
PACKS: dict[str, Pack] = {
    "plain": b"".join,
    "gzip members": lambda records: b"".join(map(gzip.compress, records)),
    "gzip": lambda records: gzip.compress(b"".join(records)),
    "Zstandard frames": lambda records: b"".join(map(checked_frame, records)),
    "Zstandard": lambda records: checked_frame(b"".join(records)),
}


def text(i: int) -> str:
    return " ".join(f"Slovo {zlib.crc32(b'%d %d' % (i, k)):x}" for k in range(40))


def record(i: int, length: int | None = None, closing: bytes = b"\r\n\r\n") -> bytes:
    """Returns a record of WET. Its header may give another length than that of the content."""
    content = text(i).encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:{i}>\r\nWARC-Target-URI: https://a.example/{i}\r\n"
        f"WARC-Identified-Content-Language: ces\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(content) if length is None else length}\r\n\r\n"
    )
    return head.encode() + content + closing


SIZE = len(text(BROKEN).encode())
RECORDS = [record(i) for i in range(1, N + 1)]


def in_parts(path: Path, n: int) -> list[Document | Reject]:
    """Reads a file in `n` parts."""
    size = path.stat().st_size
    bounds = [*(size * k // n for k in range(n)), size + 1]
    return [found for begin, end in pairwise(bounds) for found in read(str(path), begin, end)]


def check(path: Path, content: bytes, whole: list[int], damaged: list[int]) -> list[Reject]:
    """Checks that a file, read at once or in parts, has the records `whole` and rejects with the numbers `damaged`. Returns the rejects."""
    path.write_bytes(content)
    found = list(read(str(path)))
    documents = [record for record in found if isinstance(record, Document)]
    rejects = [record for record in found if isinstance(record, Reject)]
    assert [document.id for document in documents] == [f"urn:{i}" for i in whole]
    assert [document.text for document in documents] == [text(i) for i in whole]
    assert [(reject.line, reject.reason) for reject in rejects] == [(line, "damaged WARC") for line in damaged]
    assert all("bytes were skipped" in reject.sample for reject in rejects)
    assert [record.line for record in found] == sorted({record.line for record in found})
    for n in (2, 5, 31):
        assert in_parts(path, n) == found, n
    return rejects


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("closing", [b"", b"\r\n", b"\n", b"\r\n\r\n\r\n\r\n"])
def test_closing_newlines_are_not_needed(closing: bytes, pack: Pack, tmp_path: Path) -> None:
    content = [record(i, closing=closing if i == BROKEN else b"\r\n\r\n") for i in range(1, N + 1)]
    check(tmp_path / "x.warc", pack(content), list(range(1, N + 1)), [])


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize(
    "broken",
    [
        record(BROKEN, SIZE - 100),
        record(BROKEN, 5),
        record(BROKEN, SIZE + 50),
        record(BROKEN, SIZE + 3 * len(RECORDS[0]) + 7),
        record(BROKEN, SIZE + 10**6),
        record(BROKEN, 10**9),  # more than is held in memory
        record(BROKEN, -5),
        record(BROKEN).replace(b"Content-Length", b"Content-Width"),
        record(BROKEN)[:100],
        record(BROKEN)[: len(record(BROKEN)) - SIZE - 4 - 6],
        record(BROKEN)[:-200],
        b"\0" * 500,
        b"WARC/ is no header, nor is WARC/1.0 alone\r\n\r\n" * 3,
        bytes(range(256)) * 300,
        b"WARC/1.0\r\nWARC-Type: conversion\r\n" + b"X: y\r\n" * 9000 + b"Content-Length: 2\r\n\r\nab\r\n\r\n",
    ],
    ids=[
        "short", "very short", "long", "over three records", "over the end", "huge", "negative", "none", "head cut", "head cut at its end",
        "content cut", "zeros", "almost a header", "bytes", "endless head",
    ],
)  # fmt: skip
def test_a_damaged_record_costs_only_itself(broken: bytes, pack: Pack, tmp_path: Path) -> None:
    records = [*RECORDS[: BROKEN - 1], broken, *RECORDS[BROKEN:]]
    check(tmp_path / "x.warc", pack(records), WHOLE, [BROKEN])


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_damage_at_both_ends_of_a_file_is_reported(pack: Pack, tmp_path: Path) -> None:
    records = [record(1, 10), *RECORDS[1:-2], record(N - 1, 10**9), RECORDS[-1], b"What is this?"]
    check(tmp_path / "x.warc", pack(records), [2, 3, 4, 5, 6, 8], [1, 7, 9])


@pytest.mark.parametrize("pack", [gzip.compress, checked_frame], ids=["gzip", "Zstandard"])
@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (kind, broken)
        for kind in ("checksum", "overwritten", "cut", "beheaded", "garbage")
        for broken in ([1], [BROKEN], [2, 5], [N - 1])
        if broken != [1] or kind in ("checksum", "overwritten", "cut")  # otherwise nothing shows that the file is compressed
    ],
    ids=str,
)
def test_a_damaged_member_costs_only_its_record(pack: Callable[[bytes], bytes], kind: str, broken: list[int], tmp_path: Path) -> None:
    members = [with_damage(pack(one), kind) if i in broken else pack(one) for i, one in enumerate(RECORDS, 1)]
    rejects = check(tmp_path / "x.warc.gz", b"".join(members), [i for i in range(1, N + 1) if i not in broken], broken)
    for reject, i in zip(rejects, broken, strict=True):
        assert f"{len(members[i - 1])} compressed bytes were skipped" in reject.sample


@pytest.mark.parametrize("pack", [gzip.compress, checked_frame], ids=["gzip", "Zstandard"])
def test_a_last_member_cut_short_is_damage(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (end,) = check(tmp_path / "x.warc.gz", b"".join(map(pack, RECORDS))[:-30], list(range(1, N)), [N])
    assert "the file ends" in end.sample


def test_a_member_inside_a_damaged_record_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """The content of the record is a gzip file, in a member that stores it uncompressed."""
    inner = gzip.compress(b"<html>" * 100) + gzip.compress(b"no record")
    head = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: %d\r\n\r\n" % len(inner)
    member = gzip.compress(head + inner + b"\r\n\r\n", compresslevel=0)
    assert inner in member
    members = [gzip.compress(RECORDS[0]), with_damage(member, "checksum"), *map(gzip.compress, RECORDS[2:])]
    check(tmp_path / "x.warc.gz", b"".join(members), [1, *range(3, N + 1)], [2])


def test_a_record_that_contains_records_is_one_record(tmp_path: Path) -> None:
    inner = b"".join(RECORDS)
    for large in (inner, inner + b" " * (20 << 20) + inner):
        outer = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: %d\r\n\r\n" % len(large) + large + b"\r\n\r\n"
        (tmp_path / "x.warc").write_bytes(RECORDS[0] + outer + RECORDS[1])
        assert [(found.id, found.line) for found in read(str(tmp_path / "x.warc"))] == [("urn:1", 1), ("urn:2", 3)]  # type: ignore[union-attr]


def test_zstandard_files_with_a_dictionary_are_read(tmp_path: Path) -> None:
    """By the specification of WARC in Zstandard, the dictionary comes first, in a skippable frame, and may be compressed itself."""
    samples = [record(i) for i in range(1000)]
    dictionary = zstandard.train_dictionary(4096, samples)
    compress = zstandard.ZstdCompressor(dict_data=dictionary, write_checksum=True).compress
    for content in (dictionary.as_bytes(), zstandard.compress(dictionary.as_bytes())):
        frames = [b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content, *map(compress, RECORDS)]
        frames[BROKEN] = with_damage(frames[BROKEN], "checksum")
        check(tmp_path / "x.warc.zst", b"".join(frames), WHOLE, [BROKEN])


def test_long_records_and_compression_bombs_are_skipped_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc_records, "LARGEST", 1 << 20)
    head, size = record(BROKEN, 200_000_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n", 200_000_000
    large = head + bytes(size) + b"\r\n\r\n"
    for name, pack in PACKS.items():
        if name == "plain":
            continue
        (tmp_path / "x.warc").write_bytes(pack([RECORDS[0], large, RECORDS[2]]))
        tracemalloc.start()
        first, bomb, last = read(str(tmp_path / "x.warc"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(bomb, Reject) and (bomb.line, bomb.reason) == (2, "longer than 16 MiB") and peak < 150e6, peak
        assert isinstance(first, Document) and isinstance(last, Document) and (first.text, last.text) == (text(1), text(3))


def test_a_disk_that_fails_within_a_file_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.FileIO):
        def readinto(self, buffer: object) -> int:
            if self.tell() > 8192:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)  # type: ignore[arg-type]

    noise = [record(i) for i in range(1, 400)]
    for pack in (PACKS["plain"], PACKS["gzip members"], PACKS["Zstandard"]):
        (tmp_path / "x.warc").write_bytes(pack(noise))
        monkeypatch.setattr("builtins.open", lambda path, mode: io.BufferedReader(Failing(path, mode)))
        with pytest.raises(OSError, match="Input/output"):
            list(read(str(tmp_path / "x.warc")))
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("headers", "encode"),
    [
        ([("Content-Encoding", "gzip")], gzip.compress),
        ([("Content-Encoding", "deflate")], zlib.compress),
        ([("Content-Encoding", "deflate")], lambda page: zlib.compress(page)[2:-4]),
        ([("Transfer-Encoding", "chunked")], lambda page: b"%x\r\n%b\r\n0\r\n\r\n" % (len(page), page)),
        ([("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], lambda page: page),  # already undone by the crawler
        ([("Content-Encoding", "nonsense")], lambda page: page),
    ],
)
def test_pages_are_read_even_if_the_crawler_undid_their_encoding(
    headers: list[tuple[str, str]], encode: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    page = b"<html><body><article><p>" + text(1).encode() + b"</p></article></body></html>"
    out = io.BytesIO()
    http = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8"), *headers], protocol="HTTP/1.1")
    writer = WARCWriter(out, gzip=True)
    writer.write_record(writer.create_warc_record("https://a.example/", "response", io.BytesIO(encode(page)), http_headers=http))
    (tmp_path / "ces_Latn.warc.gz").write_bytes(out.getvalue())
    (found,) = read(str(tmp_path / "ces_Latn.warc.gz"))
    assert isinstance(found, Document) and found.text == text(1)
