"""Raw files to documents: JSON Lines, plain text, Parquet, WET and WARC; plain, gzipped or in Zstandard; local or at a URL.

Which of these a file is, its first bytes say (and `.txt` in its name). Memory does not grow with the file. Nothing is dropped in
silence: each record comes out as a Document or as a Reject that says where it stood and why.
"""

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from varietas.data.documents import (
    LARGEST,
    TOO_LONG,
    Document,
    MakeReject,
    NotADocument,
    Place,
    Reject,
    from_record,
    language_of_path,
    utf8,
    utf8_in,
)
from varietas.data.files import raise_if_of_the_system
from varietas.data.tfds import SCHEME, read_tfds

SAMPLE = 200  # characters of a reject that are kept
PARQUET_ROWS = 256  # read at a time
MARK = "\ufeff"  # Windows editors begin a file with it

GZIP, PARQUET, WARC = b"\x1f\x8b", b"PAR1", b"WARC/"
ZSTD = {b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))}  # a frame; a skippable one, as pzstd begins

NEVER_TEXT = frozenset({"xml", "md"})  # columns of HPLT v4, large, that nothing reads

DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)  # what decompression raises


def read(path: str, begin: int = 0, end: float = math.inf, default_lang: str = "") -> Iterator[Document | Reject]:
    """The documents of a file, and what is none. A damaged file ends with a Reject.

    Of a part of a file, those that are complete when `begin` to `end` bytes of it have been read: what lies before is passed over.
    `default_lang`: of records that do not say theirs, in a file whose path does not; "guess": what the identifier takes it for.
    Raises OSError if the file cannot be opened or read, ModuleNotFoundError if its format or protocol needs a package that is not there.
    """
    lang = language_of_path(path) or default_lang

    def reject(number: int, reason: str, sample: str) -> Reject:
        return Reject(path, number, reason, sample[:SAMPLE])

    if path.startswith(SCHEME):
        yield from read_tfds(path, lang, reject, begin, end)
        return
    with cast(BinaryIO, fsspec.open(path, "rb").open() if "://" in path else open(path, "rb")) as raw:

        def place() -> int:
            """-1 before the part, 0 in it, 1 behind it."""
            at = raw.tell()
            return (at >= end) - (at < begin)

        magic = raw.read(4)
        raw.seek(0)
        if magic == PARQUET:
            yield from _parquet(raw, path, lang, reject, begin, end)
            return
        stream = _decompressed(raw, magic)
        try:
            head = stream.peek(len(WARC))[: len(WARC)]
        except DAMAGE as error:
            if begin == 0:
                yield reject(1, "damaged compression", str(error))
            return
        if head == WARC:
            from varietas.data.warc import read_warc

            yield from read_warc(stream, path, lang, reject, place)
        elif ".txt" in Path(path).suffixes:
            yield from _plain(stream, path, lang, reject, place)
        else:
            yield from _json_lines(stream, path, lang, reject, place)


def _decompressed(raw: BinaryIO, magic: bytes) -> io.BufferedReader:
    if magic[:2] == GZIP:
        return cast(io.BufferedReader, gzip.GzipFile(fileobj=raw))
    return io.BufferedReader(_Zstandard(raw) if magic in ZSTD else cast(io.RawIOBase, raw), 1 << 18)


class _Zstandard(io.RawIOBase):
    """Zstandard, frame after frame. Unlike zstandard's own reader it notices a last frame that is cut short.

    It reads little at a time, so that a bomb does not fill the memory, and so that little is lost before damage.
    """

    STEP = 512  # compressed bytes at a time; a block of the format grows 32,768-fold at the most

    def __init__(self, raw: BinaryIO):
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)  # as zstd --long=31 writes
        self._frame = self._decompressor.decompressobj()
        self._begun = False
        self._input, self._output = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            data = self._input or self._raw.read(self.STEP)
            if not data:
                if self._begun:
                    raise EOFError("the last Zstandard frame is cut short")
                return 0
            self._output = memoryview(self._frame.decompress(data))
            self._input, self._begun = self._frame.unused_data, not self._frame.eof
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
        n = min(len(buffer), len(self._output))
        buffer[:n], self._output = self._output[:n], self._output[n:]
        return n


def _lines(stream: IO[bytes], reject: MakeReject, place: Place) -> Iterator[tuple[int, bytes | Reject]]:
    """Each line of the part with its number, from 1; a Reject for one that is too long, and at last for damage."""
    number = 1
    try:
        while line := stream.readline(LARGEST + 1):
            long, start = len(line) > LARGEST, line
            while long and line and not line.endswith(b"\n"):
                line = stream.readline(1 << 20)
            if (where := place()) > 0:
                return
            if where == 0:
                yield number, reject(number, TOO_LONG, start[:SAMPLE].decode("utf-8", "replace")) if long else start
            number += 1
    except DAMAGE as error:
        if place() == 0:
            yield number, reject(number, "damaged compression", str(error))


def _json_lines(stream: IO[bytes], file: str, lang: str, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    for number, line in _lines(stream, reject, place):
        if isinstance(line, Reject):
            yield line
        elif line.strip():
            try:
                yield from_record(_parsed(line), file, number, lang)
            except NotADocument as error:
                yield reject(number, str(error), line[:SAMPLE].decode("utf-8", "replace"))


def _parsed(line: bytes) -> Any:
    text = utf8(line).removeprefix(MARK)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotADocument("invalid JSON") from None


def _plain(stream: IO[bytes], file: str, lang: str, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    """Documents are set apart by empty lines, as in CC-100. The language is that of the file's path."""
    for record in _paragraphs(stream, file, lang, reject):
        if (where := place()) > 0:
            return
        if where == 0:
            yield record


def _paragraphs(stream: IO[bytes], file: str, lang: str, reject: MakeReject) -> Iterator[Document | Reject]:
    held: list[bytes] = []
    begun, size = 1, 0
    for number, line in _lines(stream, reject, lambda: 0):
        if isinstance(line, Reject):
            yield line
            continue
        if line.strip() and size <= LARGEST:
            begun = begun if held else number
            held.append(line)
            size += len(line)
        elif not line.strip() and held:
            yield _paragraph(held, size, begun, file, lang, reject)
            held, size = [], 0
    if held:
        yield _paragraph(held, size, begun, file, lang, reject)


def _paragraph(lines: list[bytes], size: int, number: int, file: str, lang: str, reject: MakeReject) -> Document | Reject:
    try:
        if size > LARGEST:
            raise NotADocument(TOO_LONG)
        text = utf8(b"".join(lines)).removeprefix(MARK).replace("\r\n", "\n").rstrip("\n")
        return from_record({"text": text}, file, number, lang)
    except NotADocument as error:
        return reject(number, str(error), lines[0][:SAMPLE].decode("utf-8", "replace"))


def _parquet(raw: BinaryIO, file: str, lang: str, reject: MakeReject, begin: int, end: float) -> Iterator[Document | Reject]:
    """Of a part, the row groups whose middle lies in it: rows take equal parts of the file. A damaged group is a Reject for each row."""
    try:
        table = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)  # else all of a group would be in memory
    except (pa.ArrowException, OSError) as error:
        raise_if_of_the_system(error)
        if begin == 0:
            yield reject(1, "damaged Parquet", " ".join(str(error).split()))
        return
    columns = [name for name in table.schema_arrow.names if name not in NEVER_TEXT]
    raw.seek(0, io.SEEK_END)
    bytes_a_row = raw.tell() / max(1, table.metadata.num_rows)
    after = 0
    for group in range(table.num_row_groups):
        number, after = after, after + table.metadata.row_group(group).num_rows
        if not begin <= (number + after) / 2 * bytes_a_row < end:
            continue
        try:
            for batch in table.iter_batches(PARQUET_ROWS, [group], columns):
                for record in _records(batch):
                    number += 1
                    try:
                        yield from_record(utf8_in(record), file, number, lang)
                    except NotADocument as error:
                        yield reject(number, str(error), str(record.get("text")))
        except (pa.ArrowException, OSError) as error:
            raise_if_of_the_system(error)
            for lost in range(number, after):
                yield reject(lost + 1, "damaged Parquet", " ".join(str(error).split()))


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Strings as bytes: Parquet does not promise that they are UTF-8, and one that is not shall cost its own row only."""
    columns = []
    for column in batch.columns:
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        columns.append(column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()) if text else column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def expand(patterns: list[str]) -> list[str]:
    """Files that paths, globs and URLs (with globs) name, each once, in the order given, those of a glob sorted.

    Raises ValueError if one names none.
    """
    files: list[str] = []
    for pattern in patterns:
        if pattern.startswith(SCHEME):
            files.append(pattern)
            continue
        system, path = fsspec.core.url_to_fs(pattern)
        if system.isdir(path):
            raise ValueError(f"--input {pattern} is a folder; give its files as a quoted glob, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        remote = "://" in pattern
        found = [path] if system.isfile(path) else sorted(_files(system, path))
        if not found:
            raise ValueError(f"--input {pattern}: no such file; give files or a quoted glob, as in 'texts/*.jsonl.zst'")
        files += [system.unstrip_protocol(name) if remote else name for name in found]
    return list(dict.fromkeys(files))


def _files(system: Any, pattern: str) -> Iterator[str]:
    """The files that a glob matches, by what the listing says: a question for each would be a request for each."""
    for name, info in system.glob(pattern, detail=True).items():
        if info["type"] == "file" or (info["type"] == "other" and system.isfile(name)):  # a local link is "other"
            yield name
