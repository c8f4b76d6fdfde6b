"""Reads the content of files, which may be compressed with gzip or Zstandard, and continues after damage.

A compressed file is a sequence of gzip members or Zstandard frames; both are called members here. A member with at most CHECKED bytes of
content is verified before any of its content is returned. If it is damaged, only its own content is lost, and reading continues at the next
member.
"""

import io
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import zstandard

CHECKED = 16 << 20  # bytes of content; the content of a longer member is returned while it is decompressed, up to the damage
PIECE = 1 << 16  # minimum bytes of content that are returned at a time from a longer member
PROBED = 1 << 16  # bytes of content that are decompressed to tell the beginning of a member from bytes that only look like one
LATE = 1 << 18  # compressed bytes within which damage is noticed, with very few exceptions
CHUNK = 1 << 18  # bytes of a file that are read at a time if nothing is decompressed
MARKS = 1024  # number of beginnings of members that are remembered
DICTIONARY = b"\x5d\x2a\x4d\x18"  # begins a skippable frame that holds the dictionary of a WARC file in Zstandard
LARGEST_DICTIONARY = 16 << 20
ERRORS = (EOFError, zlib.error, zstandard.ZstdError)  # raised by decompressors


class Decompressor(Protocol):
    """Decompresses one member. The interface is that of zlib.decompressobj()."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """A compression format."""

    magic: bytes  # begins every member
    step: int  # compressed bytes that are decompressed at a time, few enough that a compression bomb does not fill the memory
    new: Callable[[], Decompressor]  # makes a decompressor for one member


@dataclass(frozen=True)
class Damage:
    """Compressed bytes that were skipped, and the reason."""

    size: int
    why: str

    def __str__(self) -> str:
        return f"{self.why}; {self.size:,} compressed bytes were skipped"


class Content:
    """The content of a file, piece by piece.

    Reading stops at the end of the file and at damage. At damage, `damage` says what was skipped, and `resume` continues after it.
    """

    def __init__(self, raw: BinaryIO, begins: bytes = b""):
        """Opens the content at its beginning.

        Args:
            raw: A seekable file.
            begins: Bytes with which the content of a member must begin if reading is to continue there after damage.
        """
        self.begins = begins
        self.damage: Damage | None = None
        self.offset = 0  # bytes of content that have been returned
        self._ahead = b""  # content that has not been returned yet
        self._input = b""  # bytes of the file that have not been decompressed yet
        self._member: Decompressor | None = None  # a long member of which a part has been returned
        self._is_first = True  # whether no member before the next one has content
        self._raw = raw
        self._format = _format(raw)
        self._marks = deque([(0, 0)], MARKS)  # beginnings of members: offset in the content, position in the file
        self._restart(0, 0)

    @property
    def is_compressed(self) -> bool:
        """Whether the file is compressed."""
        return self._format is not None

    def piece(self) -> bytes:
        """Returns the next bytes of the content, or b"" at its end and at damage.

        Raises:
            OSError: If the file cannot be read.
        """
        piece, self._ahead = self._ahead or self._read(), b""
        self.offset += len(piece)
        return piece

    def peek(self, size: int) -> bytes:
        """Returns the next `size` bytes of the content without consuming them, or fewer if the content ends or is damaged before."""
        while len(self._ahead) < size and (piece := self._read()):
            self._ahead += piece
        return self._ahead[:size]

    def resume(self) -> None:
        """Continues after damage."""
        self.damage = None

    def rewind(self, offset: int) -> None:
        """Goes back to an earlier offset in the content."""
        if self._format is None:
            self._restart(offset, offset)
            return
        self._restart(*max((mark for mark in self._marks if mark[0] <= offset), default=(0, 0)))
        while self.offset < offset and ((piece := self.piece()) or self.damage):
            if not piece:
                self.resume()
            if self.offset > offset:
                self._ahead, self.offset = piece[offset - self.offset :], offset

    def _restart(self, offset: int, place: int) -> None:
        self._raw.seek(place)
        self.offset, self.damage = offset, None
        self._ahead = self._input = b""
        self._member = None
        self._is_first = place == 0

    def _read(self) -> bytes:
        if self._format is None:
            return self._raw.read(CHUNK)
        piece = b""
        while not piece and self.damage is None and (self._member or self._more(self._format)):
            piece = self._decompress(self._format)
        return piece

    def _more(self, format: Format) -> bool:
        """Reads up to the next member and returns whether there is one. Zeros between members are padding."""
        data = self._input or self._raw.read(format.step)
        while data and not data.lstrip(b"\0"):
            data = self._raw.read(format.step)
        self._input = data.lstrip(b"\0")
        return bool(data)

    def _decompress(self, format: Format) -> bytes:
        """Returns the content of the next member, or the next part of a long member. Sets `damage` if the member is damaged."""
        begin = at = self._raw.tell() - len(self._input)
        checks = self._member is None
        member = self._member or format.new()
        content, size = [], 0
        if checks:
            self._marks.append((self.offset + len(self._ahead), begin))
        try:
            while not member.eof and size <= (CHECKED if checks else PIECE):
                data, self._input = self._input or self._raw.read(format.step), b""
                if not data:
                    raise EOFError("the file ends within compressed data")
                content.append(member.decompress(data))
                size += len(content[-1])
                at += len(data)
        except ERRORS as error:
            self._member, self._input = None, b""
            _, first = self._marks[-1]
            after = self._next_member(format, first + 1 if checks else max(first + 1, at - LATE))
            end = self._raw.seek(0, io.SEEK_END) if after is None else self._raw.seek(after)
            if checks and not (self._is_first and after is None):
                content = []
            else:
                begin = min(at, end)  # what precedes the damage is returned
            self._is_first = False
            self.damage = Damage(end - begin, " ".join(str(error).split()).removeprefix("Error -3 while decompressing data: "))
            return b"".join(content)
        self._member = None if member.eof else member
        self._input = member.unused_data
        self._is_first = self._is_first and size == 0
        return b"".join(content)

    def _next_member(self, format: Format, begin: int) -> int | None:
        """Returns the position of the first member at or after `begin` that can be decompressed, or None if there is none."""
        window, at = b"", begin
        self._raw.seek(begin)
        while chunk := self._raw.read(CHUNK):
            window += chunk
            found = window.find(format.magic)
            while found >= 0:
                if self._opens(format, at + found):
                    return at + found
                found = window.find(format.magic, found + 1)
            at += len(window)
            self._raw.seek(at)
            window = window[1 - len(format.magic) :]
            at -= len(window)
        return None

    def _opens(self, format: Format, place: int) -> bool:
        """Returns whether a member with the right content begins at a position in the file."""
        self._raw.seek(place)
        member, content = format.new(), b""
        try:
            while len(content) < PROBED and not member.eof:
                if not (data := self._raw.read(format.step)):
                    return False
                content += member.decompress(data)
        except ERRORS:
            return False
        return content.startswith(self.begins)


class Stream(io.RawIOBase):
    """Content as a file object. It ends where the content stops, and continues after the content has been resumed."""

    def __init__(self, content: Content):
        self._content = content
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._piece or memoryview(self._content.piece())
        size = min(len(buffer), len(piece))
        buffer[:size], self._piece = piece[:size], piece[size:]
        return size


def _format(raw: BinaryIO) -> Format | None:
    """Returns the compression format of a file by its first bytes, or None if the file is not compressed."""
    raw.seek(0)
    magic = raw.read(4)
    if magic[:2] == b"\x1f\x8b":
        return Format(b"\x1f\x8b\x08", 1 << 13, lambda: zlib.decompressobj(wbits=31))  # content is at most 1,032 times as long
    skippable = magic[1:] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F  # files written by pzstd begin with one
    if magic != zstandard.FRAME_HEADER and not skippable:
        return None
    dictionary = _dictionary(raw) if magic == DICTIONARY else None
    decompressor = zstandard.ZstdDecompressor(dictionary, max_window_size=1 << 31)  # the largest window, written by zstd --long=31
    return Format(zstandard.FRAME_HEADER, 512, decompressor.decompressobj)  # a block has at most 32,768 times as much content


def _dictionary(raw: BinaryIO) -> zstandard.ZstdCompressionDict | None:
    """Returns the dictionary in the frame at the beginning of the file, which may be compressed itself, or None if there is none."""
    content = raw.read(min(LARGEST_DICTIONARY, int.from_bytes(raw.read(4), "little")))
    if content.startswith(zstandard.FRAME_HEADER):
        with zstandard.ZstdDecompressor().stream_reader(content) as reader:
            try:
                content = reader.read(LARGEST_DICTIONARY)
            except zstandard.ZstdError:
                return None
    return zstandard.ZstdCompressionDict(content) if content.startswith(b"\x37\xa4\x30\xec") else None
