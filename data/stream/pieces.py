"""Pieces: runs of documents' tokens, of which rows are made. Many of them are kept as columns; auditors ask for one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Pieces:
    """Runs of documents' tokens, ordered by the rows that hold them, with one entry per piece. All arrays are int64."""

    row: np.ndarray
    stratum: np.ndarray  # index into Stream.strata
    document: np.ndarray  # number within its source and language
    begin: np.ndarray  # first token of the piece within its document
    size: np.ndarray  # tokens
    epoch: np.ndarray

    def __getitem__(self, which: slice | np.ndarray) -> "Pieces":
        return Pieces(*(column[which] for column in vars(self).values()))

    @property
    def arrival(self) -> np.ndarray:
        """When each piece of a queue arrives in a block, from 0 (beginning of the block) to 1 (its end), float64."""
        return (np.cumsum(self.size) - self.size) / max(1, int(self.size.sum()))

    @property
    def place(self) -> np.ndarray:
        """The first token of each piece within its row, int64. The pieces have to be whole rows."""
        ends = np.cumsum(self.size)
        return ends - self.size - np.concatenate([[0], ends])[np.searchsorted(self.row, self.row)]


@dataclass(frozen=True)
class Piece:
    """A run of one document's tokens in one row, as auditors ask for it."""

    row: int
    source: str  # "" if there is only one
    language: str
    document: int  # number within its source and language
    begin: int  # first token of the piece within its document
    size: int  # tokens
    epoch: int


def joined(parts: Sequence[Pieces]) -> Pieces:
    """Returns the pieces of all parts, one part after the other."""
    if not parts:
        return Pieces(*np.zeros((6, 0), np.int64))
    return Pieces(*(np.concatenate(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


def runs(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Returns the runs of consecutive numbers, each as its first number and the one after its last. `numbers` ascend, each once."""
    begins = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1).tolist()
    return [(int(numbers[begin]), int(numbers[begin]) + end - begin) for begin, end in pairwise([*begins, len(numbers)])]
