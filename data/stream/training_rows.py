"""Training rows by number, for loaders that are not ours: a map-style dataset of PyTorch, and a random-access source of Grain.

Both are a class with `__len__` and `__getitem__`, so neither library is imported. Any number of threads, workers and ranks may read.
Rows are in their order of training already: whoever shuffles them trains on another mixture than the config says.
"""

import os
import pickle
import threading
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from varietas.data.stream.pieces import runs
from varietas.data.stream.row_digests import row_digests
from varietas.data.stream.stream import Rows, Stream

TOKENS_TOGETHER = 1 << 14  # read at once where single rows are asked for: without neighbours, short rows take five times as long
GROUPS_KEPT = 16

Row = dict[str, np.ndarray]


class TrainingRows:
    """The first rows of a stream; the index of a row is its number. Step s of a training consists of rows s * batch_size and following.

    Each row is a dict of arrays:
        tokens, segments, positions, languages: int32 (seq_len,), as `Stream.rows` explains them.
        row: its number, int64 ().
        digest: what a ledger commits to, uint8 (32,).

    Args:
        stream: The rows, as `open_stream` returns them.
        length: How many there are in the training: steps * batch_size.
    """

    def __init__(self, stream: Stream, length: int):
        self.stream, self._length = stream, length
        self._reader = _Reader(stream)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"TrainingRows({self.stream.corpus.path}, length={self._length})"

    def __reduce__(self) -> tuple[type, tuple]:
        return TrainingRows, (self.stream, self._length)

    def __getitem__(self, index: int) -> Row:
        """Returns a row. Its neighbours are read with it and kept for a while.

        Raises:
            IndexError: If there is no such row.
            DamagedDocument: If a document is damaged.
            OSError: If a disk fails.
        """
        self._check(index)
        return self._here().row(int(index), self._length)

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """Returns rows that are read together, in the order of `indices`: what PyTorch's DataLoader asks for. Raises as `__getitem__`."""
        for index in indices:
            self._check(index)
        if not len(indices):
            return []
        return self._here().rows(np.asarray(indices, np.int64))

    def _check(self, index: int) -> None:
        if not 0 <= index < self._length:  # an IndexError, with which Python ends a loop over the rows
            raise IndexError(f"row {index} of {self._length:,}: rows are numbered from 0; length says how many the training has")

    def _here(self) -> "_Reader":
        """Returns the reader of this process. A forked process must not share open files with the process that it comes from."""
        reader = self._reader
        if reader.process != os.getpid():
            reader = self._reader = _Reader(pickle.loads(pickle.dumps(self.stream)))
        return reader


class _Reader:
    """Reads rows in one process, one thread at a time."""

    def __init__(self, stream: Stream):
        self._stream, self.process, self._lock = stream, os.getpid(), threading.Lock()
        self._together = max(1, TOKENS_TOGETHER // stream.seq_len)
        self._group = lru_cache(GROUPS_KEPT)(self._read_group)

    def row(self, number: int, length: int) -> Row:
        with self._lock:
            group, at = divmod(number, self._together)
            return _one(self._group(group, length), at)

    def rows(self, numbers: np.ndarray) -> list[Row]:
        asked, where = np.unique(numbers, return_inverse=True)
        with self._lock:
            found = self._read(asked)
        return [_one(found, at) for at in where.tolist()]

    def _read_group(self, group: int, length: int) -> Rows:
        begin = group * self._together
        return self._read(np.arange(begin, min(begin + self._together, length)))

    def _read(self, numbers: np.ndarray) -> Rows:
        rows, digests, begin = self._stream.rows_at(numbers), [], 0
        for start, stop in runs(numbers):
            end = begin + stop - start
            digests.append(row_digests(self._stream, start, {name: values[begin:end] for name, values in rows.items()}))
            begin = end
        return {**rows, "row": numbers, "digest": np.concatenate(digests)}


def _one(rows: Rows, at: int) -> Row:
    """Returns one of several rows, as arrays of its own, so that the others need not stay in memory."""
    return {name: np.array(values[at]) for name, values in rows.items()}
