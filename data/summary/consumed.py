"""How many tokens of each document a run has read, without going through its rows.

The blocks before the last row have taken the first T tokens of the queue of each stratum: whole epochs, and a part of one. Of that epoch,
whole groups of documents have been taken, and a part of one group (data/stream/queue.py). The group of a document follows from its number,
so any range of documents is answered from a truth value for each group, which is a bit for a thousand documents. The pieces in the rows of
the last block, of which only some rows may count, are added one by one.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from varietas.data.corpus.removals import Removed
from varietas.data.stream.queue import Queue
from varietas.data.stream.stream import Stream

Part = tuple[str, str]  # a source and a language


@dataclass(frozen=True)
class Some:
    """Tokens of a few documents: their numbers, ascending, and how many tokens of each. Both are int64 (documents,)."""

    document: np.ndarray
    tokens: np.ndarray

    def add_to(self, total: np.ndarray, begin: int) -> None:
        """Adds the tokens of documents `begin` to `begin + len(total)`."""
        here = slice(*np.searchsorted(self.document, [begin, begin + len(total)]))
        total[self.document[here] - begin] += self.tokens[here]


@dataclass(frozen=True)
class Head:
    """The first tokens of a queue."""

    queue: Queue
    selected: np.ndarray | None  # the document at each place of the queue; None if these are the documents themselves
    epochs: int  # whole ones
    groups: np.ndarray  # whether the epoch that follows has been taken of each group, bool (groups,)
    rest: Some  # what has been taken of the group after these

    def add_to(self, total: np.ndarray, begin: int) -> None:
        """Adds the tokens of documents `begin` to `begin + len(total)`."""
        end = begin + len(total)
        if self.selected is None:
            self._add(total, begin, end, slice(None))
        else:
            first, after = np.searchsorted(self.selected, [begin, end])
            self._add(total, int(first), int(after), self.selected[first:after].astype(np.int64) - begin)

    def _add(self, total: np.ndarray, begin: int, end: int, where: slice | np.ndarray) -> None:
        """Adds the tokens of places `begin` to `end` to the elements `where` of `total`."""
        queue, n_groups = self.queue, len(self.groups)
        part, at = np.divmod(np.arange(begin, end), n_groups)
        shift = queue.shifts(np.array([self.epochs]))[0]
        times = self.epochs + self.groups[(at - shift[part]) % n_groups]
        tokens = times * queue.lengths[begin:end].astype(np.int64)
        self.rest.add_to(tokens, begin)
        total[where] += tokens


@dataclass(frozen=True)
class Consumed:
    """What the first rows of a stream hold of each source and language."""

    heads: dict[Part, list[Head]]  # what the blocks took that hold none but these rows; a head for each filter
    rows: dict[Part, Some]  # the rows after these blocks

    def tokens(self, source: str, code: str, begin: int, end: int) -> np.ndarray:
        """Returns how many tokens of documents `begin` to `end` of a language in a source are held, int64 (end - begin,).

        A document that is read twice counts twice.
        """
        total = np.zeros(end - begin, np.int64)
        for head in self.heads.get((source, code), []):
            head.add_to(total, begin)
        if (source, code) in self.rows:
            self.rows[source, code].add_to(total, begin)
        return total


@dataclass(frozen=True)
class Span:
    """Some rows of a stream, as the difference of what its first rows hold."""

    before: Consumed
    upto: Consumed
    without: Removed

    def tokens(self, source: str, code: str, begin: int, end: int) -> np.ndarray:
        """Returns how many tokens of documents `begin` to `end` were read, int64 (end - begin,): none of those that are removed."""
        total = self.upto.tokens(source, code, begin, end) - self.before.tokens(source, code, begin, end)
        gone = self.without.documents.get((source, code), np.empty(0, np.int64))
        total[gone[slice(*np.searchsorted(gone, [begin, end]))] - begin] = 0
        return total


@dataclass(frozen=True)
class Read:
    """What a run has read: spans of rows, one after the other."""

    spans: tuple[Span, ...]

    @property
    def parts(self) -> list[Part]:
        """The sources and languages of which something may have been read, in the order of the strata."""
        return list(dict.fromkeys(part for span in self.spans for part in span.upto.heads))

    def tokens(self, source: str, code: str, begin: int, end: int) -> np.ndarray:
        """Returns how many tokens of documents `begin` to `end` were read, int64 (end - begin,)."""
        return sum((span.tokens(source, code, begin, end) for span in self.spans), np.zeros(end - begin, np.int64))


def read_by(spans: Iterable[tuple[Stream, int, int]]) -> Read:
    """Returns what a run has read.

    Damaged documents that were left out, and steps of which nothing was learned, count as any other.

    Args:
        spans: A stream, a row and the row after the last, of one span of the run after the other. Another list of removed documents makes
            another stream.
    """
    return Read(tuple(Span(consumed(stream, begin), consumed(stream, end), stream.without) for stream, begin, end in spans))


def consumed(stream: Stream, n_rows: int) -> Consumed:
    """Returns what rows 0 to `n_rows` hold of each source and language, also of documents that are removed."""
    last = stream.blocks.number(n_rows)  # no row from `n_rows` on is in an earlier block
    taken, heads = stream.taken_before(last), dict[Part, list[Head]]()
    for index, queue in stream.queues.items():
        stratum = stream.strata[index]
        heads.setdefault((stratum.source, stratum.code), []).append(_head(queue, stream.selected[index], int(taken[index])))
    pieces: dict[Part, list[tuple[int, int]]] = defaultdict(list)
    for piece in stream.documents(stream.blocks.rows(last)[0], n_rows):
        pieces[piece.source, piece.language].append((piece.document, piece.size))
    return Consumed(heads, {part: _summed(*np.array(found).T) for part, found in pieces.items()})


def _head(queue: Queue, selected: np.ndarray | None, tokens: int) -> Head:
    """Returns the first `tokens` tokens of a queue."""
    epochs, of_epoch = divmod(tokens, queue.tokens)
    order, bounds = queue.groups(epochs)
    n_whole = int(np.searchsorted(bounds, of_epoch, side="right")) - 1
    groups = np.zeros(len(order), bool)
    groups[order[:n_whole]] = True
    rest = queue.take(epochs * queue.tokens + int(bounds[n_whole]), tokens)
    return Head(queue, selected, epochs, groups, _summed(rest.document, rest.size))


def _summed(document: np.ndarray, size: np.ndarray) -> Some:
    """Sums the pieces of each document."""
    numbers, which = np.unique(document, return_inverse=True)
    tokens = np.zeros(len(numbers), np.int64)
    np.add.at(tokens, which, size)
    return Some(numbers.astype(np.int64), tokens)
