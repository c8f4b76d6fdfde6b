"""Reads JSON Lines and plain text. Damage costs only the lines that it touches, and no line is joined from both sides of damage."""

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from varietas.data.formats.compressed import Content, Stream
from varietas.data.text.documents import (
    DAMAGED_COMPRESSION,
    LARGEST,
    SAMPLE,
    TOO_LONG,
    Document,
    MakeReject,
    NotADocument,
    Place,
    Reject,
    from_record,
    utf8,
)
from varietas.data.text.fields import Reading

MARK = "\ufeff"  # byte order mark, with which Windows editors begin a file
CUT = "perhaps cut by damage"
BUFFER = 1 << 18
DIGITS = 640  # length of an integer that Python converts whatever its limit is (sys.set_int_max_str_digits)


def read_json_lines(content: Content, file: str, reading: Reading, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    """Reads JSON Lines.

    Args:
        content: The content of the file.
        file: Path of the file.
        reading: How records become documents.
        reject: Makes the rejects of the file.
        place: Says whether the part that is wanted has begun or ended.

    Yields:
        A Document or a Reject for each line that is not blank, and a Reject for each damaged place.
    """
    for number, line, rejected in _lines(content, reject, place):
        if rejected:
            yield rejected
        elif not line.isspace():
            try:
                yield from_record(_parsed(line), file, number, reading.default_lang, reading.fields, reading.kind)
            except NotADocument as error:
                yield reject(number, error, error.sample or _sample([line]))


def read_plain(content: Content, file: str, lang: str, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    """Reads plain text whose documents are separated by empty lines, as in CC-100.

    Args:
        content: The content of the file.
        file: Path of the file.
        lang: Language of the documents.
        reject: Makes the rejects of the file.
        place: Says whether the part that is wanted has begun or ended.

    Yields:
        A Document or a Reject for each document, and a Reject for each damaged place.
    """
    for record in _paragraphs(content, file, lang, reject):
        if (where := place()) > 0:
            return
        if where == 0:
            yield record


def _lines(content: Content, reject: MakeReject, place: Place) -> Iterator[tuple[int, bytes, Reject | None]]:
    """Yields each line of the part: its number in the file (from 1), its content, and a Reject if it is too long or cut by damage.

    Lines that were lost to damage are not numbered.
    """
    stream = io.BufferedReader(Stream(content), BUFFER)
    number = 1
    while True:
        line = end = stream.readline(LARGEST + 1)
        is_long = len(line) > LARGEST
        while is_long and end and not end.endswith(b"\n"):
            end = stream.readline(1 << 20)
        damage = None if end.endswith(b"\n") else content.damage
        where = place()
        if where > 0 or not (line or damage):
            return
        if where == 0:
            rejected = None
            if damage:
                rejected = reject(number, DAMAGED_COMPRESSION, str(damage))
            elif is_long:
                rejected = reject(number, TOO_LONG, line[:SAMPLE].decode("utf-8", "replace"))
            yield number, line, rejected
        if damage:
            content.resume()
        number += 1


def _parsed(line: bytes) -> Any:
    text = utf8(line).removeprefix(MARK)
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer has more digits than Python converts
            return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        raise NotADocument("invalid JSON") from None


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= DIGITS else Decimal(digits)


def _paragraphs(content: Content, file: str, lang: str, reject: MakeReject) -> Iterator[Document | Reject]:
    held: list[bytes] = []
    begun, size = 1, 0
    is_cut, damaged = False, 0  # whether damage may have cut the held or the next document; the line of the damage

    def document() -> Document | Reject:
        return reject(begun, CUT, _sample(held)) if is_cut else _paragraph(held, size, begun, file, lang, reject)

    for number, line, rejected in _lines(content, reject, lambda: 0):
        if rejected and rejected.reason == DAMAGED_COMPRESSION:
            if line and not held:
                held, begun = [line], number
            is_cut = bool(held) or number == 1  # otherwise a document ends before the damage, and another begins after it
            if held:
                yield document()
            held, size, damaged = [], 0, number
        if rejected:
            yield rejected
        elif line.strip() and size <= LARGEST:
            begun = begun if held else number
            held.append(line)
            size += len(line)
        elif not line.strip() and not (is_cut and number == damaged + 1):  # that may be the end of a line that was cut
            if held:
                yield document()
            held, size, is_cut = [], 0, False
    if held:
        yield document()


def _paragraph(lines: list[bytes], size: int, number: int, file: str, lang: str, reject: MakeReject) -> Document | Reject:
    try:
        if size > LARGEST:
            raise NotADocument(TOO_LONG)
        text = utf8(b"".join(lines)).removeprefix(MARK).replace("\r\n", "\n").rstrip("\n")
        return from_record({"text": text}, file, number, lang)
    except NotADocument as error:
        return reject(number, error, _sample(lines))


def _sample(lines: list[bytes]) -> str:
    return lines[0][:SAMPLE].decode("utf-8", "replace")
