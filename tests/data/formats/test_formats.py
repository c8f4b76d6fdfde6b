"""Formats other than JSON Lines, written by well-known libraries, whole and damaged."""

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from varietas.data.formats import lines, parquet
from varietas.data.formats.read import expand, read
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.text.documents import Document, Reject

ARTICLE = "<p>" + "Kulħadd għandu d-dritt għall-ħajja, għal-libertà u għas-sigurtà tal-persuna. " * 6 + "</p>"
PAGE = f"<html><head><title>T</title></head><body><nav>menu</nav><article>{ARTICLE}</article></body></html>"


def documents(path: Path) -> list[Document]:
    found = list(read(str(path)))
    assert all(isinstance(record, Document) for record in found)
    return found  # type: ignore[return-value]


def test_parquet_files_of_fineweb_2_are_read(tmp_path: Path) -> None:
    label = {"language": "mlt", "language_script": "Latn", "language_score": 0.9}
    rows = [{"text": f"Text {i}.", "id": f"<{i}>", **label} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist([*rows, {"text": None}, {"text": ""}]), tmp_path / "000_00000.parquet", row_group_size=300)
    *good, none, empty = read(str(tmp_path / "000_00000.parquet"))
    assert [(d.id, d.text, d.lang) for d in good] == [(f"<{i}>", f"Text {i}.", "mlt_Latn") for i in range(1000)]  # type: ignore[union-attr]
    assert [(r.line, r.reason) for r in (none, empty)] == [(1001, "no text"), (1002, "empty text")]  # type: ignore[union-attr]


def test_a_parquet_file_cut_short_is_one_reject(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"text": "a" * 1000, "lang": "cs"}] * 99), tmp_path / "x.parquet")
    content = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(content[: len(content) // 2])
    (end,) = read(str(tmp_path / "x.parquet"))
    assert isinstance(end, Reject) and (end.line, end.reason) == (1, "damaged Parquet")


def wet(texts: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    writer.write_record(writer.create_warcinfo_record("x.wet.gz", {"software": "x"}))
    for i, (languages, text) in enumerate(texts):
        headers = {"WARC-Identified-Content-Language": languages} if languages else {}
        writer.write_record(
            writer.create_warc_record(f"https://a.example/{i}", "conversion", io.BytesIO(text), warc_headers_dict=headers, length=len(text))
        )
    return out.getvalue()


def test_wet_files_are_read(tmp_path: Path) -> None:
    texts = [("mlt,eng", "Kulħadd".encode()), ("", b"?"), ("ces", b"\xff\xfe"), ("gle", "Lá".encode())]
    (tmp_path / "x.wet.gz").write_bytes(wet(texts))
    first, unknown, broken, last = read(str(tmp_path / "x.wet.gz"))
    assert isinstance(first, Document) and (first.lang, first.text, first.url) == ("mlt_Latn", "Kulħadd", "https://a.example/0")
    assert first.id.startswith("urn:uuid:") and first.signals["timestamp"].startswith("20")
    assert isinstance(unknown, Reject) and unknown.reason == "no lang"  # and the text is too short to identify it
    assert isinstance(broken, Reject) and broken.reason == "invalid UTF-8"
    assert isinstance(last, Document) and last.lang == "gle_Latn"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_warc_gives_the_main_text_of_pages(pack: Any, tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=False)
    for status, mime in (("200 OK", "text/html; charset=utf-8"), ("404 Not Found", "text/html"), ("200 OK", "image/png")):
        http = StatusAndHeaders(status, [("Content-Type", mime)], protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record("https://a.example/", "response", io.BytesIO(PAGE.encode()), http_headers=http))
    folder = tmp_path / "mlt_Latn"
    folder.mkdir()
    (folder / "x.warc").write_bytes(pack(out.getvalue()))
    page, *others = read(str(folder / "x.warc"))
    assert isinstance(page, Document)
    rejects = [(other.line, other.reason, other.unread) for other in others if isinstance(other, Reject)]
    assert rejects == [(2, "no page", False), (3, "no page", False)]
    assert page.lang == "mlt_Latn" and page.text.startswith("Kulħadd għandu") and "menu" not in page.text


def test_opt_outs_of_pages_are_marked_and_languages_are_identified(tmp_path: Path) -> None:
    pages: list[tuple[str, list[tuple[str, str]], bool | None]] = [
        ("", [], None),
        ("", [("TDM-Reservation", "1")], True),
        ("", [("X-Robots-Tag", "noindex, noai")], True),
        ("", [("X-Robots-Tag", "noindex"), ("X-Robots-Tag", "somebot: NoImageAI")], True),
        ("", [("tdm-reservation", "0")], False),
        ("", [("X-Robots-Tag", "noindex, nofollow"), ("tdm-policy", "https://a.example/licence")], None),
        ('<meta content="1" name="tdm-reservation">', [], True),
        ("<META NAME=robots CONTENT='noarchive'><meta name='robots' content='noimageai, noai'>", [], True),
        ('<meta name="robots" content="noaic">', [], None),
        ('<meta name="tdm-reservation" content="0">', [("TDM-Reservation", "1")], True),
    ]
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    for tags, more, _ in pages:
        http = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8"), *more], protocol="HTTP/1.1")
        page = io.BytesIO(f"{tags}{PAGE}".encode())
        writer.write_record(writer.create_warc_record("https://a.example/", "response", page, http_headers=http))
    (tmp_path / "x.warc.gz").write_bytes(out.getvalue())
    found = documents(tmp_path / "x.warc.gz")
    assert [document.lang for document in found] == ["mlt_Latn"] * len(pages)
    assert [document.signals.get("opt_out") for document in found] == [reserved for *_, reserved in pages]


def test_a_wet_file_cut_short_is_read_up_to_the_damage(tmp_path: Path) -> None:
    content = wet([("ces", f"Text {i}. ".encode() * 500) for i in range(20)])
    (tmp_path / "x.wet.gz").write_bytes(content[: len(content) * 3 // 4])
    *good, end = read(str(tmp_path / "x.wet.gz"))
    assert len(good) >= 10
    whole = [f"Text {i}. " * 500 for i in range(20)]
    assert [d.text for d in good if isinstance(d, Document)] == whole[: len(good)]
    assert isinstance(end, Reject) and end.reason.startswith("damaged")


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zst"])
def test_empty_lines_separate_documents_of_plain_text(suffix: str, tmp_path: Path) -> None:
    text = "První odstavec.\r\nDruhý.\r\n\r\n\n\nNový dokument.\n \nTřetí"
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(suffix[4:], bytes)
    (tmp_path / f"ces_Latn{suffix}").write_bytes(pack(text.encode()))
    found = documents(tmp_path / f"ces_Latn{suffix}")
    assert [(d.text, d.lang, d.id.rsplit(":")[-1]) for d in found] == [
        ("První odstavec.\nDruhý.", "ces_Latn", "1"), ("Nový dokument.", "ces_Latn", "6"), ("Třetí", "ces_Latn", "8"),
    ]  # fmt: skip


def test_records_that_are_too_long_are_skipped_in_constant_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of 200 MB, plain and as a compression bomb of a few kilobytes, is never held in memory."""
    monkeypatch.setattr(lines, "LARGEST", 1 << 20)
    line = json.dumps({"lang": "cs", "text": "a" * 200_000_000}).encode() + b"\n"
    good = b'{"lang":"cs","text":"b"}\n'
    (tmp_path / "bomb.jsonl.zst").write_bytes(zstandard.compress(good + line + good))
    (tmp_path / "long.jsonl").write_bytes(good + line + good)
    del line
    for name in ("bomb.jsonl.zst", "long.jsonl"):
        tracemalloc.start()
        first, bad, last = read(str(tmp_path / name))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(bad, Reject) and (bad.line, bad.reason) == (2, "longer than 16 MiB") and peak < 150e6, peak
        assert isinstance(first, Document) and isinstance(last, Document) and last.id == f"{name}:3"


def test_mixed_line_ends_are_understood(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"lang":"cs","text":"a"}\r\n\r\n{"lang":"cs","text":"b"}\n\n{"lang":"cs","text":"c"}\r\n')
    assert [(d.text, d.id) for d in documents(tmp_path / "a.jsonl")] == [("a", "a.jsonl:1"), ("b", "a.jsonl:3"), ("c", "a.jsonl:5")]


def test_urls_are_read() -> None:
    """URLs may name any file system of fsspec. Its memory file system needs no network."""
    with fsspec.open("memory://hplt/ces_Latn/1.jsonl.zst", "wb") as file:
        file.write(zstandard.compress(b'{"text":"a"}\n'))
    (path,) = expand(["memory://hplt/*/*.zst"])
    (document,) = read(path)
    assert isinstance(document, Document) and document.lang == "ces_Latn" and path == "memory:///hplt/ces_Latn/1.jsonl.zst"


def test_signals_are_in_the_index(tmp_path: Path, corpus_folder: Path) -> None:
    known = {"quality": 0.5, "robots": False, "pii": [[1, 2]], "registers": {"IN": 0.5}, "cluster_size": 3, "filter": "keep"}
    texts = [Document("1", "ces_Latn", "Ahoj.", signals=known), Document("2", "ces_Latn", "Nic.")]
    prepare_documents(texts, (corpus_folder / "tokenizer.model").read_bytes(), tmp_path / "c")
    first, second = pq.read_table(tmp_path / "c" / "index" / "ces_Latn-00000.parquet").to_pylist()
    assert {name: first[name] for name in known} == known | {"registers": [("IN", 0.5)]}
    assert not any(second[name] for name in known) and second["quality"] is None


def test_globs_find_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in expand([str(tmp_path / "*.jsonl")])] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(ValueError, match="no such file"):
        expand([str(tmp_path / "c*")])
    (tmp_path / "c.jsonl").mkdir()
    assert len(expand([str(tmp_path / "*.jsonl")])) == 2
    with pytest.raises(ValueError, match=r"is a folder; give its files as a quoted glob"):
        expand([str(tmp_path / "c.jsonl")])


def test_globs_find_links_to_files(tmp_path: Path) -> None:
    """Collections often consist of links. A link to a folder does not count."""
    (tmp_path / "a.jsonl").write_text('{"text":"a","lang":"cs"}')
    (tmp_path / "folder").mkdir()
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "c.jsonl").symlink_to(tmp_path / "folder")
    assert [Path(path).name for path in expand([str(tmp_path / "*.jsonl")])] == ["a.jsonl", "b.jsonl"]


def test_an_invalid_string_in_parquet_costs_only_its_row(tmp_path: Path) -> None:
    text = pa.array([b"a" * 50, b"\xff\xfe", b"b" * 50] * 100, pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": text, "lang": ["cs"] * 300}), tmp_path / "x.parquet")
    found = list(read(str(tmp_path / "x.parquet")))
    assert [type(record) for record in found] == [Document, Reject, Document] * 100
    assert {record.reason for record in found if isinstance(record, Reject)} == {"invalid UTF-8"}
    assert [record.line for record in found] == list(range(1, 301))


def test_an_invalid_string_in_a_nested_column_costs_only_its_row(tmp_path: Path) -> None:
    bad = pa.array([b"a", b"\xff\xfe", b"b"], pa.binary()).cast(pa.string(), safe=False)
    columns = {
        "struct": pa.StructArray.from_arrays([bad, bad.cast(pa.large_string(), safe=False)], ["x", "y"]),
        "list": pa.ListArray.from_arrays([0, 1, 2, 3], bad),
        "map": pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["k"] * 3), bad),
    }
    for name, column in columns.items():
        pq.write_table(pa.table({"text": ["1", "2", "3"], "lang": ["cs"] * 3, name: column}), tmp_path / "x.parquet")
        first, reject, last = read(str(tmp_path / "x.parquet"))
        assert isinstance(first, Document) and isinstance(last, Document) and (first.text, last.text) == ("1", "3")
        assert isinstance(reject, Reject) and (reject.line, reject.reason) == (2, "invalid UTF-8")


def test_every_row_of_a_damaged_row_group_is_a_reject(tmp_path: Path) -> None:
    rows = [{"text": f"{i} " + "slovo " * 40, "lang": "cs"} for i in range(500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=100, compression="zstd")
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    column = pq.read_metadata(tmp_path / "x.parquet").row_group(2).column(0)
    begin, size = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset), column.total_compressed_size
    content[begin : begin + size] = bytes(size)
    (tmp_path / "x.parquet").write_bytes(content)
    found = list(read(str(tmp_path / "x.parquet")))
    assert [isinstance(record, Document) for record in found] == [True] * 200 + [False] * 100 + [True] * 200
    assert [record.line for record in found] == list(range(1, 501))


def test_a_failing_disk_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"text": ["a"] * 10, "lang": ["cs"] * 10}), tmp_path / "x.parquet")
    (tmp_path / "x.wet.gz").write_bytes(wet([("ces", b"a" * 100)]))

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parquet.pq.ParquetFile, "iter_batches", fail)
    monkeypatch.setattr("varietas.data.formats.compressed.Content.piece", fail)
    for name in ("x.parquet", "x.wet.gz"):
        with pytest.raises(OSError, match="Input/output"):
            list(read(str(tmp_path / name)))


def test_the_charset_of_the_header_is_used_if_it_fits(tmp_path: Path) -> None:
    """One page is in ISO 8859-2, which only its header says. The header of the other is wrong, so its character set is detected."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    words = "Příliš žluťoučký kůň úpěl ďábelské ódy a nikdo se tomu nedivil. " * 8
    page = f"<html><body><article><p>{words}</p></article></body></html>"
    for charset, body in (("iso-8859-2", page.encode("iso-8859-2")), ("utf-8", page.encode("iso-8859-2"))):
        http = StatusAndHeaders("200 OK", [("Content-Type", f"text/html; charset={charset}")], protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record("https://a.example/", "response", io.BytesIO(body), http_headers=http))
    (tmp_path / "ces_Latn.warc.gz").write_bytes(out.getvalue())
    said, detected = documents(tmp_path / "ces_Latn.warc.gz")
    assert said.text == detected.text == words.strip()
