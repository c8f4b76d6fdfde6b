"""Reads raw files as documents: JSON Lines, plain text, Parquet, WET and WARC, with or without compression, local or at a URL.

The format is recognised by the beginning of the content. Only plain text is recognised by its name, which contains `.txt`. Files of other
kinds are rejected with a message that names the kind. Memory does not grow with the size of a file. Nothing is dropped silently: each
record becomes a Document, or a Reject that says where the record is and why it was rejected.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from varietas.data.formats.compressed import Content
from varietas.data.formats.kinds import not_json_lines, not_text
from varietas.data.formats.lines import read_json_lines, read_plain
from varietas.data.formats.parquet import read_parquet
from varietas.data.formats.tfds import SCHEME, read_tfds
from varietas.data.text.documents import SAMPLE, Document, NotADocument, Reject, language_of_path
from varietas.data.text.fields import USUAL, Reading

PARQUET, WARC = b"PAR1", b"WARC/"
WARC_SUFFIXES = frozenset({".warc", ".wet", ".wat"})
HEAD = 1 << 12  # bytes of content by which the format is recognised


def read(path: str, begin: int = 0, end: float = math.inf, reading: Reading = USUAL) -> Iterator[Document | Reject]:
    """Reads a file, or a part of it.

    A part is read from the beginning of the file, because compressed files cannot be entered in the middle. A record belongs to the part
    if begin <= n < end, where n is the number of bytes of the file that have been read when the record is complete. Adjoining parts
    therefore have each record once. Parquet and tensorflow-datasets are entered in the middle and have rules of their own.

    Args:
        path: A path, a URL or `tfds:NAME`.
        begin: First byte of the part.
        end: Byte after the last of the part.
        reading: How records become documents. A language in the path replaces its default language.

    Yields:
        A Document for each usable record, and a Reject for each other record and for each damaged place.

    Raises:
        OSError: If the file cannot be opened or read.
        ModuleNotFoundError: If the format or the protocol needs a package that is not installed.
    """
    lang = language_of_path(path) or reading.default_lang
    reading = replace(reading, default_lang=lang)

    def reject(number: int, reason: str | NotADocument, sample: str) -> Reject:
        return Reject(path, number, str(reason), sample[:SAMPLE], reason.lang if isinstance(reason, NotADocument) else "")

    if path.startswith(SCHEME):
        yield from read_tfds(path, reading, reject, begin, end)
        return
    with cast(BinaryIO, fsspec.open(path, "rb").open() if "://" in path else open(path, "rb")) as raw:
        reached = 0

        def place() -> int:
            """Returns -1 before the part, 0 in it, 1 after it. The result never decreases."""
            nonlocal reached
            if (at := raw.tell()) > reached:
                reached = at
            return (reached >= end) - (reached < begin)

        suffixes = set(Path(path).suffixes)
        content, head = _opened(raw, WARC if suffixes & WARC_SUFFIXES else b"")
        is_plain = ".txt" in suffixes
        if head.startswith(PARQUET) and not content.is_compressed:
            yield from read_parquet(raw, path, reading, reject, begin, end)
        elif head.startswith(WARC):
            from varietas.data.formats.warc import read_warc

            content.begins = WARC
            yield from read_warc(content, path, lang, reject, place)
        elif reason := not_text(head) or ("" if is_plain else not_json_lines(head)):
            if begin == 0:
                yield reject(1, reason, head.decode("utf-8", "replace"))
        elif is_plain:
            yield from read_plain(content, path, lang, reject, place)
        else:
            yield from read_json_lines(content, path, reading, reject, place)


def _opened(raw: BinaryIO, begins: bytes) -> tuple[Content, bytes]:
    """Returns the content of a file, and the beginning of what can be read of it."""
    content = Content(raw, begins)
    if (head := content.peek(HEAD)) or content.damage is None:
        return content, head
    while not (head := content.peek(HEAD)) and content.damage:
        content.resume()
    return Content(raw, begins), head


def expand(patterns: list[str], given: str = "--input") -> list[str]:
    """Finds the files that paths, globs and URLs name.

    Args:
        patterns: Paths, globs and URLs. URLs may contain globs.
        given: The flag or the config field that holds the patterns, for messages.

    Returns:
        Each file once, in the order of the patterns. The files of a glob are sorted.

    Raises:
        ValueError: If a pattern names no file, or a folder.
    """
    files: list[str] = []
    for pattern in patterns:
        if pattern.startswith(SCHEME):
            files.append(pattern)
            continue
        system, path = fsspec.core.url_to_fs(pattern)
        if system.isdir(path):
            raise ValueError(f"{given} {pattern} is a folder; give its files as a quoted glob, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        remote = "://" in pattern
        found = [path] if system.isfile(path) else sorted(_files(system, path))
        if not found:
            raise ValueError(f"{given} {pattern}: no such file; give files or a quoted glob, as in 'texts/*.jsonl.zst'")
        files += [system.unstrip_protocol(name) if remote else name for name in found]
    return list(dict.fromkeys(files))


def _files(system: Any, pattern: str) -> Iterator[str]:
    """Yields the files that a glob matches. The listing says what is a file, because asking for each file would take a request for each."""
    for name, info in system.glob(pattern, detail=True).items():
        if info["type"] == "file" or (info["type"] == "other" and system.isfile(name)):  # a local link is "other"
            yield name
