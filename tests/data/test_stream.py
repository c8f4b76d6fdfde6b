"""The rows: a pure function of corpus, mixture and seed."""

import pickle
import tracemalloc
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from varietas.data.corpus import Corpus
from varietas.data.loader import batches
from varietas.data.mixture import Mixture
from varietas.data.stream import Stream

L = 128


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    return Corpus(corpus_folder)


@dataclass
class Lengths:
    """A corpus of lengths alone; the tokens of a document are its number, again and again."""

    of: dict[str, np.ndarray]
    pad_id: int = 3
    languages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.languages = tuple(self.of)

    def documents(self, code: str) -> int:
        return len(self.of[code])

    def tokens(self, code: str) -> int:
        return int(self.of[code].sum())

    def lengths(self, code: str) -> np.ndarray:
        return self.of[code]

    def read(self, languages: np.ndarray, documents: np.ndarray) -> list[np.ndarray]:
        return [np.full(self.of[self.languages[i]][d], d) for i, d in zip(languages, documents, strict=True)]


def lognormal(n: int, median: float, sigma: float, seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).lognormal(np.log(median), sigma, n), 2, None).astype(np.uint32)


def small(weights: str = "", block_rows: int = 150) -> Stream:
    """Three languages of very different size; about fourteen blocks an epoch of the largest."""
    lengths = {"ces_Latn": lognormal(900, 200, 1, 0), "fin_Latn": lognormal(40, 300, 0.5, 1), "mlt_Latn": lognormal(1, 500, 0, 2)}
    return Stream(Lengths(lengths), Mixture(0.5, weights), L, seed=7, block_rows=block_rows)  # type: ignore[arg-type]


def test_a_row_is_the_same_however_it_is_read(corpus: Corpus) -> None:
    stream = Stream(corpus, Mixture(0.5), L, seed=1, block_rows=400)
    together = stream.rows(0, 1200)
    fresh = Stream(corpus, Mixture(0.5), L, seed=1, block_rows=400)
    for start, stop in ((1199, 1200), (400, 417), (0, 1), (390, 400)):  # backwards
        alone = fresh.rows(start, stop)
        assert all(np.array_equal(alone[name], together[name][start:stop]) for name in together)
    copied = pickle.loads(pickle.dumps(stream)).rows(700, 720)
    assert all(np.array_equal(copied[name], together[name][700:720]) for name in together)
    assert not np.array_equal(Stream(corpus, Mixture(0.5), L, seed=2).rows(0, 9)["tokens"], together["tokens"][:9])


@pytest.mark.parametrize("block_rows", [150, 800, 32_768])
def test_every_document_once_an_epoch_and_in_order(block_rows: int) -> None:
    """Each epoch's tokens all come, once, before the next epoch of the language begins; none is lost between blocks."""
    stream = small(block_rows=block_rows)
    pieces = list(stream.documents(0, max(6000, block_rows)))
    runs: dict[tuple[str, int], dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, piece in enumerate(pieces):
        runs[piece.language, piece.epoch][piece.document].append((piece.begin, piece.size))
        places[piece.language, piece.epoch].append(place)
    assert max(epoch for _, epoch in runs) > 3
    for (language, epoch), documents in runs.items():
        lengths = stream.corpus.lengths(language)
        if (language, epoch + 1) in runs:
            assert sorted(documents) == list(range(len(lengths)))
            assert max(places[language, epoch]) < min(places[language, epoch + 1])
        for document, parts in documents.items() if (language, epoch + 1) in runs else ():
            ends = np.cumsum([size for _, size in sorted(parts)])
            assert [begin for begin, _ in sorted(parts)] == [0, *ends[:-1]] and ends[-1] == lengths[document]


def test_documents_keep_to_themselves(corpus: Corpus) -> None:
    """Segments, positions, languages and tokens are those of the documents that the stream says are there."""
    stream = Stream(corpus, Mixture(0.3), L, seed=0)
    rows = stream.rows(10, 60)
    filled = np.zeros(rows["tokens"].shape, bool)
    at, segment = np.zeros(50, int), np.zeros(50, int)
    for piece in stream.documents(10, 60):
        r = piece.row - 10
        here = slice(at[r], at[r] + piece.size)
        segment[r] += 1
        index = corpus.languages.index(piece.language)
        text = corpus.read(np.array([index]), np.array([piece.document]))[0]
        assert np.array_equal(rows["tokens"][r, here], text[piece.begin : piece.begin + piece.size])
        assert (rows["segments"][r, here] == segment[r]).all() and (rows["languages"][r, here] == index).all()
        assert np.array_equal(rows["positions"][r, here], np.arange(piece.size))
        filled[r, here] = True
        at[r] += piece.size
    assert np.array_equal(filled, rows["segments"] > 0) and (rows["tokens"][~filled] == corpus.pad_id).all()


TWO = {"deu_Latn": lognormal(20_000, 400, 1.5, 3), "slv_Latn": lognormal(3000, 900, 1.5, 4)}


@pytest.mark.parametrize("start", [0, 777, 20_000])
@pytest.mark.parametrize("case", ["embedded", "heavy tails", "one document"])
def test_shares_and_padding_over_a_thousand_rows(case: str, start: int, corpus: Corpus) -> None:
    stream = {
        "embedded": lambda: Stream(corpus, Mixture(0.3), L, 0),
        "heavy tails": lambda: Stream(Lengths(TWO), Mixture(weights="deu_Latn:0.8,slv_Latn:0.2"), 512, 0),  # type: ignore[arg-type]
        "one document": lambda: small("ces_Latn:5,fin_Latn:4,mlt_Latn:1", 32_768),
    }[case]()
    rows = stream.rows(start, start + 1000)
    real = rows["segments"] > 0
    seen = np.bincount(rows["languages"][real], minlength=len(stream.shares)) / real.sum()
    assert np.abs(seen - stream.shares).max() < 0.02
    assert 1 - real.mean() < 0.001


def test_a_language_without_weight_never_comes(corpus: Corpus) -> None:
    stream = Stream(corpus, Mixture(weights="ces_Latn:1,fin_Latn:0"), L, 0)
    assert {piece.language for piece in stream.documents(0, 500)} == {"ces_Latn"}


def test_a_document_longer_than_a_block() -> None:
    stream = Stream(Lengths({"ces_Latn": np.array([50_000, 10, 10], np.uint32)}), Mixture(), L, 0, block_rows=8)  # type: ignore[arg-type]
    first = [piece for piece in stream.documents(0, 400) if piece.epoch == 0]
    assert sum(piece.size for piece in first) == 50_020


def test_far_into_a_large_corpus_at_once() -> None:
    """Row ten billion of five million documents: what is held does not grow with the corpus, nor with the row."""
    stream = Stream(Lengths({"eng_Latn": lognormal(5_000_000, 500, 1, 5)}), Mixture(), 4096, 0)  # type: ignore[arg-type]
    far = list(stream.documents(10**10, 10**10 + 1))
    assert sum(piece.size for piece in far) == 4096 and far[0].epoch > 9000
    tracemalloc.start()
    stream.rows(10_000, 10_001)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_language_so_small_that_most_blocks_lack_it() -> None:
    """A share of one token in 100,000, blocks of 19,200: it comes, and as much as it should."""
    stream = small("ces_Latn:1,mlt_Latn:0.00001")
    tokens = sum(piece.size for piece in stream.documents(0, 150 * 100) if piece.language == "mlt_Latn")
    assert abs(tokens - 19.2) < 1


def test_rows_that_cannot_be() -> None:
    stream = small()
    assert stream.rows(7, 7)["tokens"].shape == (0, L)
    for start, stop in ((-1, 3), (3, 1)):
        with pytest.raises(ValueError, match="0 <= start <= stop"):
            stream.rows(start, stop)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_loader_reads_the_stream_from_any_step(corpus: Corpus, workers: int) -> None:
    stream = Stream(corpus, Mixture(0.5), L, seed=0)
    expected = stream.rows(3 * 8, 8 * 8)
    got = list(batches(stream, 8, 3, 8, workers=workers))
    assert len(got) == 5
    assert all(np.array_equal(np.concatenate([batch[name] for batch in got]), expected[name]) for name in expected)


def test_hosts_read_parts_of_the_same_batches(corpus: Corpus) -> None:
    stream = Stream(corpus, Mixture(0.5), L, seed=0)
    halves = [list(batches(stream, 8, 0, 3, local=part)) for part in ((0, 4), (4, 8))]
    whole = list(batches(stream, 8, 0, 3))
    for step in range(3):
        assert np.array_equal(np.concatenate([half[step]["tokens"] for half in halves]), whole[step]["tokens"])
