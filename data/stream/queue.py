"""A language as an endless queue of tokens: its documents, epoch after epoch, each epoch in a random order of its own.

The documents that hold tokens m to n of the queue are found without reading the queue from its beginning. To this end, documents are
divided into groups of at most GROUP_DOCUMENTS. The corpus is cut into equal parts, and a group draws one document from each part, so
that it is a sample of the whole; every epoch has other groups. Groups come in random order, and so do the documents within a group. To
find a position, sums over groups are enough: 8 bytes per thousand documents.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from varietas.data.hashing import hash64

GROUP_DOCUMENTS = 1024
DRAW, SHUFFLE_GROUPS, SHUFFLE_DOCUMENTS = range(3)  # purposes of hashes: each has random numbers of its own


@dataclass(frozen=True)
class Taken:
    """A range of the queue, with one entry per document. It may begin and end inside a document. All arrays are int64."""

    document: np.ndarray
    begin: np.ndarray  # first token that is taken of the document
    size: np.ndarray  # number of tokens that are taken of it
    epoch: np.ndarray


class Queue:
    """The endless queue of some documents.

    Args:
        lengths: Tokens of each document, (documents,). There must be at least one document.
        key: Seed of the random orders.
        group_documents: Maximum number of documents in a group.
    """

    def __init__(self, lengths: np.ndarray, key: int, group_documents: int = GROUP_DOCUMENTS):
        self.lengths, self._key = np.asarray(lengths), key  # a view without memmap's slow slicing
        self._n_groups = -(-len(lengths) // group_documents)
        self._n_parts = -(-len(lengths) // self._n_groups)  # part p is documents p * n_groups to (p + 1) * n_groups
        self.groups = lru_cache(maxsize=2)(self._groups_of_epoch)
        self._members_of_one = lru_cache(maxsize=2)(lambda epoch, group: self._members(np.array([epoch]), np.array([group])))
        self.tokens = int(lengths.sum(dtype=np.int64))

    def take(self, begin: int, end: int) -> Taken:
        """Returns tokens `begin` to `end` of the queue."""
        if begin == end:
            return Taken(*np.zeros((4, 0), np.int64))
        epochs, groups, at = self._span(begin, end)
        if len(groups) <= 2:  # cached, because the next block begins in the last of these groups
            drawn = np.concatenate([self._members_of_one(*one) for one in zip(epochs.tolist(), groups.tolist(), strict=True)])
        else:
            drawn = self._members(epochs, groups)
        real = drawn < len(self.lengths)
        document, epoch = drawn[real], np.repeat(epochs, real.sum(1))
        length = self.lengths[document].astype(np.int64)
        ends = at + np.cumsum(length)
        here = slice(*np.searchsorted(ends, [begin, end - 1], side="right") + [0, 1])
        ends, length = ends[here], length[here]
        first = np.maximum(ends - length, begin)
        return Taken(document[here], first - (ends - length), np.minimum(ends, end) - first, epoch[here])

    def places(self, documents: np.ndarray, epoch: int) -> np.ndarray:
        """Returns the token of the queue at which each of these documents begins in an epoch, int64 (documents,)."""
        n, part = self._n_groups, documents // self._n_groups
        shift = self.shifts(np.array([epoch]))[0]
        group = (documents - shift[part]) % n
        order, bounds = self.groups(epoch)
        rank = np.empty(n, np.int64)
        rank[order] = np.arange(n)
        places = np.empty(len(documents), np.int64)
        by_group = np.argsort(group, kind="stable")
        for mine in np.split(by_group, np.flatnonzero(np.diff(group[by_group])) + 1) if len(documents) else ():
            number = group[mine[0]]
            members = self._members(np.array([epoch]), number[None])[0]
            members = members[members < len(self.lengths)]
            lengths = self.lengths[members].astype(np.int64)
            sorter = np.argsort(members)
            at = sorter[np.searchsorted(members, documents[mine], sorter=sorter)]
            places[mine] = bounds[rank[number]] + (np.cumsum(lengths) - lengths)[at]
        return epoch * self.tokens + places

    def _span(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Returns the groups that hold tokens `begin` to `end`, as epochs and numbers, and where in the queue the first group begins."""
        epochs = np.arange(begin // self.tokens, -(-end // self.tokens))
        if self._n_groups == 1:
            return epochs, np.zeros_like(epochs), int(epochs[0]) * self.tokens
        at, found = 0, list[tuple[np.ndarray, np.ndarray]]()
        for epoch in epochs.tolist():
            order, bounds = self.groups(epoch)
            begin_in, end_in = begin - epoch * self.tokens, end - epoch * self.tokens
            first = max(0, int(np.searchsorted(bounds, begin_in, side="right")) - 1)
            here = order[first : np.searchsorted(bounds, end_in)]
            if not found:
                at = epoch * self.tokens + int(bounds[first])
            found.append((np.full(len(here), epoch), here))
        numbers, groups = (np.concatenate(column) for column in zip(*found, strict=True))
        return numbers, groups, at

    def _groups_of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the groups in their order, and the tokens of the epoch at which they begin, followed by the end of the epoch."""
        tokens = np.zeros(self._n_groups, np.int64)
        for part, shift in enumerate(self.shifts(np.array([epoch]))[0].tolist()):
            lengths = self.lengths[part * self._n_groups : (part + 1) * self._n_groups]
            front, back = lengths[shift:], lengths[:shift]
            tokens[: len(front)] += front
            tokens[self._n_groups - shift : self._n_groups - shift + len(back)] += back
        order = np.argsort(hash64(self._key, SHUFFLE_GROUPS, epoch, np.arange(self._n_groups)), kind="stable")
        return order, np.concatenate([[0], np.cumsum(tokens[order])])

    def shifts(self, epochs: np.ndarray) -> np.ndarray:
        """Returns (epochs, parts): by how many documents each part is rotated before group g takes its g-th document."""
        return (hash64(self._key, DRAW, epochs[:, None], np.arange(self._n_parts)) % np.uint64(self._n_groups)).astype(np.int64)

    def _members(self, epochs: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Returns (groups, parts): the documents of each group in order. Where the last part is too short, the number is no document's."""
        drawn = np.arange(self._n_parts) * self._n_groups + (groups[:, None] + self.shifts(epochs)) % self._n_groups
        order = np.argsort(hash64(self._key, SHUFFLE_DOCUMENTS, epochs[:, None], drawn), axis=1, kind="stable")
        return np.take_along_axis(drawn, order, axis=1)
