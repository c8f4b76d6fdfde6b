"""Documents into rows: all tokens once, no row too full, little padding."""

import numpy as np
import pytest

from varietas.data.packing import Pieces, pack

RNG = np.random.default_rng(0)
LENGTHS = {
    "short": np.clip(RNG.lognormal(np.log(60), 1, 3000), 1, None).astype(np.int64),
    "long": np.clip(RNG.lognormal(np.log(3000), 1, 500), 1, None).astype(np.int64),
    "six tenths": np.full(1000, 154),
    "one": np.array([5]),
    "row by row": np.full(10, 256),
    "huge": np.array([100_000, 3, 3]),
}


def check(pieces: Pieces, lengths: np.ndarray, row_len: int, opened: int) -> np.ndarray:
    """All tokens in exactly one place; returns tokens of each row."""
    tokens = [np.zeros(n, int) for n in lengths]
    for d, b, n in zip(pieces.document, pieces.begin, pieces.size, strict=True):
        assert n > 0
        tokens[d][b : b + n] += 1
    assert all((t == 1).all() for t in tokens)
    used = np.bincount(pieces.row, pieces.size)
    used[0] += opened
    assert used.max() <= row_len and used.min() > 0
    return used


@pytest.mark.parametrize("opened", [0, 1, 200])
@pytest.mark.parametrize("name", LENGTHS)
def test_every_token_once_and_little_padding(name: str, opened: int) -> None:
    lengths, row_len = LENGTHS[name], 256
    used = check(pack(lengths, row_len, opened), lengths, row_len, opened)
    padding = (row_len - used).sum() - (row_len - used.min())  # the emptiest row is carried on
    assert padding <= 0.01 * (lengths.sum() + opened)


def test_documents_that_fit_stay_whole() -> None:
    pieces = pack(LENGTHS["short"], 4096)
    fitting = LENGTHS["short"] <= 4096
    assert np.bincount(pieces.document)[fitting].max() == 1


def test_nothing_fits_beside_a_full_row() -> None:
    pieces = pack(np.array([10]), 10, opened=4)
    assert check(pieces, np.array([10]), 10, 4).tolist() in ([4, 10], [10, 4])
