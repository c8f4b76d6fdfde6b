"""Which rows hold a document: the inverse of the stream, without a scan of the rows before.

In each epoch the place of a document in the queue of its stratum follows from its number. The place says which block takes it, and the
plan of that block says which rows.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

import numpy as np

from varietas.data.stream.pieces import Piece
from varietas.data.stream.stream import Stream


def uses(stream: Stream, documents: Mapping[tuple[str, str], np.ndarray], start: int, stop: int) -> Iterator[Piece]:
    """Yields the pieces of some documents in rows `start` to `stop`, in the order of the rows.

    A document that the stream leaves out has none. Each block that holds one of the documents is planned once.

    Args:
        stream: The rows.
        documents: Numbers of documents, ascending, by source and language.
        start: First row.
        stop: Row after the last.
    """
    if stop <= start:
        return
    sought = {
        index: numbers
        for index, stratum in enumerate(stream.strata)
        if index in stream.queues and (numbers := documents.get((stratum.source, stratum.code))) is not None and len(numbers)
    }
    first, last = stream.blocks.number(start), stream.blocks.number(stop - 1)
    for b in sorted({b for index, numbers in sought.items() for b in _blocks(stream, index, numbers, first, last)}):
        begin, end = stream.blocks.rows(b)
        pieces = stream.pieces(max(begin, start), min(end, stop))
        mine = np.zeros(len(pieces.row), bool)
        for index, numbers in sought.items():
            mine |= (pieces.stratum == index) & np.isin(pieces.document, numbers)
        yield from stream.named(pieces[mine & ~stream.are_gone(pieces)])


def _blocks(stream: Stream, index: int, numbers: np.ndarray, first: int, last: int) -> set[int]:
    """Returns the blocks from `first` to `last` that take tokens of these documents from the queue of a stratum."""
    queue, chosen, lengths = stream.queues[index], stream.selected[index], stream.lengths(index)
    if chosen is not None:  # the queue numbers the documents that the filter accepts
        at = np.minimum(np.searchsorted(chosen, numbers), len(chosen) - 1)
        numbers = at[chosen[at] == numbers]
    numbers = numbers.astype(np.int64)

    def taken(b: int) -> int:
        return int(stream.taken_before(b)[index])

    found = set[int]()
    begin, end = taken(first), taken(last + 1)
    for epoch in range(begin // queue.tokens, -(-end // queue.tokens)):
        places = queue.places(numbers, epoch)
        here = (places < end) & (places + lengths[numbers] > begin)
        for place, size in zip(places[here].tolist(), lengths[numbers[here]].tolist(), strict=True):
            b = max(first, bisect_right(range(last + 1), place, key=taken) - 2)  # rounding may let it decrease by one
            while b <= last and taken(b) < place + size:
                found.add(b)
                b += 1
    return found
