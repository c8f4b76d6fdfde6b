"""Raw text files to records: JSON Lines, plain or compressed with gzip or Zstandard, one document a line.

Nothing is dropped in silence: each line comes out as a Document or as a Reject that says where it stood and why.
"""

import glob
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import zstandard

from varietas.data.languages import canonical

ZSTD_MAGIC = {b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))}  # a frame; a skippable one, as pzstd begins


@dataclass(frozen=True)
class Document:
    """A text with an id: the unit of everything that follows."""

    id: str
    lang: str  # HPLT's label, e.g. "ces_Latn"
    text: str
    url: str = ""
    source: str = ""
    license: str = ""


FIELDS = tuple(field.name for field in fields(Document))


@dataclass(frozen=True)
class Reject:
    """A line that is not a document."""

    file: str
    line: int  # from 1
    reason: str
    sample: str  # the beginning of the line


def read_jsonl(path: Path) -> Iterator[Document | Reject]:
    """The records of a file of `{"text", "lang", "id", "url", "source", "license"}`; all but text and lang may be missing.

    Raises FileNotFoundError or PermissionError; a damaged file ends with a Reject.
    """
    number = 0
    with path.open("rb") as raw:
        try:
            for number, line in enumerate(_decompressed(raw), 1):
                if line.strip():
                    yield _parse(line, path, number)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            yield Reject(str(path), number + 1, "damaged compression", str(error)[:200])


def _decompressed(raw: IO[bytes]) -> Iterator[bytes]:
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        with gzip.open(raw) as unzipped:
            yield from unzipped
    elif magic in ZSTD_MAGIC:
        yield from _lines(_zstd_chunks(raw))
    else:
        yield from raw


def _zstd_chunks(raw: IO[bytes]) -> Iterator[bytes]:
    """Decompresses frame after frame. Unlike zstandard's own stream reader it notices a last frame that is cut short.

    It reads little at a time: where a frame is damaged, what was read with the damage is lost.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)  # as zstd --long=31 writes
    frame = decompressor.decompressobj()
    begun = False
    while data := raw.read(1 << 16):
        while data:
            yield frame.decompress(data)
            data, begun = frame.unused_data, not frame.eof
            if frame.eof:
                frame = decompressor.decompressobj()
    if begun:
        raise EOFError("the last Zstandard frame is cut short")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _parse(line: bytes, path: Path, number: int) -> Document | Reject:
    def reject(reason: str) -> Reject:
        return Reject(str(path), number, reason, line[:200].decode("utf-8", "replace"))

    try:
        record = json.loads(line.decode("utf-8-sig"))  # Windows editors begin a file with a mark
    except UnicodeDecodeError:
        return reject("invalid UTF-8")
    except (ValueError, RecursionError):
        return reject("invalid JSON")
    if not isinstance(record, dict):
        return reject("not an object")
    for field in ("text", "lang"):
        if record.get(field) is None:
            return reject(f"no {field}")
        if not isinstance(record[field], str):
            return reject(f"{field} is not a string")
    if not record["text"].strip():
        return reject("empty text")
    given = {name: str(record[name]) for name in FIELDS if record.get(name) not in (None, "")}
    try:
        "".join(given.values()).encode("utf-8")
        given["lang"] = canonical(record["lang"])
    except UnicodeEncodeError:
        return reject("lone surrogate")
    except ValueError:
        return reject("unusable lang")
    return Document(**{"id": f"{path.name}:{number}"} | given)


def expand(patterns: list[str]) -> list[Path]:
    """Files that paths and globs name, in the order given, those of a glob sorted. Raises ValueError if one names none."""
    files: list[Path] = []
    for pattern in patterns:
        if Path(pattern).is_dir():
            raise ValueError(f"--input {pattern} is a folder; give its files as a quoted glob, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        found = [Path(pattern)] if Path(pattern).is_file() else [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        found = [path for path in found if path.is_file()]
        if not found:
            raise ValueError(f"--input {pattern}: no such file; give JSON Lines files or a quoted glob, as in 'texts/*.jsonl.zst'")
        files += found
    return files
