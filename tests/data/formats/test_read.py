"""JSON Lines as they are found in practice: cut short, damaged, in many frames, with unusual values."""

import gzip
import json
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

from varietas.data.formats.read import read as read_file
from varietas.data.text.documents import Document, Reject

GOOD = b'{"id":"1","lang":"cs","text":"Ahoj, sv\xc4\x9bte","url":"u","source":"s","license":"l"}\n'
LINES = [b'{"lang":"ces","text":"%x"}' % (i * 0x9E3779B97F4A7C15 % (1 << 64)) for i in range(40_000)]
PLAIN = b"\n".join(LINES) + b"\n"
TEXTS = [json.loads(line)["text"] for line in LINES]


def read(folder: Path, content: bytes) -> list[Document | Reject]:
    (folder / "a").write_bytes(content)
    return list(read_file(str(folder / "a")))


def zstd_raw_frame(content: bytes, window_log: int) -> bytes:
    """Returns a frame of one uncompressed block (RFC 8878, section 3.1.1) that announces a window of 2**window_log bytes."""
    block_header = (len(content) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + block_header + content


def test_all_fields_and_their_defaults_are_read(tmp_path: Path) -> None:
    whole = {"id": "7", "lang": "cs", "text": "a\n", "url": "u", "source": "s", "license": "l"}
    lines = [whole, {"lang": "est", "text": "b", "other": 1}, {"lang": "sr_Latn", "text": "c", "id": 0, "url": None}]
    assert read(tmp_path, "\n".join(map(json.dumps, lines)).encode()) == [
        Document("7", "ces_Latn", "a\n", "u", "s", "l"),
        Document("a:2", "ekk_Latn", "b"),
        Document("0", "srp_Latn", "c"),
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n", gzip.compress(b"", mtime=0), zstandard.compress(b"\n")])
def test_files_without_content_give_no_documents(content: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, content) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken\n", "invalid JSON"),
        (b'{"lang":"cs","text":"\xff"}\n', "invalid UTF-8"),
        (b'["text"]\n', "not an object"),
        (b'{"lang":"cs"}\n', "no text"),
        (b'{"text":"a"}\n', "no lang"),
        (b'{"lang":"cs","text":7}\n', "text is not a string"),
        (b'{"lang":"cs","text":" \\n "}\n', "empty text"),
        (b'{"lang":"cs","text":"\\ud800"}\n', "lone surrogate"),
        (b'{"lang":"c s!","text":"a"}\n', "unusable lang"),
        (b'{"lang":"","text":"a"}\n', "no lang"),
        (b"[" * 100_000 + b"\n", "invalid JSON"),
    ],
)
def test_bad_lines_are_rejected_with_place_and_reason_and_others_are_read(line: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(GOOD + b"\n" + line + GOOD.replace(b"\n", b"\r\n"))
    first, bad, last = read_file(str(file))
    assert first == last == Document("1", "ces_Latn", "Ahoj, světe", "u", "s", "l")
    assert isinstance(bad, Reject) and (bad.file, bad.line, bad.reason) == (str(file), 3, reason)


def test_unicode_line_separators_do_not_split_texts(tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\u000bd"
    (tmp_path / "a").write_text(json.dumps({"lang": "cs", "text": text}, ensure_ascii=False), "utf-8")
    assert [record.text for record in read_file(str(tmp_path / "a"))] == [text]  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["id", "url", "source", "license", "lang", "text"])
def test_a_lone_surrogate_in_any_field_is_rejected(field: str, tmp_path: Path) -> None:
    """It could not be written to the index, so one such line would end the whole preparation."""
    line = json.dumps({"lang": "cs", "text": "a"} | {field: "x\ud800"})
    bad, good = read(tmp_path, (line + '\n{"lang":"cs","text":"\\ud83d\\ude00"}').encode())
    assert bad == Reject(str(tmp_path / "a"), 1, "lone surrogate", line + "\n")
    assert isinstance(good, Document) and good.text == "😀"  # a pair of surrogates is a character


def test_the_sample_of_a_reject_is_the_beginning_of_its_line(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, b"\xff" + "ž".encode() * 500)
    assert isinstance(bad, Reject) and bad.sample.startswith("\ufffdž") and len(bad.sample) <= 200


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_the_last_line_may_lack_its_line_end(pack, end: bytes, tmp_path: Path) -> None:
    assert [record.text for record in read(tmp_path, pack(b"\r\n".join(LINES[:3]) + end))] == TEXTS[:3]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_members_and_frames_may_end_at_any_byte(pack, tmp_path: Path) -> None:
    """A line may begin in one frame and end in another. Empty and skippable frames are ignored."""
    cuts = [0, 1, 1, 40, 100_000, len(PLAIN)]
    content = b"".join(pack(PLAIN[a:b]) for a, b in pairwise(cuts))
    if pack is zstandard.compress:
        skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
        content = skippable + content + skippable
    records = read(tmp_path, content)
    assert [record.text for record in records] == TEXTS


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + LINES[0]) == [Document("a:1", "ces_Latn", TEXTS[0])]


def test_the_largest_window_of_zstd_is_accepted(tmp_path: Path) -> None:
    """`zstd --ultra -22 --long=31` writes such frames."""
    assert read(tmp_path, zstd_raw_frame(LINES[0], 31)) == [Document("a:1", "ces_Latn", TEXTS[0])]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_lines_before_the_damage_are_read(pack, tmp_path: Path) -> None:
    """Damage at four fifths of the file is reported. Lines well before it are complete and in order."""
    content = pack(PLAIN)
    at = len(content) * 4 // 5
    cut = read(tmp_path, content[:at])
    overwritten = read(tmp_path, content[:at] + bytes(200) + content[at + 200 :])
    for records in (cut,) if pack is zstandard.compress else (cut, overwritten):  # without a checksum the latter may seem whole
        end = records[-1]
        assert isinstance(end, Reject) and (end.file, end.reason) == (str(tmp_path / "a"), "damaged compression")
        assert [getattr(record, "text", None) for record in records[:20_000]] == TEXTS[:20_000]
    assert [getattr(record, "text", None) for record in cut[:-1]] == TEXTS[: len(cut) - 1]
    assert cut[-1].line == len(cut)  # type: ignore[union-attr]


def test_an_invalid_deflate_stream_is_damage(tmp_path: Path) -> None:
    header = gzip.compress(b"")[:10]
    with pytest.raises(zlib.error):
        zlib.decompress(b"\xff" * 9, wbits=-15)
    (end,) = read(tmp_path, header + b"\xff" * 9)
    assert isinstance(end, Reject) and (end.line, end.reason) == (1, "damaged compression")


@pytest.mark.parametrize(
    "value", ["9" * 5000, "-" + "9" * 5000, f'{{"a": [1, {"9" * 100_000}]}}', "NaN", "Infinity", "-Infinity", "1e999", "[NaN, 1]"], ids=len
)
def test_extreme_numbers_do_not_cost_the_text(value: str, tmp_path: Path) -> None:
    limit = sys.get_int_max_str_digits()
    for name in ("other", "doc_scores", "prob", "cluster_size", "pii"):
        (found,) = read(tmp_path, f'{{"lang": "cs", "text": "a", "{name}": {value}, "n": 7}}'.encode())
        assert isinstance(found, Document) and found.text == "a"
        assert not {"quality", "cluster_size", "pii"} & found.signals.keys()
    assert sys.get_int_max_str_digits() == limit


def test_an_id_may_have_thousands_of_digits(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f'{{"lang": "cs", "text": "a", "id": {"9" * 5000}}}'.encode())
    assert isinstance(found, Document) and found.id == "9" * 5000
    (broken,) = read(tmp_path, f'{{"lang": "cs", "text": "a", "id": {"9" * 5000}, }}'.encode())
    assert isinstance(broken, Reject) and broken.reason == "invalid JSON"


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(read_file(str(tmp_path / "none")))
