"""The training rows as a pure function: (corpus, mixture, seed) -> row i, for any i, in any order, on any machine.

Rows come in blocks of BLOCK_ROWS (blocks.py). A block takes from the queue of each stratum as many tokens as the stratum's share of the
block (shares.py, queue.py). A document that extends beyond the end of a block is cut there. The content of a block, and thus every row,
depends on the number of the block alone: there is no state and no table. The documents of a block are packed into its rows (packing.py),
and the rows are shuffled.
"""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np

from varietas.data.chat.marks import widened, without_marks
from varietas.data.chat.unmarked import unmarked
from varietas.data.corpus.corpus import Corpus, damaged
from varietas.data.corpus.removals import Removed
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.files import cache_folder
from varietas.data.hashing import hash64
from varietas.data.stream.blocks import blocks, places
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.packing import fill, pack
from varietas.data.stream.pieces import Piece, Pieces, joined, runs
from varietas.data.stream.queue import Queue
from varietas.data.stream.shares import Stratum, course, strata_of
from varietas.data.stream.shuffle import lead_languages, shuffle

BLOCK_ROWS = 2048
NOTHING = Removed()
COUNTED = 1 << 22  # tokens of a stratum in which token ids are counted, if they have to be read

Rows = dict[str, np.ndarray]


class Stream:
    """Random access to the rows of a mixture. Only its arguments are pickled, so that every worker process can have a stream of its own."""

    def __init__(
        self,
        corpus: Corpus | Sources,
        mixture: Mixture,
        seq_len: int,
        seed: int,
        block_rows: int = BLOCK_ROWS,
        skip_damaged: bool = False,
        without: Removed = NOTHING,
    ):
        """Plans the rows of a mixture over a corpus.

        Args:
            corpus: A prepared corpus, or several as sources.
            mixture: The shares of the languages.
            seq_len: Tokens of a row.
            seed: Seed of the order of documents and rows.
            block_rows: Maximum number of rows in a block.
            skip_damaged: Whether a document whose bytes are damaged becomes padding. All other tokens stay in their places.
            without: Documents that become padding in the same way and are never read.

        Raises:
            ValueError: If the mixture does not fit the corpus, or if the corpus is damaged.
        """
        self.corpus, self.mixture, self.seq_len, self.seed, self.block_rows = corpus, mixture, seq_len, seed, block_rows
        self.skip_damaged, self.without = skip_damaged, without
        self.strata, sources = strata_of(corpus, mixture), sources_of(corpus)
        self._sources = [sources[stratum.source] for stratum in self.strata]
        self.selected = [_selected(source, stratum) for stratum, source in zip(self.strata, self._sources, strict=True)]
        self.tokens = np.array([self._tokens(index) for index in range(len(self.strata))])
        self.blocks = blocks(block_rows, mixture.phases, seq_len, len(self.strata))
        phases = [(self._at(begin), self._at(end)) for begin, end in places(mixture.phases, seq_len)]
        self.course = replace(
            course(mixture, self.strata, self.tokens),
            begin=(0, *(begin for begin, _ in phases)),
            ramp=(0, *(end - begin for begin, end in phases)),
        )
        self._codes = np.array([source.languages.index(stratum.code) for stratum, source in zip(self.strata, self._sources, strict=True)])
        self._languages = np.array([corpus.languages.index(stratum.code) for stratum in self.strata])
        self.queues = {
            index: Queue(self.lengths(index), int(hash64(seed, zlib.crc32("/".join(filter(None, vars(stratum).values())).encode()))[0]))
            for index, stratum in enumerate(self.strata)
            if self.course.end[:, index].any()
        }
        for index, queue in self.queues.items():
            if queue.tokens != self.tokens[index]:
                raise damaged(
                    self._sources[index].path / "manifest.json",
                    f"it says {self.tokens[index]:,} tokens of {self.strata[index].code}, but its documents have {queue.tokens:,}",
                )
        self._block = lru_cache(maxsize=4)(self._plan)

    def _tokens(self, index: int) -> int:
        if self.selected[index] is None:
            return self._sources[index].tokens(self.strata[index].code)
        return int(self.lengths(index).sum(dtype=np.int64))

    def lengths(self, index: int) -> np.ndarray:
        """Returns the number of tokens of each document of a stratum."""
        lengths, chosen = self._sources[index].lengths(self.strata[index].code), self.selected[index]
        return lengths if chosen is None else lengths[chosen]

    def taken(self, tokens: int) -> np.ndarray:
        """Returns how many of the first `tokens` tokens of the run come from each stratum, float64 (strata,).

        Within a block, whose rows are shuffled, the tokens of a stratum count as evenly spread.
        """
        b = self.blocks.number(tokens // self.seq_len)
        first, end = (row * self.seq_len for row in self.blocks.rows(b))
        begun, ended = (self.course.taken(self._mixed(block)) for block in (b, b + 1))
        return begun + (ended - begun) * (tokens - first) / (end - first)

    def shares(self, tokens: int) -> np.ndarray:
        """Returns the share of each language, (languages,), in the first `tokens` tokens of the run, or at its beginning for 0."""
        of_strata = self.taken(tokens) if tokens else self.course.end[0]
        return np.bincount(self._languages, of_strata, len(self.corpus.languages)) / sum(of_strata.tolist())

    def epochs(self, tokens: int) -> np.ndarray:
        """Returns how often the first `tokens` tokens of the run hold the most repeated documents of each stratum, float64 (strata,).

        A document that passes several filters is read under each of them, and all these readings count.
        """
        passes_of_kinds = self._kinds @ (self.taken(tokens) / np.maximum(1, self.tokens))
        return np.where(self._kinds, passes_of_kinds[:, None], 0.0).max(0)

    def epochs_of_languages(self, tokens: int) -> np.ndarray:
        """Returns the epochs of the most repeated stratum of each language, float64 (languages,)."""
        most = np.zeros(len(self.corpus.languages))
        np.maximum.at(most, self._languages, self.epochs(tokens))
        return most

    @cached_property
    def _kinds(self) -> np.ndarray:
        """Returns the kinds of documents, bool (kinds, strata): documents of one kind are read in the same strata."""
        alike: dict[tuple[str, str], list[int]] = {}  # strata that differ in nothing but their filters
        for index in self.queues:
            alike.setdefault((self.strata[index].source, self.strata[index].code), []).append(index)
        found = [np.zeros((0, len(self.strata)), bool)]
        for (_, code), members in alike.items():
            kinds = _accepted_together([self.selected[index] for index in members], self._sources[members[0]].documents(code))
            found.append(np.zeros((len(kinds), len(self.strata)), bool))
            found[-1][:, members] = kinds
        return np.concatenate(found)

    def unigrams(self, index: int) -> np.ndarray:
        """Returns how often each token id occurs in a stratum, int64 (vocabulary,).

        Under a filter the documents have to be read, so a stratum of more than COUNTED tokens is counted in a random sample of as many.
        """
        if self.selected[index] is None:
            return self._sources[index].unigrams[self._codes[index]]
        sample = self._read(self._pieces_of_queue(index, 0, min(COUNTED, int(self.tokens[index]))))
        return np.bincount(without_marks(np.concatenate(sample, dtype=np.uint32)), minlength=self.corpus.manifest["vocab_size"])

    def __reduce__(self) -> tuple[type, tuple]:
        return Stream, (self.corpus, self.mixture, self.seq_len, self.seed, self.block_rows, self.skip_damaged, self.without)

    def rows(self, start: int, stop: int) -> Rows:
        """Computes rows `start` to `stop`.

        Returns:
            int32 arrays of shape (stop - start, seq_len) by name: "tokens" (`corpus.pad_id` for padding), "segments" (1, 2, … for the
            pieces of a row, 0 for padding), "positions" (from 0 in each segment, 0 for padding), and "languages" (index into
            `corpus.languages`, 0 for padding; ~index for tokens that are read but not learned, as the user's turns of a conversation
            are). Of preferences, a piece has two segments: chosen ones are odd, and the rejected one follows its chosen one. Damaged
            documents that are skipped are padding too, and so are those of `without`.

        Raises:
            ValueError: Unless 0 <= start <= stop.
            DamagedDocument: If a document is damaged and `skip_damaged` is not set.
            OSError: If a disk fails.
        """
        return self._rows(self.pieces(start, stop), np.arange(start, stop))

    def rows_at(self, numbers: np.ndarray) -> Rows:
        """Computes the rows of these numbers, int64 (n,), ascending and each once. They are read together. Returns and raises as `rows`."""
        return self._rows(joined([self.pieces(start, stop) for start, stop in runs(numbers)]), numbers)

    def _rows(self, pieces: Pieces, numbers: np.ndarray) -> Rows:
        """Returns the rows of these numbers, of which `pieces` are."""
        row, n_rows = np.searchsorted(numbers, pieces.row), len(numbers)
        ends = np.searchsorted(row, np.arange(n_rows), side="right")  # where each row's pieces end; its padding, if any, goes there
        padding = self.seq_len - np.bincount(row, pieces.size, n_rows).astype(np.int64)
        sizes = np.insert(pieces.size, ends, padding)

        def spread(of_pieces: np.ndarray) -> np.ndarray:
            return np.repeat(np.insert(of_pieces, ends, 0).astype(np.int32), sizes).reshape(n_rows, self.seq_len)

        segments = spread(1 + np.arange(len(row)) - np.searchsorted(row, row))
        begins = np.cumsum(sizes) - sizes
        positions = (np.arange(segments.size, dtype=np.int32) - np.repeat(begins.astype(np.int32), sizes)).reshape(segments.shape)
        texts = self._read(pieces)
        lost = np.array([len(text) == 0 for text in texts], bool)  # damaged or removed documents
        for at in np.flatnonzero(lost).tolist():
            texts[at] = np.full(pieces.size[at], self.corpus.pad_id)
        for r in np.flatnonzero(padding)[::-1].tolist():
            texts.insert(ends[r], np.full(padding[r], self.corpus.pad_id))
            positions[r, -padding[r] :] = 0
        ids = np.empty(segments.shape, np.uint32)
        np.concatenate([np.empty(0, np.uint32), *texts], out=ids.reshape(-1), casting="unsafe")  # because the padding is signed
        rows = {"tokens": ids, "segments": segments, "positions": positions, "languages": spread(self._languages[pieces.stratum])}
        if any(source.is_chat for source in self._sources):
            rows = unmarked(rows, any(source.has_preferences for source in self._sources))
        if lost.any():
            stays = spread(~lost)
            rows |= {name: rows[name] * stays for name in ("segments", "positions", "languages")}
        return {**rows, "tokens": rows["tokens"].view(np.int32)}

    def documents(self, start: int, stop: int) -> Iterator[Piece]:
        """Returns the pieces of documents that lie in rows `start` to `stop`, in the order of the rows' tokens."""
        return self.named(self.pieces(start, stop))

    def named(self, pieces: Pieces) -> Iterator[Piece]:
        """Yields pieces one by one, with the names of their sources and languages."""
        columns = (column.tolist() for column in vars(pieces).values())
        for row, stratum, document, begin, size, epoch in zip(*columns, strict=True):
            yield Piece(row, self.strata[stratum].source, self.strata[stratum].code, document, begin, size, epoch)

    def _read(self, pieces: Pieces) -> list[np.ndarray]:
        """Returns the tokens of each piece, none for a damaged document that is skipped or for one that `without` names.

        Ids of conversations have marks, in 32 bits. Nothing is learned of a conversation whose beginning is in another row, or of a
        preference that is not whole.
        """
        texts: list[np.ndarray] = [np.empty(0, np.uint32)] * len(pieces.document)
        gone = self.are_gone(pieces)
        for source in {id(source): source for source in self._sources}.values():
            of_source = np.array([other is source for other in self._sources])
            members = np.flatnonzero(of_source[pieces.stratum] & ~gone)
            whole = source.read(self._codes[pieces.stratum[members]], pieces.document[members], self.skip_damaged)
            begins, ends = pieces.begin[members], (pieces.begin + pieces.size)[members]
            for at, text, begin, end in zip(members.tolist(), whole, begins.tolist(), ends.tolist(), strict=True):
                texts[at] = text[begin:end]
                if source.is_chat:
                    is_whole = begin == 0 and end == len(text)
                    texts[at] = widened(texts[at], learns=is_whole if source.has_preferences else begin == 0)
        return texts

    def are_gone(self, pieces: Pieces) -> np.ndarray:
        """Returns whether each piece is of a document that `without` names, bool (pieces,)."""
        gone = np.zeros(len(pieces.document), bool)
        for index, stratum in enumerate(self.strata if self.without.documents else ()):
            if (numbers := self.without.documents.get((stratum.source, stratum.code))) is not None:
                gone |= (pieces.stratum == index) & np.isin(pieces.document, numbers)
        return gone

    def pieces(self, start: int, stop: int) -> Pieces:
        """Returns the pieces of documents that lie in rows `start` to `stop`, in the order of the rows' tokens.

        Raises:
            ValueError: Unless 0 <= start <= stop.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"rows {start} to {stop}: expected 0 <= start <= stop")
        found = []
        for b in range(self.blocks.number(start), self.blocks.number(stop - 1) + 1 if stop > start else 0):
            block = self._block(b)
            found.append(block[slice(*np.searchsorted(block.row, [start, stop]))])
        return joined(found)

    def _plan(self, b: int) -> Pieces:
        """Returns the pieces of block b."""
        begins = self.taken_before(b)
        ends = np.maximum(begins, self.taken_before(b + 1))  # on a ramp to 0, rounding may let the integral decrease
        arrived = [self._pieces_of_queue(index, int(begins[index]), int(ends[index])) for index in self.queues]
        order = np.argsort(np.concatenate([part.arrival for part in arrived]), kind="stable")
        pieces = joined(arrived)[order]
        # In the order of the rows, too, an epoch of a stratum must end before the next one begins. So a new stretch begins wherever an
        # epoch does.
        new_epoch = np.concatenate([np.diff(part.epoch, prepend=part.epoch[:1]) > 0 for part in arrived])[order]
        return self._lay_out(b, pieces, np.concatenate([[0], np.flatnonzero(new_epoch), [len(order)]]))

    def _pieces_of_queue(self, index: int, begin: int, end: int) -> Pieces:
        """Returns tokens `begin` to `end` of the queue of a stratum. They have no row yet."""
        took = self.queues[index].take(begin, end)
        same = np.full(len(took.size), index)
        chosen = self.selected[index]
        document = took.document if chosen is None else chosen[took.document].astype(np.int64)
        return Pieces(np.zeros_like(same), same, document, took.begin, took.size, took.epoch)

    def _mixed(self, b: int) -> int:
        """Returns the number of tokens in all blocks before b, less one per block and stratum, since rounding may add one of each."""
        return self.blocks.rows(b)[0] * self.seq_len - b * len(self.strata)

    def _at(self, row: int) -> int:
        """Returns `_mixed` for the block that begins with this row."""
        return self._mixed(self.blocks.number(row))

    def taken_before(self, b: int) -> np.ndarray:
        """Returns the number of tokens of each stratum in all blocks before b, int64 (strata,)."""
        return self.course.taken(self._mixed(b)).astype(np.int64)

    def _lay_out(self, b: int, pieces: Pieces, bounds: np.ndarray) -> Pieces:
        """Puts the pieces into the rows of block b, one stretch after the other. Stretch s consists of pieces bounds[s] to bounds[s + 1].

        Each stretch begins where the previous one ended, which may be in the middle of a row. Its pieces are packed and its rows
        shuffled, unless it is shorter than a row.
        """
        begin_row, end_row = self.blocks.rows(b)
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


def _selected(source: Corpus, stratum: Stratum) -> np.ndarray | None:
    """Returns the documents of a stratum's language that its filter accepts, or None if there is no filter."""
    if not stratum.where:
        return None
    from varietas.data.corpus.index import selected  # imports pyarrow, which a stream without filters does not need

    return selected(source, stratum.code, stratum.where, cache_folder())


def _accepted_together(selections: list[np.ndarray | None], n_documents: int) -> list[list[bool]]:
    """Returns every set of filters that some document passes, as a truth value for each filter.

    Args:
        selections: The documents that each filter accepts; None for all.
        n_documents: Number of documents that the filters have been applied to.
    """
    if len(selections) == 1:
        return [[True]]
    passed = np.zeros(n_documents, np.min_scalar_type((1 << len(selections)) - 1))  # a bit for each filter
    for bit, chosen in enumerate(selections):
        passed[slice(None) if chosen is None else chosen] |= 1 << bit
    return [[bits >> bit & 1 == 1 for bit in range(len(selections))] for bits in np.unique(passed).tolist()]
