"""Documents into rows of equal length that are all full: whole documents best fit, and what fits nowhere cut into the gaps."""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packed:
    """One entry a piece: a run of a document's tokens that lies in one row. All int64."""

    document: np.ndarray  # index into the lengths that were packed
    begin: np.ndarray  # first token of the piece within its document
    size: np.ndarray  # tokens
    row: np.ndarray  # which row, from 0


def pack(lengths: np.ndarray, row_len: int, opened: int = 0) -> Packed:
    """Packs documents of `lengths` tokens into rows of `row_len`; row 0 holds `opened` (less than row_len) tokens already.

    All rows end up full but the last, which has what is left. A document longer than a row is cut into whole rows and a rest. Then, longest
    first, each goes where it leaves the smallest gap (best fit decreasing; Johnson, 1974); the longest of the others are cut
    to fill the largest gaps.
    """
    free = _free(opened, int(lengths.sum()), row_len)
    n_parts = -(-lengths // row_len)
    document = np.repeat(np.arange(len(lengths)), n_parts)
    begin = (np.arange(len(document)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)) * row_len
    size = np.minimum(lengths[document] - begin, row_len)
    order = np.argsort(-size, kind="stable")
    document, begin, size = document[order], begin[order], size[order]

    row, gaps = _best_fit(size, free)
    whole, left = np.flatnonzero(row >= 0), np.flatnonzero(row < 0)
    of, offset, n, filled = fill(size[left], np.array([n for n, _ in reversed(gaps)], np.int64))
    gap_row = np.array([r for _, r in reversed(gaps)], np.int64)
    return Packed(
        document=np.concatenate([document[whole], document[left][of]]),
        begin=np.concatenate([begin[whole], begin[left][of] + offset]),
        size=np.concatenate([size[whole], n]),
        row=np.concatenate([row[whole], gap_row[filled]]),
    )


def fill(sizes: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lays runs of `sizes` tokens end to end into `gaps` that hold as many or more, in order, and cuts them at the gaps' edges.

    Returns run, first token within it, tokens, gap: one entry a piece.
    """
    ends, edges = np.cumsum(sizes), np.cumsum(gaps)
    cuts = np.union1d(ends, edges[: np.searchsorted(edges, ends[-1])]) if len(ends) else ends
    starts = np.concatenate([[0], cuts])[: len(cuts)]
    run = np.searchsorted(ends, starts, side="right")
    return run, starts - (ends - sizes)[run], cuts - starts, np.searchsorted(edges, starts, side="right")


def _free(opened: int, tokens: int, row_len: int) -> list[tuple[int, int]]:
    """(free tokens, row) of every row, ascending."""
    n_rows = -(-(opened + tokens) // row_len)
    free = [row_len] * n_rows
    free[0] -= opened
    free[-1] -= n_rows * row_len - opened - tokens
    return sorted((n, row) for row, n in enumerate(free))


def _best_fit(sizes: np.ndarray, free: list[tuple[int, int]]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The row of each size, -1 where none has room, and the gaps left: (free tokens, row), ascending. Uses up `free`."""
    rows = np.full(len(sizes), -1)
    for place, size in enumerate(sizes.tolist()):
        fit = bisect_left(free, (size, -1))
        if fit < len(free):
            n, row = free.pop(fit)
            rows[place] = row
            if n > size:
                insort(free, (n - size, row))
    return rows, free
