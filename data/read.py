"""Raw files to documents: JSON Lines, plain text, Parquet, WET and WARC; plain, gzipped or in Zstandard; local or at a URL.

Which of these a file is, its first bytes say (and `.txt` in its name). Memory does not grow with the file. Nothing is dropped in
silence: each record comes out as a Document or as a Reject that says where it stood and why.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from varietas.data.documents import LARGEST, Document, NotADocument, Place, Reject, from_record, language_of_path, utf8

SAMPLE = 200  # characters of a reject that are kept
PARQUET_ROWS = 256  # read at a time
MARK = "\ufeff"  # Windows editors begin a file with it

GZIP, PARQUET, WARC = b"\x1f\x8b", b"PAR1", b"WARC/"
ZSTD = {b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))}  # a frame; a skippable one, as pzstd begins

DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)  # what decompression raises


def read(path: str) -> Iterator[Document | Reject]:
    """The documents of a file, and what is none. A damaged file ends with a Reject.

    Raises OSError if the file cannot be opened, ModuleNotFoundError if its format or protocol needs a package that is not there.
    """
    lang = language_of_path(path)

    def reject(number: int, reason: str, sample: str) -> Reject:
        return Reject(path, number, reason, sample[:SAMPLE])

    with cast(BinaryIO, fsspec.open(path, "rb").open() if "://" in path else open(path, "rb")) as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic == PARQUET:
            yield from _parquet(raw, Path(path).name, lang, reject)
            return
        stream = _decompressed(raw, magic)
        try:
            head = stream.peek(len(WARC))[: len(WARC)]
        except DAMAGE as error:
            yield reject(1, "damaged compression", str(error))
            return
        if head == WARC:
            from varietas.data.warc import read_warc

            yield from read_warc(stream, lang, reject)
        elif ".txt" in Path(path).suffixes:
            yield from _plain(stream, Path(path).name, lang, reject)
        else:
            yield from _json_lines(stream, Path(path).name, lang, reject)


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


def _lines(stream: IO[bytes], reject: Place) -> Iterator[tuple[int, bytes | Reject]]:
    """Each line with its number, from 1; a Reject for one that is too long, and at last for damage."""
    number = 1
    try:
        while line := stream.readline(LARGEST + 1):
            if len(line) > LARGEST:
                yield number, reject(number, f"longer than {LARGEST >> 20} MiB", line[:SAMPLE].decode("utf-8", "replace"))
                while line and not line.endswith(b"\n"):
                    line = stream.readline(1 << 20)
            else:
                yield number, line
            number += 1
    except DAMAGE as error:
        yield number, reject(number, "damaged compression", str(error))


def _json_lines(stream: IO[bytes], name: str, lang: str, reject: Place) -> Iterator[Document | Reject]:
    for number, line in _lines(stream, reject):
        if isinstance(line, Reject):
            yield line
        elif line.strip():
            try:
                yield from_record(_parsed(line), f"{name}:{number}", lang)
            except NotADocument as error:
                yield reject(number, str(error), line[:SAMPLE].decode("utf-8", "replace"))


def _parsed(line: bytes) -> Any:
    text = utf8(line).removeprefix(MARK)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotADocument("invalid JSON") from None


def _plain(stream: IO[bytes], name: str, lang: str, reject: Place) -> Iterator[Document | Reject]:
    """Documents are set apart by empty lines, as in CC-100. The language is that of the file's path."""
    held: list[bytes] = []
    begun, size = 1, 0
    for number, line in _lines(stream, reject):
        if isinstance(line, Reject):
            yield line
            continue
        if line.strip() and size <= LARGEST:
            begun = begun if held else number
            held.append(line)
            size += len(line)
        elif not line.strip() and held:
            yield _paragraphs(held, size, begun, name, lang, reject)
            held, size = [], 0
    if held:
        yield _paragraphs(held, size, begun, name, lang, reject)


def _paragraphs(lines: list[bytes], size: int, number: int, name: str, lang: str, reject: Place) -> Document | Reject:
    try:
        if size > LARGEST:
            raise NotADocument(f"longer than {LARGEST >> 20} MiB")
        text = utf8(b"".join(lines)).removeprefix(MARK).replace("\r\n", "\n").rstrip("\n")
        return from_record({"text": text}, f"{name}:{number}", lang)
    except NotADocument as error:
        return reject(number, str(error), lines[0][:SAMPLE].decode("utf-8", "replace"))


def _parquet(raw: BinaryIO, name: str, lang: str, reject: Place) -> Iterator[Document | Reject]:
    number = 0
    try:
        for batch in pq.ParquetFile(raw).iter_batches(PARQUET_ROWS):
            for record in batch.to_pylist():
                number += 1
                try:
                    yield from_record(record, f"{name}:{number}", lang)
                except NotADocument as error:
                    yield reject(number, str(error), str(record.get("text")))
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        yield reject(number + 1, "damaged Parquet", " ".join(str(error).split()))


def expand(patterns: list[str]) -> list[str]:
    """Files that paths, globs and URLs (with globs) name, in the order given, those of a glob sorted.

    Raises ValueError if one names none.
    """
    files: list[str] = []
    for pattern in patterns:
        system, path = fsspec.core.url_to_fs(pattern)
        if system.isdir(path):
            raise ValueError(f"--input {pattern} is a folder; give its files as a quoted glob, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        remote = "://" in pattern
        found = [pattern] if system.isfile(path) else sorted(_files(system, path))
        if not found:
            raise ValueError(f"--input {pattern}: no such file; give files or a quoted glob, as in 'texts/*.jsonl.zst'")
        files += [system.unstrip_protocol(name) if remote else name for name in found]
    return files


def _files(system: Any, pattern: str) -> Iterator[str]:
    """The files that a glob matches, by what the listing says: a question for each would be a request for each."""
    for name, info in system.glob(pattern, detail=True).items():
        if info["type"] == "file" or (info["type"] == "other" and system.isfile(name)):  # a local link is "other"
            yield name
