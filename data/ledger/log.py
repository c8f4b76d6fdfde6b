"""A log of JSON lines, to which lines are only added. Each line says in `before` what the root of the tree over all lines before it is.

So a line that was changed, added or removed does not fit the line after it. The tree is that of RFC 9162, and its leaves are the bytes of
the lines. Its root after the last line is the head: whoever signs it has signed every line.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.data.ledger.merkle import MerkleTree

Record = dict[str, Any]


@dataclass(frozen=True)
class Head:
    """A log up to some line."""

    size: int  # lines
    root: str  # of the tree over them, in hexadecimal digits


@dataclass(frozen=True)
class Line:
    """A line of a log."""

    number: int  # from 0
    text: bytes  # without the newline
    record: Record


class BrokenLog(ValueError):
    """A log was changed. The message says where."""


class Log:
    """A log that is open for more lines.

    Args:
        path: The file, which may be missing.
        keeps: Whether a record stays. From the first one on that does not, all lines are removed.

    Raises:
        BrokenLog: If a line that stays does not fit those before it.
    """

    def __init__(self, path: Path, keeps: Callable[[Record], bool] = lambda _: True):
        self._path, self._tree, self.last, end = path, MerkleTree(), dict[str, Any](), 0
        if path.exists():
            with path.open("rb+") as file:
                for text in file:
                    if not text.endswith(b"\n"):  # the process was killed while it wrote
                        break
                    record = _checked(path, self._tree, text[:-1])
                    if not keeps(record):
                        break
                    self._tree.append(text[:-1])
                    self.last, end = record, end + len(text)
                file.truncate(end)

    @property
    def head(self) -> Head:
        """What the log holds so far."""
        return Head(self._tree.size, self._tree.root().hex())

    def append(self, records: Sequence[Record]) -> Head:
        """Adds a line for each record. They are on disk when this returns.

        Raises:
            OSError: If they cannot be written.
        """
        texts = []
        for record in records:
            texts.append(json.dumps({**record, "before": self._tree.root().hex()}, ensure_ascii=False, separators=(",", ":")).encode())
            self._tree.append(texts[-1])
            self.last = record
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(b"".join(text + b"\n" for text in texts))
            file.flush()
            os.fsync(file.fileno())
        return self.head


def lines(path: Path, tree: MerkleTree | None = None) -> Iterator[Line]:
    """Yields the lines of a log, each of which fits those before it.

    Args:
        path: The log.
        tree: An empty tree to which each line is appended after it was yielded; None if nobody asks for it.

    Raises:
        ValueError: If there is no such file.
        BrokenLog: If a line does not fit those before it, or is not whole.
    """
    tree = MerkleTree() if tree is None else tree
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; restore it from a copy") from None
    with file:
        for number, text in enumerate(file):
            if not text.endswith(b"\n"):
                raise BrokenLog(
                    f"{path}: line {number + 1} has no end: the file was cut, or the run was killed while it wrote; restore it from a "
                    "copy, or continue the run, which removes what is not whole"
                )
            yield Line(number, text[:-1], _checked(path, tree, text[:-1]))
            tree.append(text[:-1])


def head_of(path: Path, size: int | None = None) -> Head:
    """Returns the head of a log, or the one that it had after `size` lines. Raises as `lines` does, and if it has fewer lines."""
    tree = MerkleTree()
    for line in lines(path, tree):
        if line.number == size:
            break
    if size is not None and tree.size < size:
        raise BrokenLog(f"{path} has {tree.size:,} lines where {size:,} were written: the last ones were removed; restore it from a copy")
    return Head(tree.size, tree.root().hex())


def _checked(path: Path, tree: MerkleTree, text: bytes) -> Record:
    """Returns the record of the line after those of the tree."""
    number = tree.size + 1
    try:
        record = json.loads(text)
        before = record["before"]
    except (ValueError, KeyError, TypeError):
        raise BrokenLog(f"{path}: line {number} is not a line of a ledger: {text[:80]!r}; restore the file from a copy") from None
    if before != tree.root().hex():
        said = f" (step {record['step']})" if "step" in record else ""
        raise BrokenLog(
            f"{path}: line {number}{said} was not written after the lines before it: line {number - 1} or {number} was changed, or lines "
            "between them were added or removed; restore the file from a copy"
        )
    return record
