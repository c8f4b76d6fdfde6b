"""Packing documents into rows: every token comes once, every row is full, and few documents are cut."""

import numpy as np
import pytest

from varietas.data.stream.packing import Packed, fill, pack

RNG = np.random.default_rng(0)
LENGTHS = {
    "short": np.clip(RNG.lognormal(np.log(60), 1, 3000), 1, None).astype(np.int64),
    "long": np.clip(RNG.lognormal(np.log(3000), 1, 500), 1, None).astype(np.int64),
    "six tenths": np.full(1000, 154),
    "nearly a row": np.full(1000, 255),
    "one": np.array([5]),
    "row by row": np.full(10, 256),
    "huge": np.array([100_000, 3, 3]),
}


def check(packed: Packed, lengths: np.ndarray, row_len: int, opened: int) -> np.ndarray:
    """Asserts that every token is in one place and every row but the last is full. Returns the tokens in each row."""
    pieces = zip(packed.document.tolist(), packed.begin.tolist(), packed.size.tolist(), strict=True)
    tokens = np.concatenate([np.arange(begin, begin + size) + (document << 40) for document, begin, size in pieces])
    assert np.array_equal(np.sort(tokens), np.concatenate([np.arange(n) + (document << 40) for document, n in enumerate(lengths.tolist())]))
    assert packed.size.min() > 0
    used = np.bincount(packed.row, packed.size)
    used[0] += opened
    assert (used[:-1] == row_len).all() and used.sum() == lengths.sum() + opened and 0 < used[-1] <= row_len
    return used


@pytest.mark.parametrize("opened", [0, 1, 200, 255])
@pytest.mark.parametrize("name", LENGTHS)
def test_every_token_comes_once_and_every_row_is_full(name: str, opened: int) -> None:
    check(pack(LENGTHS[name], 256, opened), LENGTHS[name], 256, opened)


@pytest.mark.parametrize("seed", range(40))
def test_random_documents_are_packed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row_len = int(rng.integers(8, 600))
    opened = int(rng.integers(0, row_len)) if seed % 2 else 0
    n = int(rng.integers(1, 400))
    lengths = [
        np.ceil(rng.lognormal(np.log(row_len / 3), 1.2, n)).astype(int),
        np.full(n, max(1, row_len * 6 // 10)),
        rng.integers(1, 3, n) * row_len,
        np.where(rng.random(n) < 0.9, row_len - 1, rng.integers(1, row_len, n)),
    ][seed // 2 % 4]
    check(pack(lengths, row_len, opened), lengths, row_len, opened)


def test_few_documents_that_fit_are_cut() -> None:
    """At most 1 % of documents much shorter than a row are cut. Laid end to end, one would be cut in every row."""
    packed = pack(LENGTHS["short"], 1024)
    fitting = LENGTHS["short"] <= 1024
    assert (np.bincount(packed.document)[fitting] > 1).sum() <= 0.01 * fitting.sum()


def test_documents_go_where_they_fit_best() -> None:
    """In rows of 10, 6 goes beside 4 and not beside 3, and 7 goes beside 3. Nothing is cut."""
    packed = pack(np.array([4, 3, 7, 6]), 10)
    together = [{int(d) for d in packed.document[packed.row == row]} for row in range(2)]
    assert sorted(map(sorted, together)) == [[0, 3], [1, 2]] and len(packed.row) == 4


def test_fill_cuts_runs_at_the_edges_of_gaps() -> None:
    run, begin, size, gap = fill(np.array([5, 2, 4]), np.array([3, 3, 9]))
    assert list(zip(run.tolist(), begin.tolist(), size.tolist(), gap.tolist(), strict=True)) == [
        (0, 0, 3, 0), (0, 3, 2, 1), (1, 0, 1, 1), (1, 1, 1, 2), (2, 0, 4, 2),
    ]  # fmt: skip
    assert all(len(column) == 0 for column in fill(np.zeros(0, int), np.zeros(0, int)))
