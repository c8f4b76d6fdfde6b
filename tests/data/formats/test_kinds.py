"""A file of a kind that cannot be read gives one reject, which names the kind and says what to do."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from varietas.data.formats.read import read
from varietas.data.text.documents import Document, Reject

RECORDS = [{"text": f"Věta {i}.", "lang": "cs", "meta": {"n": [i]}} for i in range(100)]
JSON_LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)
JQ = "convert it with jq -c"


def the_reject(path: Path) -> Reject:
    """Returns the only reject of a file. If the file is read in parts, it belongs to the first part."""
    (found,) = read(str(path))
    assert isinstance(found, Reject) and found.line == 1 and found.unread
    size = path.stat().st_size
    assert [*read(str(path), 0, size // 2), *read(str(path), size // 2, size + 1)] == [found]
    return found


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(RECORDS), f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        (json.dumps(RECORDS[:1]), f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        ("\ufeff" + json.dumps(RECORDS, indent=2), f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        (json.dumps(RECORDS, indent=0), f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        ("[" + ",\n".join(map(json.dumps, RECORDS)) + "]\n", f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        ("[" + "\n,".join(map(json.dumps, RECORDS)) + "]\n", f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        (json.dumps([record["text"] for record in RECORDS]), f"a JSON array, not JSON Lines: {JQ} '.[]'"),
        (json.dumps(RECORDS[0], indent=4), f"multi-line JSON, not JSON Lines: {JQ} ."),
        ("\n".join(json.dumps(record, indent="\t") for record in RECORDS), f"multi-line JSON, not JSON Lines: {JQ} ."),
        (json.dumps({"docs": RECORDS}, indent=0), f"multi-line JSON, not JSON Lines: {JQ} ."),
        (json.dumps({"docs": RECORDS}).replace("[{", "[\n  {", 1), f"multi-line JSON, not JSON Lines: {JQ} ."),
        ("<!DOCTYPE html>\n<p>a</p>", "XML or HTML, not JSON Lines: extract its text"),
        ('\n<?xml version="1.0"?><a/>', "XML or HTML, not JSON Lines: extract its text"),
    ],
)
def test_other_forms_of_json_and_markup_are_recognised(content: str, reason: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(pack(content.encode()))
    assert the_reject(tmp_path / "x.json").reason == reason


@pytest.mark.parametrize(
    "first",
    [
        '["a", "b"]', "[INFO] begun", '[{"text": "cut', '{"text": "cut,', '{"text": [', "{", '{"text": "a"} {', "[]", "null", "17",
        '["' + "a" * 5000 + '"]', json.dumps({"text": "a" * 9000, "lang": "cs"}), "<b>", "\0\0\0\0\0\0",
    ],
)  # fmt: skip
def test_an_invalid_first_line_costs_only_itself(first: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(f"{first}\n{JSON_LINES}", "utf-8")
    found = list(read(str(tmp_path / "x.jsonl")))
    if first.startswith('["aaa'):  # only the beginning is examined, so such a long line may be a whole array
        assert [getattr(record, "reason", "") for record in found] == [f"a JSON array, not JSON Lines: {JQ} '.[]'"]
    else:
        assert [record.text for record in found[1:]] == [record["text"] for record in RECORDS]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["x.jsonl", "x.txt", "x.jsonl.gz"])
@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_utf_16_and_utf_32_are_recognised(charset: str, name: str, tmp_path: Path) -> None:
    content = JSON_LINES.encode(charset)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    kind, _, advice = the_reject(tmp_path / name).reason.partition(": convert it with iconv -f ")
    assert kind == charset[:6].upper() + " text"
    source = advice.removesuffix(" -t UTF-8")
    assert content.decode(source).removeprefix("\ufeff") == JSON_LINES  # the advice is correct


def archive(kind: str, folder: Path) -> bytes:
    inner = JSON_LINES.encode()
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr("x.jsonl", inner)
    elif kind in ("tar", "tar.gz"):
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as tar:
            tar.addfile(tarfile.TarInfo("x.jsonl"), io.BytesIO())
    elif kind == "sqlite":
        sqlite3.connect(folder / "db").execute("create table t (a)")
        return (folder / "db").read_bytes()
    elif kind == "arrow":
        feather.write_feather(pa.table({"text": ["a"]}), out)
    elif kind == "parquet.gz":
        pq.write_table(pa.table({"text": ["a"]}), out)
        return gzip.compress(out.getvalue())
    else:
        return {"xz": lzma.compress, "bz2": bz2.compress, "gz.gz": lambda x: gzip.compress(gzip.compress(x))}[kind](inner)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zip", "a zip archive: unpack it"),
        ("tar", "a tar archive: unpack it"),
        ("tar.gz", "a tar archive: unpack it"),
        ("xz", "compressed by xz: recompress it with xz -dc FILE | zstd > FILE.zst"),
        ("bz2", "compressed by bzip2: recompress it with bzip2 -dc FILE | zstd > FILE.zst"),
        ("gz.gz", "compressed twice: decompress it once"),
        ("sqlite", "an SQLite database: export its rows as JSON Lines"),
        ("arrow", "an Arrow file: write it as Parquet"),
        ("parquet.gz", "compressed Parquet: decompress it"),
    ],
)
@pytest.mark.parametrize("name", ["x.jsonl", "x.txt"])
def test_binary_files_are_recognised(name: str, kind: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(archive(kind, tmp_path))
    assert the_reject(tmp_path / name).reason == reason


def test_plain_text_may_begin_like_json_or_markup(tmp_path: Path) -> None:
    for begin in ("[", '["a",\n"b"]', "{\n", "<html>", "BZh je zkratka.", "PK", "ORC", "Rar"):
        (tmp_path / "ces_Latn.txt").write_text(f"{begin} text", "utf-8")
        (found,) = read(str(tmp_path / "ces_Latn.txt"))
        assert isinstance(found, Document) and found.text == f"{begin} text"
