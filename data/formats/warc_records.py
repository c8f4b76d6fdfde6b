"""Finds the records of a WARC file in its content. A damaged record costs only itself: reading continues at the next header."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from varietas.data.formats.compressed import Content
from varietas.data.text.documents import LARGEST, Place

LARGEST_HEAD = 32 << 10  # maximum bytes of the header of a record; FastWARC does not read longer ones
BEGINNING = 64 << 10  # bytes of content that are kept of a record that is too long, enough for its HTTP headers
OVERLAP = 128  # more bytes than _HEADER matches

_HEADER = re.compile(rb"WARC/[01]\.[0-9]+\r?\n(?=[A-Za-z][A-Za-z-]*[ \t]*:)")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^Content-Length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CLOSING = re.compile(rb"(?:\r?\n){2}|[\r\n]*(?:WARC/|\Z)")  # two newlines, or if there are fewer, the next record or the end


@dataclass(frozen=True)
class Record:
    """A record as it is in the file."""

    head: bytes
    content: bytes  # only the beginning if it is too long
    is_too_long: bool
    where: int  # see Place


@dataclass(frozen=True)
class Damaged:
    """A place in the file where no record can be read."""

    why: str
    where: int  # see Place


def records(content: Content, place: Place) -> Iterator[Record | Damaged]:
    """Yields the records of a WARC file in order, and a Damaged for each place that was skipped."""
    window = _Window(content)
    while True:
        window.drop_newlines()
        if window.fill(1):
            where = place()
            found = _record(window, where)
            if isinstance(found, Record):
                yield found
            elif content.damage is None or window.fill(1):  # otherwise the record is part of the damage that follows
                yield Damaged(found, where)
        elif content.damage is not None:
            yield Damaged(str(content.damage), place())
            content.resume()
        else:
            return


def _record(window: "_Window", where: int) -> Record | str:
    """Takes a record from the window. If that is impossible, skips to the next header and returns what is wrong."""
    head = window.head()
    length = _LENGTH.search(head)
    if length is None:
        return f"no record begins here; {window.drop_to_header(1):,} bytes were skipped"
    begin, end = len(head), len(head) + int(length[1])
    is_too_long = end - begin > LARGEST
    window.fill(begin + BEGINNING if is_too_long else end)
    content = bytes(window.data[begin : begin + BEGINNING if is_too_long else end])
    at = window.offset
    if window.pass_over(end) if is_too_long else window.ends_at(end):
        if not is_too_long:
            window.drop(end)
        return Record(head, content, is_too_long, where)
    if is_too_long:
        window.rewind(at)
    return f"a record is cut short or its Content-Length is wrong; {window.drop_to_header(begin):,} bytes were skipped"


class _Window:
    """The bytes of the content that are examined at the moment."""

    def __init__(self, content: Content):
        self.data = bytearray()
        self._content = content

    @property
    def offset(self) -> int:
        """The offset of the first byte in the content."""
        return self._content.offset - len(self.data)

    def fill(self, size: int) -> bool:
        """Reads until the window has at least `size` bytes. Returns False if the content ends or is damaged before."""
        while len(self.data) < size and (piece := self._content.piece()):
            self.data += piece
        return len(self.data) >= size

    def drop(self, size: int) -> int:
        """Drops the first `size` bytes and returns their number."""
        del self.data[:size]
        return size

    def drop_newlines(self) -> None:
        """Drops the newlines at the beginning."""
        while self.fill(1) and self.data[0] in b"\r\n":
            self.drop(len(self.data) - len(self.data.lstrip(b"\r\n")))

    def head(self) -> bytes:
        """Returns the header at the beginning with the empty line that ends it, or b"" if there is none or another begins within it."""
        while not (end := _END_OF_HEAD.search(self.data, 0, LARGEST_HEAD)):
            if len(self.data) >= LARGEST_HEAD or not self.fill(len(self.data) + 1):
                return b""
        is_one = _HEADER.match(self.data) and not _HEADER.search(self.data, 1, end.end())
        return bytes(self.data[: end.end()]) if is_one else b""

    def ends_at(self, size: int) -> bool:
        """Returns whether a record of `size` bytes ends properly: all its bytes are there, and what follows may follow a record."""
        self.fill(size + 16)
        return len(self.data) >= size and _CLOSING.match(self.data, size) is not None

    def pass_over(self, size: int) -> bool:
        """Drops a record of `size` bytes, a little at a time, and returns whether it ends properly."""
        while size > len(self.data):
            size -= self.drop(len(self.data))
            if not self.fill(1):
                return False
        if not self.ends_at(size):
            return False
        self.drop(size)
        return True

    def rewind(self, offset: int) -> None:
        """Goes back to an offset in the content."""
        self._content.rewind(offset)
        self.data.clear()

    def drop_to_header(self, begin: int) -> int:
        """Drops all bytes before the first header at byte `begin` or later, or all if there is none. Returns how many were dropped."""
        dropped = 0
        while not (found := _HEADER.search(self.data, begin)):
            excess = self.drop(max(0, len(self.data) - OVERLAP))
            dropped, begin = dropped + excess, max(0, begin - excess)
            if not self.fill(len(self.data) + 1):
                return dropped + self.drop(len(self.data))
        return dropped + self.drop(found.start())
