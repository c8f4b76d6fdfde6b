"""The stream on corpora drawn at random and on awkward ones, against the definition counted out token by token."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from varietas.data.mixture import Mixture
from varietas.data.stream import Stream, shuffle

PAD = -1
CODES = ("ces_Latn", "est_Latn", "gle_Latn", "mlt_Latn", "slk_Latn")


@dataclass
class Numbered:
    """A corpus in which every token of a language has a number of its own, counted through its documents."""

    of: dict[str, np.ndarray]
    pad_id: int = PAD
    languages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.languages = tuple(self.of)
        self._first = {code: np.cumsum(lengths) - lengths for code, lengths in self.of.items()}

    def documents(self, code: str) -> int:
        return len(self.of[code])

    def tokens(self, code: str) -> int:
        return int(self.of[code].sum())

    def lengths(self, code: str) -> np.ndarray:
        return self.of[code]

    def read(self, languages: np.ndarray, documents: np.ndarray) -> list[np.ndarray]:
        codes = [self.languages[language] for language in languages]
        return [self._first[code][d] + np.arange(self.of[code][d]) for code, d in zip(codes, documents, strict=True)]


def stream_of(of: dict[str, np.ndarray], seq_len: int, block_rows: int, mixture: Mixture, seed: int = 0) -> Stream:
    return Stream(Numbered(of), mixture, seq_len, seed, block_rows)  # type: ignore[arg-type]


def random_corpus(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One to five languages of 1 to 60 documents; lengths from a few tokens to several rows."""
    return {
        code: np.clip(rng.lognormal(np.log(rng.integers(5, 200)), rng.uniform(0, 1.5), rng.integers(1, 60)), 2, 5000).astype(np.uint32)
        for code in CODES[: rng.integers(1, 6)]
    }


@pytest.mark.parametrize("seed", range(12))
def test_every_token_once_an_epoch_and_every_epoch_whole(seed: int) -> None:
    """In reading order a language's tokens are all of its tokens, then all of them again; segments are whole pieces."""
    rng = np.random.default_rng(seed)
    of = random_corpus(rng)
    seq_len = int(rng.integers(16, 300))
    stream = stream_of(of, seq_len, int(rng.integers(3, 200)), Mixture(float(rng.uniform(0, 1))), seed)
    n_rows = 60_000 // seq_len
    rows = stream.rows(0, n_rows)
    real = rows["segments"] > 0
    for index, code in enumerate(of):
        tokens, total = rows["tokens"][real & (rows["languages"] == index)], int(of[code].sum())
        epochs = [tokens[at : at + total] for at in range(0, len(tokens), total)]
        assert len(epochs) > 1
        for epoch in epochs[:-1]:
            assert np.array_equal(np.sort(epoch), np.arange(total))
        assert len(np.unique(epochs[-1])) == len(epochs[-1])  # where we stopped reading, none has come twice

    starts = real & (rows["positions"] == 0)
    assert np.array_equal(np.cumsum(starts, 1) * real, rows["segments"])
    inner = real[:, 1:] & ~starts[:, 1:]
    for name, step in (("positions", 1), ("tokens", 1), ("languages", 0), ("segments", 0)):
        assert (np.diff(rows[name], axis=1)[inner] == step).all()
    assert (np.diff(real.astype(int), axis=1) <= 0).all()  # padding at the end of a row only
    assert real.mean() > 0.98 and (rows["tokens"][~real] == PAD).all()
    assert not any(rows[name][~real].any() for name in ("segments", "positions", "languages"))

    for start in rng.integers(0, n_rows - 1, 5):
        stop = int(rng.integers(start + 1, min(n_rows, start + 40) + 1))
        fresh = stream_of(of, seq_len, stream.block_rows, stream.mixture, seed).rows(start, stop)
        assert all(np.array_equal(fresh[name], rows[name][start:stop]) for name in rows)


@pytest.mark.parametrize(
    "lengths",
    [[510] * 9 + [5], [510] * 3 + [5], [512] * 9 + [5], [1024, 1024, 3], [300], [300, 300], [257] * 7, [513]],
    ids=lambda lengths: f"{len(lengths)}x{lengths[0]}",
)
def test_rows_are_full_where_documents_repeat_and_do_not_fit(lengths: list[int]) -> None:
    """Also where epochs end in the middle of rows: a corpus of ten documents has as many ends as rows to lose."""
    rows = stream_of({"ces_Latn": np.array(lengths)}, 512, 200, Mixture()).rows(0, 500)
    assert (rows["segments"] == 0).mean() < 1e-4


def test_shares_hold_in_every_thousand_rows_though_documents_are_long() -> None:
    rng = np.random.default_rng(1)
    of = {"ces_Latn": rng.pareto(1.3, 20_000), "mlt_Latn": rng.pareto(1.3, 500)}
    of = {code: np.clip(100 * draw, 2, 40_000).astype(np.uint32) for code, draw in of.items()}
    stream = stream_of(of, 512, 1000, Mixture(weights="ces_Latn:0.8, mlt_Latn:0.2"))
    rows = stream.rows(0, 6000)
    real = rows["segments"] > 0
    for start in range(0, 5000, 250):
        here = slice(start, start + 1000)
        assert abs(rows["languages"][here][real[here]].mean() - 0.2) < 0.02
        assert 1 - real[here].mean() < 0.02


def test_a_corpus_of_a_few_tokens_repeats_at_once() -> None:
    """A hundred thousand epochs of a language in a block take no longer than a second or so."""
    of = {"ces_Latn": np.array([2]), "mlt_Latn": np.array([3, 9, 1])}
    rows = stream_of(of, 128, 2048, Mixture(weights="ces_Latn:1,mlt_Latn:3")).rows(0, 64)
    assert (rows["segments"] > 0).all() and set(np.unique(rows["tokens"][rows["languages"] == 0]).tolist()) == {0, 1}


def test_shuffle_puts_each_group_evenly_over_the_whole() -> None:
    """Of a group of n, any first part x of the order holds n x, to within one and the places that the others leave."""
    rng = np.random.default_rng(0)
    groups = rng.choice(4, 2000, p=[0.7, 0.2, 0.09, 0.01])
    place = shuffle(groups, rng.integers(0, 1 << 63, 2000, dtype=np.uint64), first_stays=True, last_stays=True)
    assert np.array_equal(np.sort(place), np.arange(2000)) and place[0] == 0 and place[-1] == 1999
    for group in range(4):
        mine = np.sort(place[groups == group])
        n = len(mine)
        assert np.abs((mine + 0.5) / 2000 - (np.arange(n) + 0.5) / n).max() < 1.5 / n + 0.005
    assert abs(np.corrcoef(place, np.arange(2000))[0, 1]) < 0.1
