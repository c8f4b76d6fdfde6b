"""The rows are a pure function of corpus, mixture and seed."""

import pickle
import tracemalloc
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from varietas.data.corpus.corpus import Corpus
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import BLOCK_ROWS, Stream

L = 128
PAD = -1
CODES = ("ces_Latn", "est_Latn", "gle_Latn", "mlt_Latn", "slk_Latn")


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    return Corpus(corpus_folder)


@dataclass
class Numbered:
    """A corpus in which every token of a language has its own number, counted through all documents."""

    of: dict[str, np.ndarray]
    pad_id: int = PAD
    languages: tuple[str, ...] = field(init=False)

    is_chat = False

    def __post_init__(self) -> None:
        self.languages = tuple(self.of)
        self._first = {code: np.cumsum(lengths) - lengths for code, lengths in self.of.items()}

    def documents(self, code: str) -> int:
        return len(self.of[code])

    def tokens(self, code: str) -> int:
        return int(self.of[code].sum())

    def lengths(self, code: str) -> np.ndarray:
        return self.of[code]

    def read(self, languages: np.ndarray, documents: np.ndarray, skip: bool = False) -> list[np.ndarray]:
        codes = [self.languages[language] for language in languages]
        return [self._first[code][d] + np.arange(self.of[code][d]) for code, d in zip(codes, documents, strict=True)]


def stream_of(
    of: dict[str, np.ndarray], mixture: Mixture | None = None, seq_len: int = L, block_rows: int = BLOCK_ROWS, seed: int = 0
) -> Stream:
    return Stream(Numbered(of), mixture or Mixture(), seq_len, seed, block_rows)  # type: ignore[arg-type]


def lognormal(n: int, median: float, sigma: float, seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).lognormal(np.log(median), sigma, n), 2, None).astype(np.uint32)


def small(weights: str = "", block_rows: int = 150) -> Stream:
    """Returns a stream of three languages of very different sizes, with about fourteen blocks per epoch of the largest."""
    lengths = {"ces_Latn": lognormal(900, 200, 1, 0), "fin_Latn": lognormal(40, 300, 0.5, 1), "mlt_Latn": lognormal(1, 500, 0, 2)}
    return stream_of(lengths, Mixture(0.5, weights), block_rows=block_rows, seed=7)


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
def test_epochs_are_complete_and_in_order(block_rows: int) -> None:
    """All tokens of an epoch come once before the next epoch of the language begins. None is lost between blocks."""
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


def test_rows_hold_the_pieces_that_documents_names(corpus: Corpus) -> None:
    """Segments, positions, languages and tokens are those of the pieces that `Stream.documents` yields."""
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
def test_a_thousand_rows_have_the_wanted_shares_and_little_padding(case: str, start: int, corpus: Corpus) -> None:
    stream = {
        "embedded": lambda: Stream(corpus, Mixture(0.3), L, 0),
        "heavy tails": lambda: stream_of(TWO, Mixture(weights="deu_Latn:0.8,slv_Latn:0.2"), 512),
        "one document": lambda: small("ces_Latn:5,fin_Latn:4,mlt_Latn:1", 32_768),
    }[case]()
    rows = stream.rows(start, start + 1000)
    real = rows["segments"] > 0
    seen = np.bincount(rows["languages"][real], minlength=len(stream.corpus.languages)) / real.sum()
    assert np.abs(seen - stream.shares(0)).max() < 0.02
    assert 1 - real.mean() < 0.001


def test_a_language_without_weight_never_appears(corpus: Corpus) -> None:
    stream = Stream(corpus, Mixture(weights="ces_Latn:1,fin_Latn:0"), L, 0)
    assert {piece.language for piece in stream.documents(0, 500)} == {"ces_Latn"}


def test_a_document_longer_than_a_block_loses_nothing() -> None:
    stream = stream_of({"ces_Latn": np.array([50_000, 10, 10])}, block_rows=8)
    first = [piece for piece in stream.documents(0, 400) if piece.epoch == 0]
    assert sum(piece.size for piece in first) == 50_020


def test_distant_rows_of_a_large_corpus_need_little_memory() -> None:
    """For row ten billion and five million documents, memory grows neither with the corpus nor with the number of the row."""
    stream = stream_of({"eng_Latn": lognormal(5_000_000, 500, 1, 5)}, seq_len=4096)
    far = list(stream.documents(10**10, 10**10 + 1))
    assert sum(piece.size for piece in far) == 4096 and far[0].epoch > 9000
    tracemalloc.start()
    list(stream.documents(10_000, 10_032))
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_share_of_less_than_a_token_per_block_is_met() -> None:
    """With a share of one token in 100,000 and blocks of 19,200 tokens, the language appears as often as it should."""
    stream = small("ces_Latn:1,mlt_Latn:0.00001")
    tokens = sum(piece.size for piece in stream.documents(0, 150 * 100) if piece.language == "mlt_Latn")
    assert abs(tokens - 19.2) < 1


def test_impossible_rows_are_refused() -> None:
    stream = small()
    assert stream.rows(7, 7)["tokens"].shape == (0, L)
    for start, stop in ((-1, 3), (3, 1)):
        with pytest.raises(ValueError, match="0 <= start <= stop"):
            stream.rows(start, stop)


def random_corpus(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns one to five languages of 1 to 60 documents, with lengths from a few tokens to several rows."""
    return {
        code: np.clip(rng.lognormal(np.log(rng.integers(5, 200)), rng.uniform(0, 1.5), rng.integers(1, 60)), 2, 5000).astype(np.uint32)
        for code in CODES[: rng.integers(1, 6)]
    }


@pytest.mark.parametrize("seed", range(12))
def test_every_epoch_has_every_token_once(seed: int) -> None:
    """In reading order, all tokens of a language come once, then all of them again. Segments are whole pieces."""
    rng = np.random.default_rng(seed)
    of = random_corpus(rng)
    seq_len = int(rng.integers(16, 300))
    stream = stream_of(of, Mixture(float(rng.uniform(0, 1))), seq_len, int(rng.integers(3, 200)), seed)
    n_rows = 60_000 // seq_len
    rows = stream.rows(0, n_rows)
    real = rows["segments"] > 0
    for index, code in enumerate(of):
        tokens, total = rows["tokens"][real & (rows["languages"] == index)], int(of[code].sum())
        epochs = [tokens[at : at + total] for at in range(0, len(tokens), total)]
        assert len(epochs) > 1
        for epoch in epochs[:-1]:
            assert np.array_equal(np.sort(epoch), np.arange(total))
        assert len(np.unique(epochs[-1])) == len(epochs[-1])  # the last epoch is incomplete, but none of its tokens has come twice

    starts = real & (rows["positions"] == 0)
    assert np.array_equal(np.cumsum(starts, 1) * real, rows["segments"])
    inner = real[:, 1:] & ~starts[:, 1:]
    for name, step in (("positions", 1), ("tokens", 1), ("languages", 0), ("segments", 0)):
        assert (np.diff(rows[name], axis=1)[inner] == step).all()
    assert (np.diff(real.astype(int), axis=1) <= 0).all()  # padding is only at the end of a row
    assert real.mean() > 0.98 and (rows["tokens"][~real] == PAD).all()
    assert not any(rows[name][~real].any() for name in ("segments", "positions", "languages"))

    for start in rng.integers(0, n_rows - 1, 5):
        stop = int(rng.integers(start + 1, min(n_rows, start + 40) + 1))
        fresh = stream_of(of, stream.mixture, seq_len, stream.block_rows, seed).rows(start, stop)
        assert all(np.array_equal(fresh[name], rows[name][start:stop]) for name in rows)


@pytest.mark.parametrize(
    "lengths",
    [[510] * 9 + [5], [510] * 3 + [5], [512] * 9 + [5], [1024, 1024, 3], [300], [300, 300], [257] * 7, [513]],
    ids=lambda lengths: f"{len(lengths)}x{lengths[0]}",
)
def test_rows_are_full_even_if_documents_fit_badly(lengths: list[int]) -> None:
    """Holds also if epochs end in the middle of rows. In a corpus of ten documents, that could waste nearly every row."""
    rows = stream_of({"ces_Latn": np.array(lengths)}, seq_len=512, block_rows=200).rows(0, 500)
    assert (rows["segments"] == 0).mean() < 1e-4


def test_shares_hold_in_every_thousand_rows_of_long_documents() -> None:
    rng = np.random.default_rng(1)
    of = {"ces_Latn": rng.pareto(1.3, 20_000), "mlt_Latn": rng.pareto(1.3, 500)}
    of = {code: np.clip(100 * draw, 2, 40_000).astype(np.uint32) for code, draw in of.items()}
    stream = stream_of(of, Mixture(weights="ces_Latn:0.8, mlt_Latn:0.2"), 512, 1000)
    rows = stream.rows(0, 6000)
    real = rows["segments"] > 0
    for start in range(0, 5000, 250):
        here = slice(start, start + 1000)
        assert abs(rows["languages"][here][real[here]].mean() - 0.2) < 0.02
        assert 1 - real[here].mean() < 0.02


def test_a_corpus_of_a_few_tokens_repeats_quickly() -> None:
    """A hundred thousand epochs of a language in one block take about a second at most."""
    of = {"ces_Latn": np.array([2]), "mlt_Latn": np.array([3, 9, 1])}
    rows = stream_of(of, Mixture(weights="ces_Latn:1,mlt_Latn:3")).rows(0, 64)
    assert (rows["segments"] > 0).all() and set(np.unique(rows["tokens"][rows["languages"] == 0]).tolist()) == {0, 1}
