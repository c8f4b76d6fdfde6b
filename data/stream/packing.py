"""Packs documents into rows of equal length, all of which are full.

Whole documents go where they fit best, and documents that fit nowhere are cut to fill the gaps.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packed:
    """Where documents were put, with one entry per piece: a run of a document's tokens that lies in one row. All arrays are int64."""

    document: np.ndarray  # index into the lengths that were packed
    begin: np.ndarray  # first token of the piece within its document
    size: np.ndarray  # tokens
    row: np.ndarray  # number of the row, from 0


def pack(lengths: np.ndarray, row_len: int, opened: int = 0) -> Packed:
    """Packs documents into rows. All rows are full, except perhaps the last.

    A document longer than a row is cut into whole rows and a remainder. Then each document, longest first, goes where it leaves the
    smallest gap (best fit decreasing; Johnson, 1974). Documents that fit nowhere are cut to fill the gaps, the longest first into the
    largest gaps.

    Args:
        lengths: Tokens of each document, (documents,).
        row_len: Tokens of a row.
        opened: Tokens that row 0 holds already, less than `row_len`.
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
    """Lays runs of tokens end to end into gaps, in order, and cuts the runs at the edges of the gaps.

    Args:
        sizes: Tokens of each run, (runs,).
        gaps: Tokens that each gap can hold, (gaps,). All gaps together hold at least as many tokens as the runs have.

    Returns:
        Four arrays with one entry per piece: its run, its first token within the run, its number of tokens, and its gap.
    """
    ends, edges = np.cumsum(sizes), np.cumsum(gaps)
    cuts = np.union1d(ends, edges[: np.searchsorted(edges, ends[-1])]) if len(ends) else ends
    starts = np.concatenate([[0], cuts])[: len(cuts)]
    run = np.searchsorted(ends, starts, side="right")
    return run, starts - (ends - sizes)[run], cuts - starts, np.searchsorted(edges, starts, side="right")


def _free(opened: int, tokens: int, row_len: int) -> list[tuple[int, int]]:
    """Returns (free tokens, row) of every row, ascending."""
    n_rows = -(-(opened + tokens) // row_len)
    free = [row_len] * n_rows
    free[0] -= opened
    free[-1] -= n_rows * row_len - opened - tokens
    return sorted((n, row) for row, n in enumerate(free))


def _best_fit(sizes: np.ndarray, free: list[tuple[int, int]]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Returns the row for each size, -1 if none has room, and the gaps that are left as (free tokens, row), ascending. Consumes `free`."""
    rows = np.full(len(sizes), -1)
    for place, size in enumerate(sizes.tolist()):
        fit = bisect_left(free, (size, -1))
        if fit < len(free):
            n, row = free.pop(fit)
            rows[place] = row
            if n > size:
                insort(free, (n - size, row))
    return rows, free
