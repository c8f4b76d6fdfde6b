"""Packing and the stream on corpora drawn at random and on awkward ones, against the definition counted out token by token."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from varietas.data.mixture import Mixture
from varietas.data.packing import pack
from varietas.data.stream import Stream, spread

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


def stream_of(of: dict[str, np.ndarray], seq_len: int, block_tokens: int, mixture: Mixture, seed: int = 0) -> Stream:
    return Stream(Numbered(of), mixture, seq_len, seed, block_tokens)  # type: ignore[arg-type]


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
    stream = stream_of(of, seq_len, int(rng.integers(500, 20_000)), Mixture(float(rng.uniform(0, 1))), seed)
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
    assert not real.all() and (rows["tokens"][~real] == PAD).all()
    assert not any(rows[name][~real].any() for name in ("segments", "positions", "languages"))

    for start in rng.integers(0, n_rows - 1, 5):
        stop = int(rng.integers(start + 1, min(n_rows, start + 40) + 1))
        fresh = stream_of(of, seq_len, stream.block_tokens, stream.mixture, seed).rows(start, stop)
        assert all(np.array_equal(fresh[name], rows[name][start:stop]) for name in rows)


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    """Rank correlation of independent orders of n documents is about 1 / sqrt(n); also with the order on disk."""
    n = 1000
    orders = [np.arange(n)]
    for seed in (0, 1):
        stream = stream_of({"ces_Latn": np.full(n, 50)}, 64, 1 << 17, Mixture(), seed)
        pieces = [piece for piece in stream.documents(0, 4000) if piece.begin == 0]
        orders += [np.array([piece.document for piece in pieces if piece.epoch == epoch]) for epoch in range(3)]
    ranks = [np.argsort(order) for order in orders]
    assert all(len(order) == n for order in orders)
    for a in range(len(ranks)):
        for b in range(a):
            assert abs(np.corrcoef(ranks[a], ranks[b])[0, 1]) < 4.5 / np.sqrt(n)


@pytest.mark.parametrize(
    "lengths",
    [[510] * 9 + [5], [510] * 3 + [5], [512] * 9 + [5], [1024, 1024, 3], [300], [300, 300], [257] * 7, [513]],
    ids=lambda lengths: f"{len(lengths)}x{lengths[0]}",
)
def test_padding_is_little_where_documents_repeat_and_do_not_fit(lengths: list[int]) -> None:
    """Rows that an epoch's end leaves behind are filled: a corpus of ten documents has as many ends as rows to lose."""
    rows = stream_of({"ces_Latn": np.array(lengths)}, 512, 200 * 512, Mixture()).rows(0, 500)
    assert (rows["segments"] == 0).mean() < 0.02


def test_shares_hold_in_every_thousand_rows_though_documents_are_long() -> None:
    rng = np.random.default_rng(1)
    of = {"ces_Latn": rng.pareto(1.3, 20_000), "mlt_Latn": rng.pareto(1.3, 500)}
    of = {code: np.clip(100 * draw, 2, 40_000).astype(np.uint32) for code, draw in of.items()}
    stream = stream_of(of, 512, 1 << 19, Mixture(weights="ces_Latn:0.8, mlt_Latn:0.2"))
    rows = stream.rows(0, 6000)
    real = rows["segments"] > 0
    for start in range(0, 5000, 250):
        here = slice(start, start + 1000)
        assert abs(rows["languages"][here][real[here]].mean() - 0.2) < 0.02
        assert 1 - real[here].mean() < 0.02


def test_spread_puts_each_group_evenly_over_the_whole() -> None:
    """Of a group of n, any first part x of the order holds n x, to within one."""
    rng = np.random.default_rng(0)
    groups = rng.choice(4, 2000, p=[0.7, 0.2, 0.09, 0.01])
    place = spread(groups, rng.integers(0, 1 << 63, 2000, dtype=np.uint64))
    for group in range(4):
        mine = np.sort(place[groups == group])
        n = len(mine)
        assert (np.floor(mine * n) == np.arange(n)).all()
    assert abs(np.corrcoef(place, np.arange(2000))[0, 1]) < 0.1


@pytest.mark.parametrize("seed", range(40))
def test_packing_loses_nothing_and_pads_little(seed: int) -> None:
    """All rows but one are full to a hundredth: the one that can be carried on, so not the row that was handed in."""
    rng = np.random.default_rng(seed)
    row_len = int(rng.integers(8, 600))
    opened = int(rng.integers(0, row_len)) if seed % 2 else 0
    kind = seed // 2 % 4
    n = int(rng.integers(1, 400))
    lengths = [
        np.ceil(rng.lognormal(np.log(row_len / 3), 1.2, n)).astype(int),
        np.full(n, max(1, row_len * 6 // 10)),
        rng.integers(1, 3, n) * row_len,
        np.where(rng.random(n) < 0.9, row_len - 1, rng.integers(1, row_len, n)),
    ][kind]
    pieces = pack(lengths, row_len, opened)
    tokens = np.concatenate([np.arange(b, b + s) + (d << 40) for d, b, s in zip(pieces.document, pieces.begin, pieces.size, strict=True)])
    assert np.array_equal(np.sort(tokens), np.concatenate([np.arange(s) + (d << 40) for d, s in enumerate(lengths.tolist())]))
    used = np.bincount(pieces.row, pieces.size)
    used[0] += opened
    assert used.min() > 0 and used.max() <= row_len
    carried_on = used[1:] if opened and len(used) > 1 else used
    assert (row_len - used).sum() - (row_len - carried_on.min()) <= 0.01 * (lengths.sum() + opened)


def test_a_gap_that_fits_is_used() -> None:
    """Best fit: 6 goes beside 4, not beside 3 of 10, and 7 beside 3; nothing is cut."""
    pieces = pack(np.array([4, 3, 7, 6]), 10)
    together = [{int(d) for d in pieces.document[pieces.row == row]} for row in range(2)]
    assert sorted(map(sorted, together)) == [[0, 3], [1, 2]] and len(pieces.row) == 4
