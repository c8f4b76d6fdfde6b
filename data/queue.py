"""A language as an endless queue of tokens: its documents, epoch after epoch, each epoch in a random order of its own.

Which documents hold tokens m to n of the queue is computed without reading the queue from its beginning. For that the documents
are put into groups of at most GROUP_DOCUMENTS: a group draws one document from each of equal parts of the corpus, so it
is a sample of the whole, and other ones in every epoch. Groups come in random order, and so do the documents of a group. To find a
place, sums over groups are enough, 8 bytes for a thousand documents.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from varietas.data.hashing import hash64

GROUP_DOCUMENTS = 1024
DRAW, SHUFFLE_GROUPS, SHUFFLE_DOCUMENTS = range(3)  # what a hash is for


@dataclass(frozen=True)
class Taken:
    """A part of the queue, one entry a document, the first and last perhaps in part. All int64."""

    document: np.ndarray
    begin: np.ndarray  # first token taken of it
    size: np.ndarray  # tokens taken of it
    epoch: np.ndarray


class Queue:
    """The queue of documents of `lengths` tokens, of which there must be one at least."""

    def __init__(self, lengths: np.ndarray, key: int, group_documents: int = GROUP_DOCUMENTS):
        self._lengths, self._key = np.asarray(lengths), key  # a view without memmap's slow slicing
        self._n_groups = -(-len(lengths) // group_documents)
        self._n_parts = -(-len(lengths) // self._n_groups)  # part p is documents p * n_groups to (p + 1) * n_groups
        self._groups = lru_cache(maxsize=2)(self._groups_of_epoch)
        self._members_of_one = lru_cache(maxsize=2)(lambda epoch, group: self._members(np.array([epoch]), np.array([group])))
        self.tokens = int(lengths.sum(dtype=np.int64))

    def take(self, begin: int, end: int) -> Taken:
        """Tokens `begin` to `end` of the queue."""
        if begin == end:
            return Taken(*np.zeros((4, 0), np.int64))
        epochs, groups, at = self._span(begin, end)
        if len(groups) <= 2:  # in the last of which the next block begins
            drawn = np.concatenate([self._members_of_one(*one) for one in zip(epochs.tolist(), groups.tolist(), strict=True)])
        else:
            drawn = self._members(epochs, groups)
        real = drawn < len(self._lengths)
        document, epoch = drawn[real], np.repeat(epochs, real.sum(1))
        length = self._lengths[document].astype(np.int64)
        ends = at + np.cumsum(length)
        here = slice(*np.searchsorted(ends, [begin, end - 1], side="right") + [0, 1])
        ends, length = ends[here], length[here]
        first = np.maximum(ends - length, begin)
        return Taken(document[here], first - (ends - length), np.minimum(ends, end) - first, epoch[here])

    def _span(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, int]:
        """The groups that hold tokens `begin` to `end`, as epochs and numbers, and where in the queue the first begins."""
        epochs = np.arange(begin // self.tokens, -(-end // self.tokens))
        if self._n_groups == 1:
            return epochs, np.zeros_like(epochs), int(epochs[0]) * self.tokens
        at, found = 0, list[tuple[np.ndarray, np.ndarray]]()
        for epoch in epochs.tolist():
            order, bounds = self._groups(epoch)
            begin_in, end_in = begin - epoch * self.tokens, end - epoch * self.tokens
            first = max(0, int(np.searchsorted(bounds, begin_in, side="right")) - 1)
            here = order[first : np.searchsorted(bounds, end_in)]
            if not found:
                at = epoch * self.tokens + int(bounds[first])
            found.append((np.full(len(here), epoch), here))
        numbers, groups = (np.concatenate(column) for column in zip(*found, strict=True))
        return numbers, groups, at

    def _groups_of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The groups in their order, and where in the epoch each begins; at last, where the epoch ends."""
        tokens = np.zeros(self._n_groups, np.int64)
        for part, shift in enumerate(self._shifts(np.array([epoch]))[0].tolist()):
            lengths = self._lengths[part * self._n_groups : (part + 1) * self._n_groups]
            front, back = lengths[shift:], lengths[:shift]
            tokens[: len(front)] += front
            tokens[self._n_groups - shift : self._n_groups - shift + len(back)] += back
        order = np.argsort(hash64(self._key, SHUFFLE_GROUPS, epoch, np.arange(self._n_groups)), kind="stable")
        return order, np.concatenate([[0], np.cumsum(tokens[order])])

    def _shifts(self, epochs: np.ndarray) -> np.ndarray:
        """(epoch, part): by how much the part is turned before group g takes its g-th document."""
        return (hash64(self._key, DRAW, epochs[:, None], np.arange(self._n_parts)) % np.uint64(self._n_groups)).astype(np.int64)

    def _members(self, epochs: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """(group, place): documents in their order. Where the last part has run out, a number beyond the last document."""
        drawn = np.arange(self._n_parts) * self._n_groups + (groups[:, None] + self._shifts(epochs)) % self._n_groups
        order = np.argsort(hash64(self._key, SHUFFLE_DOCUMENTS, epochs[:, None], drawn), axis=1, kind="stable")
        return np.take_along_axis(drawn, order, axis=1)
