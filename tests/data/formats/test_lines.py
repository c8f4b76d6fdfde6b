"""JSON Lines and plain text in damaged compressed files: a damaged member costs its own lines, and no line is joined from two halves."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from damaged import checked_frame, with_damage

from varietas.data.formats import compressed
from varietas.data.formats.lines import CUT
from varietas.data.formats.read import read
from varietas.data.text.documents import Document, Reject

PACKS = pytest.mark.parametrize("pack", [gzip.compress, checked_frame], ids=["gzip", "Zstandard"])
KINDS = pytest.mark.parametrize("kind", ["checksum", "overwritten", "cut", "beheaded", "garbage"])

Pack = Callable[[bytes], bytes]


def text(i: int) -> str:
    return " ".join(f"slovo {zlib.crc32(b'%d %d' % (i, k)):x}" for k in range(20))


TEXTS = [text(i) for i in range(30)]
JSON_LINES = [json.dumps({"text": text, "lang": "ces"}).encode() + b"\n" for text in TEXTS]
PARAGRAPHS = [f"{text[:200]}\n{text[200:]}\n\n".encode() for text in TEXTS]


def members(content: bytes, cuts: Sequence[int], pack: Pack) -> list[bytes]:
    return [pack(content[begin:end]) for begin, end in pairwise([0, *cuts, len(content)])]


def read_all(path: Path, content: bytes) -> list[Document | Reject]:
    """Returns the records of a file, and checks that reading it in parts gives the same."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    found = list(read(str(path)))
    for n in (2, 5, 31):
        bounds = [*(len(content) * k // n for k in range(n)), len(content) + 1]
        assert [record for begin, end in pairwise(bounds) for record in read(str(path), begin, end)] == found, n
    return found


CUTS = [1000, 3210, 5000, 8888]  # bytes of content at which members end


def outside(broken: int, pieces: list[bytes]) -> list[str]:
    """Returns the texts that have no part in the damaged member, if the pieces are cut into members at CUTS."""
    begin, end = [0, *CUTS, sum(map(len, pieces))][broken : broken + 2]
    ends = [sum(map(len, pieces[: i + 1])) for i in range(30)]
    return [TEXTS[i] for i in range(30) if ends[i] <= begin or ends[i] - len(pieces[i]) >= end]


def texts(found: list[Document | Reject]) -> list[str]:
    return [record.text.replace("\n", "") for record in found if isinstance(record, Document)]


@PACKS
@KINDS
def test_a_damaged_member_costs_only_its_lines(pack: Pack, kind: str, tmp_path: Path) -> None:
    packed = [pack(b"".join(JSON_LINES[i : i + 3])) for i in range(0, 30, 3)]
    packed[4] = with_damage(packed[4], kind)
    found = read_all(tmp_path / "x", b"".join(packed))
    assert texts(found) == TEXTS[:12] + TEXTS[15:]
    (reject,) = [record for record in found if isinstance(record, Reject)]
    assert (reject.line, reject.reason, found.index(reject)) == (13, "damaged compression", 12)
    assert reject.sample.endswith(f"; {len(packed[4])} compressed bytes were skipped")
    assert [record.line for record in found] == list(range(1, 29))  # three lines are lost, and the damage takes the place of one


@PACKS
@pytest.mark.parametrize("kind", ["checksum", "overwritten", "cut"])
def test_a_damaged_first_member_costs_only_its_lines(pack: Pack, kind: str, tmp_path: Path) -> None:
    packed = [pack(b"".join(JSON_LINES[i : i + 3])) for i in range(0, 30, 3)]
    packed[0] = with_damage(packed[0], kind)
    reject, *others = read_all(tmp_path / "x", b"".join(packed))
    assert isinstance(reject, Reject) and reject.reason == "damaged compression" and texts(others) == TEXTS[3:]


@PACKS
def test_a_last_member_cut_short_costs_all_its_lines(pack: Pack, tmp_path: Path) -> None:
    """A member that was cut cannot be told from one that seems longer because of damage."""
    packed = [pack(b"".join(JSON_LINES[i : i + 3])) for i in range(0, 30, 3)]
    *good, damage = read_all(tmp_path / "x", b"".join(packed)[:-10])
    assert texts(good) == TEXTS[:27] and isinstance(damage, Reject)
    assert damage.sample == f"the file ends within compressed data; {len(packed[-1]) - 10} compressed bytes were skipped"


def test_a_frame_after_a_skippable_frame_counts_as_the_only_one(tmp_path: Path) -> None:
    content = "".join(f'{{"lang":"ces","text":"{text(i)}"}}\n' for i in range(2000)).encode()  # several blocks
    packed = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + checked_frame(content)
    *good, damage = read_all(tmp_path / "x", packed[:-100])
    assert texts(good) == [text(i) for i in range(len(good))] and len(good) > 1000 and isinstance(damage, Reject)


@PACKS
@KINDS
@pytest.mark.parametrize("broken", [1, 2, 3])
def test_no_document_is_joined_from_both_sides_of_damage(broken: int, pack: Pack, kind: str, tmp_path: Path) -> None:
    """Members may end within lines, as those of bgzip do."""
    packed = members(b"".join(JSON_LINES), CUTS, pack)
    packed[broken] = with_damage(packed[broken], kind)
    found = read_all(tmp_path / "x", b"".join(packed))
    assert texts(found) == outside(broken, JSON_LINES)
    reasons = [record.reason for record in found if isinstance(record, Reject)]
    assert reasons in (["damaged compression"], ["damaged compression", "invalid JSON"])  # the second is half a line


@PACKS
@KINDS
def test_a_damaged_member_of_plain_text_costs_only_its_documents(pack: Pack, kind: str, tmp_path: Path) -> None:
    packed = [pack(b"".join(PARAGRAPHS[i : i + 3])) for i in range(0, 30, 3)]
    packed[4] = with_damage(packed[4], kind)
    found = read_all(tmp_path / "ces_Latn" / "x.txt", b"".join(packed))
    assert texts(found) == TEXTS[:12] + TEXTS[15:]
    (reject,) = [record for record in found if isinstance(record, Reject)]
    assert reject.reason == "damaged compression" and found.index(reject) == 12


@PACKS
@KINDS
@pytest.mark.parametrize("broken", [1, 2, 3])
def test_documents_of_plain_text_that_damage_cuts_are_rejects(broken: int, pack: Pack, kind: str, tmp_path: Path) -> None:
    packed = members(b"".join(PARAGRAPHS), CUTS, pack)
    packed[broken] = with_damage(packed[broken], kind)
    found = read_all(tmp_path / "ces_Latn" / "x.txt", b"".join(packed))
    assert texts(found) == outside(broken, PARAGRAPHS)
    assert [record.reason for record in found if isinstance(record, Reject)] == [CUT, "damaged compression", CUT]


@PACKS
@pytest.mark.parametrize("kind", ["checksum", "overwritten", "cut"])
def test_text_right_after_a_damaged_first_member_is_a_reject(pack: Pack, kind: str, tmp_path: Path) -> None:
    packed = members(b"".join(PARAGRAPHS), CUTS, pack)
    packed[0] = with_damage(packed[0], kind)
    damage, cut, *good = read_all(tmp_path / "ces_Latn" / "x.txt", b"".join(packed))
    assert isinstance(damage, Reject) and damage.reason == "damaged compression"
    assert isinstance(cut, Reject) and cut.reason == CUT
    assert texts(good) == outside(0, PARAGRAPHS)


@PACKS
def test_the_end_of_a_cut_line_is_not_taken_for_an_empty_line(pack: Pack, tmp_path: Path) -> None:
    content = [b"a\n\nb b", b" b\n\nc", b"\nc\n\nd\n"]
    packed = [pack(content[0]), with_damage(pack(content[1]), "checksum"), pack(content[2])]
    found = read_all(tmp_path / "ces_Latn" / "x.txt", b"".join(packed))
    assert texts(found) == ["a", "d"]
    rejects = [(record.line, record.reason) for record in found if isinstance(record, Reject)]
    assert rejects == [(3, CUT), (3, "damaged compression"), (5, CUT)]


@PACKS
def test_the_last_document_of_plain_text_cut_short_is_a_reject(pack: Pack, tmp_path: Path) -> None:
    content = "".join(f"{text(i)}\n\n" for i in range(2000)).encode()  # several blocks of Zstandard, each read whole or not at all
    *good, cut, damage = read_all(tmp_path / "ces_Latn" / "x.txt", pack(content)[:-100])
    assert texts(good) == [text(i) for i in range(len(good))] and len(good) > 1000
    assert isinstance(damage, Reject) and damage.reason == "damaged compression"
    assert isinstance(cut, Reject) and cut.reason == CUT


@PACKS
def test_a_long_member_is_read_up_to_the_damage(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "CHECKED", 1000)
    lines = [b'{"lang":"ces","text":"%x"}\n' % (i * 0x9E3779B97F4A7C15 % (1 << 64)) for i in range(12_000)]
    long, short = pack(b"".join(lines)), pack(b"".join(JSON_LINES))
    for broken in (with_damage(long, "overwritten"), with_damage(long, "cut")):
        found = read_all(tmp_path / "x", short + broken + short)
        values = texts(found)
        assert values[:30] == values[-30:] == TEXTS
        assert values[30:1_000] == [json.loads(line)["text"] for line in lines[: 1_000 - 30]]
        assert sum(isinstance(record, Reject) and record.reason == "damaged compression" for record in found) == 1


@PACKS
def test_padding_between_members_is_not_damage(pack: Pack, tmp_path: Path) -> None:
    content = b"".join(pack(line) + bytes(512) for line in JSON_LINES)
    assert texts(read_all(tmp_path / "x", content)) == TEXTS


def test_a_compression_bomb_in_gzip_is_skipped(tmp_path: Path) -> None:
    """The same in Zstandard is in test_formats.py."""
    bomb = zlib.compressobj(9, wbits=31)
    pieces = [JSON_LINES[0], *[bytes(1 << 20)] * 100, b"\n" + JSON_LINES[1]]
    (tmp_path / "x").write_bytes(b"".join(map(bomb.compress, pieces)) + bomb.flush())
    tracemalloc.start()
    first, long, last = read(str(tmp_path / "x"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6, peak
    assert texts([first, last]) == TEXTS[:2] and isinstance(long, Reject) and long.reason == "longer than 16 MiB"
