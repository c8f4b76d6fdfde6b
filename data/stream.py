"""The training rows as a pure function: (corpus, mixture, seed) -> row i, for any i, in any order, on any machine.

Each language is a queue of documents, epoch after epoch, each epoch in an order of its own. A document arrives when the
tokens before it in its queue, divided by the language's share, have gone by; so any stretch of the stream holds the shares
wanted to within a document. What arrives within BLOCK_TOKENS tokens is a block. A block is packed and its rows shuffled;
a small table (where each block starts in rows and in every queue) is all that leads from a row number to its documents.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from varietas.data.corpus import Corpus
from varietas.data.mixture import Mixture, shares
from varietas.data.packing import pack
from varietas.data.permute import hash64, permute

BLOCK_TOKENS = 1 << 22

Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class BlockStart:
    """Where a block begins: its first row, and how far each language's queue has been read."""

    row: int
    documents: np.ndarray  # int64, one a language, counted through all epochs
    tokens: np.ndarray  # int64, one a language


@dataclass(frozen=True)
class Block:
    """The pieces of a block in the order of its rows. Row r holds pieces first[r] to first[r + 1]."""

    first: np.ndarray
    language: np.ndarray
    document: np.ndarray  # index within the language
    begin: np.ndarray
    size: np.ndarray
    epoch: np.ndarray


@dataclass(frozen=True)
class Piece:
    """A run of one document's tokens in one row: what an auditor asks for."""

    row: int
    language: str
    document: int
    begin: int
    size: int
    epoch: int


class Stream:
    """Random access to the rows of a mixture. Pickles as its arguments, so worker processes can have one each."""

    def __init__(self, corpus: Corpus, mixture: Mixture, seq_len: int, seed: int, block_tokens: int = BLOCK_TOKENS):
        """Raises ValueError if the mixture does not fit the corpus."""
        self.corpus, self.mixture, self.seq_len, self.seed, self.block_tokens = corpus, mixture, seq_len, seed, block_tokens
        self.shares = shares(mixture, {code: corpus.tokens(code) for code in corpus.languages})
        zeros = np.zeros(len(corpus.languages), np.int64)
        self._starts = [BlockStart(0, zeros, zeros)]
        self._block = lru_cache(maxsize=4)(self._plan)

    def __reduce__(self) -> tuple[type, tuple]:
        return Stream, (self.corpus, self.mixture, self.seq_len, self.seed, self.block_tokens)

    def rows(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`: int32 arrays of shape (stop - start, seq_len).

        tokens; segments (1, 2, … for the documents of a row, 0 for padding); positions (from 0 in each segment);
        languages (index into corpus.languages, 0 under padding).
        """
        row, language, document, begin, size, _ = self._pieces(start, stop)
        shape = (stop - start, self.seq_len)
        out = {name: np.zeros(shape, np.int32) for name in ("tokens", "segments", "positions", "languages")}
        out["tokens"][:] = self.corpus.pad_id
        texts = self.corpus.read(language, document)
        at = np.zeros(stop - start, np.int64)
        segment = np.zeros(stop - start, np.int32)
        for r, lang, text, b, n in zip((row - start).tolist(), language.tolist(), texts, begin.tolist(), size.tolist(), strict=True):
            here = slice(at[r], at[r] + n)
            segment[r] += 1
            out["tokens"][r, here] = text[b : b + n]
            out["segments"][r, here] = segment[r]
            out["positions"][r, here] = np.arange(n)
            out["languages"][r, here] = lang
            at[r] += n
        return out

    def documents(self, start: int, stop: int) -> Iterator[Piece]:
        """Which part of which document lies in rows `start` to `stop`, in the order of the rows' tokens."""
        for row, language, document, begin, size, epoch in zip(*(a.tolist() for a in self._pieces(start, stop)), strict=True):
            yield Piece(row, self.corpus.languages[language], document, begin, size, epoch)

    def _pieces(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """row, language, document, begin, size, epoch of every piece in rows start to stop."""
        found = []
        while start < stop:
            b = self._block_of(start)
            block, base = self._block(b), self._starts[b].row
            end = min(stop, self._starts[b + 1].row)
            here = slice(block.first[start - base], block.first[end - base])
            counts = np.diff(block.first[start - base : end - base + 1])
            row = np.repeat(np.arange(start, end), counts)
            found.append((row, block.language[here], block.document[here], block.begin[here], block.size[here], block.epoch[here]))
            start = end
        return tuple(np.concatenate(columns) for columns in zip(*found, strict=True))

    def _block_of(self, row: int) -> int:
        """The block that holds `row`, planning those before it that are not in the table yet."""
        while self._starts[-1].row <= row:
            self._block(len(self._starts) - 1)
        low, high = 0, len(self._starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle].row <= row else (low, middle)
        return low

    def _plan(self, b: int) -> Block:
        """Plans block b and, where it is new, notes where block b + 1 begins."""
        start = self._starts[b]
        queues = [self._arrivals(b, index, start) for index in np.flatnonzero(self.shares).tolist()]
        language, document, length, epoch, arrival = (np.concatenate(column) for column in zip(*queues, strict=True))
        # No row may hold or follow a document's second epoch while the language's first still goes on: cut where an epoch ends.
        edges = np.unique(np.concatenate([q[4][1:][np.diff(q[3]) > 0] for q in queues]))
        stretch = np.searchsorted(edges, arrival, side="right")
        block = self._lay_out(b, stretch, language, document, length, epoch)
        if b + 1 == len(self._starts):
            n_languages = len(self.shares)
            read = np.bincount(language, minlength=n_languages)
            tokens = np.bincount(language, length, minlength=n_languages).astype(np.int64)
            self._starts.append(BlockStart(start.row + len(block.first) - 1, start.documents + read, start.tokens + tokens))
        return block

    def _arrivals(self, b: int, index: int, start: BlockStart) -> tuple[np.ndarray, ...]:
        """language, document, length, epoch, arrival time of the documents of one language in block b."""
        code, share = self.corpus.languages[index], self.shares[index]
        n, lengths = self.corpus.documents(code), self.corpus.lengths(code)
        count, tokens = int(start.documents[index]), int(start.tokens[index])
        goal = int(share * (b + 1) * self.block_tokens)
        found = [(np.zeros(0, np.int64),) * 4]
        while tokens < goal:
            guess = 16 + int(1.1 * (goal - tokens) * n / self.corpus.tokens(code))
            epoch, place = np.divmod(np.arange(count, count + guess), n)
            document = permute(place, n, hash64(self.seed, zlib.crc32(code.encode()), epoch))
            length = lengths[document].astype(np.int64)
            before = tokens + np.cumsum(length) - length
            taken = int(np.searchsorted(before, goal))
            found.append((document[:taken], length[:taken], epoch[:taken], before[:taken]))
            count, tokens = count + taken, int(before[taken - 1] + length[taken - 1])
        document, length, epoch, before = (np.concatenate(column) for column in zip(*found, strict=True))
        return np.full(len(document), index), document, length, epoch, before / share

    def _lay_out(
        self, b: int, stretch: np.ndarray, language: np.ndarray, document: np.ndarray, length: np.ndarray, epoch: np.ndarray
    ) -> Block:
        """Packs each stretch, carries its emptiest row into the next, and shuffles the rows in between."""
        if not len(stretch):  # a document longer than the block went before
            return Block(np.zeros(1, np.int64), language, document, length, length, epoch)
        pieces: list[tuple[np.ndarray, ...]] = []  # (place of its row in the block, index of its document, begin, size)
        n_rows = carried = 0  # rows done; tokens in the row carried over, which has number n_rows
        for s in np.unique(stretch):
            members = np.flatnonzero(stretch == s)
            packed = pack(length[members], self.seq_len, carried)
            used = np.bincount(packed.row, packed.size).astype(np.int64)
            used[0] += carried
            keys = hash64(self.seed, b, int(s), np.arange(len(used)))
            lead = np.full(len(used), -1)
            lead[packed.row] = language[members][packed.document]
            place = spread(lead, keys)
            if carried:
                place[0] = -1.0  # what came before comes first
            last = int(carried > 0) + int(np.argmin(used[int(carried > 0) :])) if len(used) > 1 else 0
            if len(used) > 1:
                place[last] = 2.0
            rank = np.argsort(np.argsort(place))
            pieces.append((n_rows + rank[packed.row], members[packed.document], packed.begin, packed.size))
            carried = int(used[last]) % self.seq_len
            n_rows += len(used) - int(carried > 0)
        n_rows += int(carried > 0)
        row, of, begin, size = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(row, kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))])
        of = of[order]
        return Block(first, language[of], document[of], begin[order], size[order], epoch[of])


def spread(groups: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A place in [0, 1) for each member, random by its key, with every group spread evenly over the whole.

    Sorting by place is a shuffle in which each stretch holds nearly the same part of every group (stratified sampling).
    """
    order = np.lexsort((keys, groups))
    _, begin, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(groups)) - np.repeat(begin, counts)
    jitter = (mix_to_unit(keys))[order]
    place = np.empty(len(groups))
    place[order] = (rank + jitter) / np.repeat(counts, counts)
    return place


def mix_to_unit(keys: np.ndarray) -> np.ndarray:
    """uint64 hashes as float64 in [0, 1)."""
    return (hash64(keys, 1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
