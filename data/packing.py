"""Documents into rows of equal length: best fit, whole documents first, cut only where that would waste too much.

Rows are numbered in the order they were opened. A row left over from earlier packing may be handed in to be filled first,
so that the end of one group of documents does not cost half a row of padding.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

MAX_PADDING = 0.01


@dataclass(frozen=True)
class Pieces:
    """One entry a piece: a run of a document's tokens that lies in one row. All int64."""

    document: np.ndarray  # index into the lengths that were packed
    begin: np.ndarray  # first token of the piece within its document
    size: np.ndarray  # tokens
    row: np.ndarray  # which row, from 0


def pack(lengths: np.ndarray, row_len: int, opened: int = 0) -> Pieces:
    """Packs documents of `lengths` tokens into rows of `row_len`; row 0 already holds `opened` tokens.

    A document longer than a row is cut into full rows and a rest. Rests are placed best fit decreasing (Johnson, 1974).
    If that leaves more than MAX_PADDING unfilled, documents are cut at the rows' edges instead. The emptiest row is not
    counted, since it can be handed in next time; the row that was handed in now cannot, unless it is the only one.
    """
    n_full = lengths // row_len
    rests = lengths % row_len
    rest_of = np.flatnonzero(rests)
    document, begin, size, row = _best_fit(rests[rest_of], row_len, opened)
    document = rest_of[document]
    begin = begin + n_full[document] * row_len

    full_of = np.repeat(np.arange(len(lengths)), n_full)
    full_begin = (np.arange(len(full_of)) - np.repeat(np.cumsum(n_full) - n_full, n_full)) * row_len
    n_rows = int(row.max()) + 1 if len(row) else int(opened > 0)
    pieces = Pieces(
        document=np.concatenate([document, full_of]),
        begin=np.concatenate([begin, full_begin]),
        size=np.concatenate([size, np.full(len(full_of), row_len)]),
        row=np.concatenate([row, n_rows + np.arange(len(full_of))]),
    )
    used = np.bincount(pieces.row, pieces.size, minlength=1)
    used[0] += opened
    emptiest = used[1:].min() if opened and len(used) > 1 else used.min()
    padding = (row_len - used).sum() - (row_len - emptiest)
    return pieces if padding <= MAX_PADDING * (lengths.sum() + opened) else _cut_to_fill(lengths, row_len, opened)


def _best_fit(sizes: np.ndarray, row_len: int, opened: int) -> tuple[np.ndarray, ...]:
    order = np.argsort(-sizes, kind="stable")
    rows = np.empty(len(sizes), np.int64)
    free = [(row_len - opened, 0)] if opened else []  # (free tokens, row), ascending
    n_rows = len(free)
    for place, size in enumerate(sizes[order].tolist()):
        fit = bisect_left(free, (size, -1))
        if fit < len(free):
            left, row = free.pop(fit)
        else:
            left, row = row_len, n_rows
            n_rows += 1
        rows[place] = row
        if left > size:
            insort(free, (left - size, row))
    return order, np.zeros(len(sizes), np.int64), sizes[order], rows


def _cut_to_fill(lengths: np.ndarray, row_len: int, opened: int) -> Pieces:
    ends = opened + np.cumsum(lengths)
    row_edges = np.arange(row_len, ends[-1], row_len)
    cuts = np.union1d(np.concatenate([[opened], ends]), row_edges[row_edges > opened])
    starts = cuts[:-1]
    document = np.searchsorted(ends, starts, side="right")
    begin = starts - (ends - lengths)[document]
    return Pieces(document, begin, np.diff(cuts), starts // row_len)
