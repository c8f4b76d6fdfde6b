"""The training rows as a pure function: (corpus, mixture, seed) -> row i, for any i, in any order, on any machine.

Rows come in blocks of BLOCK_ROWS (blocks.py). A block takes from each stratum's queue (mixture.py, queue.py) as many tokens as the
stratum's share of the block; a document that reaches over a block's end is cut there. So what a block holds depends on its number alone,
and so does every row: no state, no table. The documents of a block are packed into its rows, and the rows shuffled.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from varietas.data.blocks import blocks, places
from varietas.data.corpus import Corpus
from varietas.data.files import cache_folder
from varietas.data.hashing import hash64
from varietas.data.mixture import Mixture, course
from varietas.data.packing import Packed, fill, pack
from varietas.data.queue import Queue
from varietas.data.sources import Sources, selected, sources_of, strata_of

BLOCK_ROWS = 2048

Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Pieces:
    """Runs of documents' tokens in the order of the rows that hold them: one entry a piece, all int64."""

    row: np.ndarray
    stratum: np.ndarray  # index into Stream.strata
    document: np.ndarray  # index within its source and language
    begin: np.ndarray  # first token of the piece within its document
    size: np.ndarray  # tokens
    epoch: np.ndarray

    def __getitem__(self, which: slice | np.ndarray) -> "Pieces":
        return Pieces(*(column[which] for column in vars(self).values()))


@dataclass(frozen=True)
class Piece:
    """A run of one document's tokens in one row: what an auditor asks for."""

    row: int
    source: str  # "" where there is one only
    language: str
    document: int
    begin: int
    size: int
    epoch: int


class Stream:
    """Random access to the rows of a mixture. Pickles as its arguments, so worker processes can have one each."""

    def __init__(self, corpus: Corpus | Sources, mixture: Mixture, seq_len: int, seed: int, block_rows: int = BLOCK_ROWS):
        """Raises ValueError if the mixture does not fit the corpus."""
        self.corpus, self.mixture, self.seq_len, self.seed, self.block_rows = corpus, mixture, seq_len, seed, block_rows
        self.strata, sources = strata_of(corpus, mixture), sources_of(corpus)
        self._sources = [sources[stratum.source] for stratum in self.strata]
        self._selected = [
            selected(source, stratum.code, stratum.where, cache_folder()) if stratum.where else None
            for stratum, source in zip(self.strata, self._sources, strict=True)
        ]
        self.tokens = np.array([self._tokens(index) for index in range(len(self.strata))])
        self._blocks = blocks(block_rows, mixture.phases, seq_len, len(self.strata))
        phases = [(self._at(begin), self._at(end)) for begin, end in places(mixture.phases, seq_len)]
        self.course = replace(
            course(mixture, self.strata, self.tokens),
            begin=(0, *(begin for begin, _ in phases)),
            ramp=(0, *(end - begin for begin, end in phases)),
        )
        self._codes = np.array([source.languages.index(stratum.code) for stratum, source in zip(self.strata, self._sources, strict=True)])
        self._languages = np.array([corpus.languages.index(stratum.code) for stratum in self.strata])
        self._queues = {
            index: Queue(self._lengths(index), int(hash64(seed, zlib.crc32("/".join(filter(None, vars(stratum).values())).encode()))[0]))
            for index, stratum in enumerate(self.strata)
            if self.course.end[:, index].any()
        }
        self._block = lru_cache(maxsize=4)(self._plan)

    def _tokens(self, index: int) -> int:
        if self._selected[index] is None:
            return self._sources[index].tokens(self.strata[index].code)
        return int(self._lengths(index).sum(dtype=np.int64))

    def _lengths(self, index: int) -> np.ndarray:
        """Tokens of each document of a stratum."""
        lengths, chosen = self._sources[index].lengths(self.strata[index].code), self._selected[index]
        return lengths if chosen is None else lengths[chosen]

    def taken(self, tokens: int, stratum: int) -> float:
        """Tokens of a stratum among the first `tokens` of the run. Within a block, whose rows are shuffled, all parts come evenly."""
        b = self._blocks.number(tokens // self.seq_len)
        first, end = (row * self.seq_len for row in self._blocks.rows(b))
        begun, ended = (self.course.taken(self._mixed(block), stratum) for block in (b, b + 1))
        return begun + (ended - begun) * (tokens - first) / (end - first)

    def shares(self, tokens: int | None = None) -> np.ndarray:
        """Share of each language, (languages,): among the first `tokens` of the run, or as it begins."""
        of_strata = [self.taken(tokens, k) if tokens else float(self.course.end[0, k]) for k in range(len(self.strata))]
        return np.bincount(self._languages, of_strata, len(self.corpus.languages)) / sum(of_strata)

    def __reduce__(self) -> tuple[type, tuple]:
        return Stream, (self.corpus, self.mixture, self.seq_len, self.seed, self.block_rows)

    def rows(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`: int32 arrays of shape (stop - start, seq_len).

        tokens; segments (1, 2, … for the documents of a row, 0 for padding); positions (from 0 in each segment);
        languages (index into corpus.languages, 0 under padding).
        """
        pieces, n_rows = self._pieces(start, stop), stop - start
        row = pieces.row - start
        ends = np.searchsorted(row, np.arange(n_rows), side="right")  # of each row's pieces; there comes its padding, mostly none
        padding = self.seq_len - np.bincount(row, pieces.size, n_rows).astype(np.int64)
        sizes = np.insert(pieces.size, ends, padding)

        def spread(of_pieces: np.ndarray) -> np.ndarray:
            return np.repeat(np.insert(of_pieces, ends, 0).astype(np.int32), sizes).reshape(n_rows, self.seq_len)

        segments = spread(1 + np.arange(len(row)) - np.searchsorted(row, row))
        begins = np.cumsum(sizes) - sizes
        positions = (np.arange(segments.size, dtype=np.int32) - np.repeat(begins.astype(np.int32), sizes)).reshape(segments.shape)
        texts = self._read(pieces)
        for r in np.flatnonzero(padding)[::-1].tolist():
            texts.insert(ends[r], np.full(padding[r], self.corpus.pad_id))
            positions[r, -padding[r] :] = 0
        tokens = np.empty(segments.shape, np.int32)
        np.concatenate([np.empty(0, np.int32), *texts], out=tokens.reshape(-1), casting="unsafe")  # of unsigned ids
        return {"tokens": tokens, "segments": segments, "positions": positions, "languages": spread(self._languages[pieces.stratum])}

    def documents(self, start: int, stop: int) -> Iterator[Piece]:
        """Which part of which document lies in rows `start` to `stop`, in the order of the rows' tokens."""
        columns = (column.tolist() for column in vars(self._pieces(start, stop)).values())
        for row, stratum, document, begin, size, epoch in zip(*columns, strict=True):
            yield Piece(row, self.strata[stratum].source, self.strata[stratum].code, document, begin, size, epoch)

    def _read(self, pieces: Pieces) -> list[np.ndarray]:
        """The tokens of each piece."""
        texts: list[np.ndarray] = [np.empty(0, np.int32)] * len(pieces.document)
        for source in {id(source): source for source in self._sources}.values():
            of_source = np.array([other is source for other in self._sources])
            members = np.flatnonzero(of_source[pieces.stratum])
            whole = source.read(self._codes[pieces.stratum[members]], pieces.document[members])
            begins, ends = pieces.begin[members], (pieces.begin + pieces.size)[members]
            for at, text, begin, end in zip(members.tolist(), whole, begins.tolist(), ends.tolist(), strict=True):
                texts[at] = text[begin:end]
        return texts

    def _pieces(self, start: int, stop: int) -> Pieces:
        if not 0 <= start <= stop:
            raise ValueError(f"rows {start} to {stop}: expected 0 <= start <= stop")
        found = []
        for b in range(self._blocks.number(start), self._blocks.number(stop - 1) + 1 if stop > start else 0):
            block = self._block(b)
            found.append(block[slice(*np.searchsorted(block.row, [start, stop]))])
        return _joined(found)

    def _plan(self, b: int) -> Pieces:
        """All of block b."""
        arrived, arrival = zip(*(self._arrivals(b, index) for index in self._queues), strict=True)
        order = np.argsort(np.concatenate(arrival), kind="stable")
        pieces = _joined(arrived)[order]
        # No row may hold or follow a document's second epoch while the language's first still goes on: so a stretch of its own
        # begins wherever an epoch does.
        begins = np.concatenate([np.diff(part.epoch, prepend=part.epoch[:1]) > 0 for part in arrived])[order]
        return self._lay_out(b, pieces, np.concatenate([[0], np.flatnonzero(begins), [len(order)]]))

    def _arrivals(self, b: int, index: int) -> tuple[Pieces, np.ndarray]:
        """What block b takes from one stratum, and when each piece comes: 0 to 1 for the beginning and end of the block."""
        begin = self._taken(b, index)
        end = max(begin, self._taken(b + 1, index))  # on a ramp to 0 the last bits of the integral may go down
        took = self._queues[index].take(begin, end)
        same = np.full(len(took.size), index)
        arrival = (np.cumsum(took.size) - took.size) / max(1, end - begin)
        chosen = self._selected[index]
        document = took.document if chosen is None else chosen[took.document].astype(np.int64)
        return Pieces(np.zeros_like(same), same, document, took.begin, took.size, took.epoch), arrival

    def _mixed(self, b: int) -> int:
        """Tokens of the mixture in all blocks before b. Rounding may give a block one too many of each stratum: it keeps as many free."""
        return self._blocks.rows(b)[0] * self.seq_len - b * len(self.strata)

    def _at(self, row: int) -> int:
        """The same, before the block that begins with this row."""
        return self._mixed(self._blocks.number(row))

    def _taken(self, b: int, index: int) -> int:
        """Tokens of a stratum in all blocks before b."""
        return int(self.course.taken(self._mixed(b), index))

    def _lay_out(self, b: int, pieces: Pieces, bounds: np.ndarray) -> Pieces:
        """Puts the pieces into the rows of block b, stretch after stretch; stretch s is pieces bounds[s] to bounds[s + 1].

        Each stretch begins where the one before it ended, in the middle of a row or not. Its documents are packed and its rows shuffled,
        unless it is shorter than a row.
        """
        begin_row, end_row = self._blocks.rows(b)
        tokens = np.concatenate([[0], np.cumsum(pieces.size)])
        of, offset, size, row = fill(pieces.size, np.full(end_row - begin_row, self.seq_len))
        long = np.flatnonzero(np.diff(tokens[bounds]) >= self.seq_len)
        short = ~np.isin(np.searchsorted(bounds, of, side="right") - 1, long)
        laid = [(of[short], offset[short], size[short], row[short])]
        for s in long.tolist():
            members = slice(bounds[s], bounds[s + 1])
            first_row, opened = divmod(int(tokens[bounds[s]]), self.seq_len)
            packed = pack(pieces.size[members], self.seq_len, opened)
            ended = int(tokens[bounds[s + 1]]) % self.seq_len
            lead = lead_languages(packed, pieces.stratum[members])
            place = shuffle(lead, hash64(self.seed, b, s, np.arange(len(lead))), first_stays=opened > 0, last_stays=ended > 0)
            laid.append((bounds[s] + packed.document, packed.begin, packed.size, first_row + place[packed.row]))
        of, offset, size, row = (np.concatenate(column) for column in zip(*laid, strict=True))
        order = np.lexsort((of, row))
        of, offset, size, row = of[order], offset[order], size[order], row[order]
        return Pieces(begin_row + row, pieces.stratum[of], pieces.document[of], pieces.begin[of] + offset, size, pieces.epoch[of])


def lead_languages(packed: Packed, languages: np.ndarray) -> np.ndarray:
    """The language (or stratum) that each row has the most tokens of, (rows,); `languages` is of the documents that were packed."""
    tokens = np.zeros((packed.row.max() + 1, languages.max() + 1), np.int64)
    np.add.at(tokens, (packed.row, languages[packed.document]), packed.size)
    return tokens.argmax(1)


def shuffle(groups: np.ndarray, keys: np.ndarray, first_stays: bool, last_stays: bool) -> np.ndarray:
    """A new place for each member: random, but with every group spread evenly over the whole (stratified sampling).

    The k-th of a group of n goes between k/n and (k + 1)/n of the whole; `keys` (uint64) decide which is the k-th, and where.
    """
    order = np.lexsort((keys, groups))
    _, begin, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(groups)) - np.repeat(begin, counts)
    at = np.empty(len(groups))
    at[order] = (rank + unit(hash64(keys, 1))[order]) / np.repeat(counts, counts)
    if last_stays:
        at[-1] = 2.0
    if first_stays:
        at[0] = -1.0
    return np.argsort(np.argsort(at, kind="stable"))


def unit(hashes: np.ndarray) -> np.ndarray:
    """uint64 hashes as float64 in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _joined(parts: Sequence[Pieces]) -> Pieces:
    if not parts:
        return Pieces(*np.zeros((6, 0), np.int64))
    return Pieces(*(np.concatenate(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))
