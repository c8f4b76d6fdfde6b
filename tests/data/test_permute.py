"""The order of documents: a bijection without structure (test_golden.py freezes it)."""

import numpy as np
import pytest

from varietas.data.permute import hash64, permute


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1000, 65_537])
def test_each_place_is_taken_once(n: int) -> None:
    order = permute(np.arange(n), n, hash64(0, 1, 2))
    assert np.array_equal(np.sort(order), np.arange(n))


def test_places_may_be_asked_for_alone() -> None:
    keys = hash64(5, np.arange(4))
    together = permute(np.array([3, 1, 99, 3]), 100, keys)
    assert together.tolist() == [int(permute(np.array([p]), 100, keys[i : i + 1])[0]) for i, p in enumerate((3, 1, 99, 3))]


def test_epochs_are_not_correlated() -> None:
    """Correlation of two random orders of n is about 1 / sqrt(n); neighbours stay neighbours in 2 of n places."""
    n = 10_000
    orders = [permute(np.arange(n), n, hash64(0, 0, epoch)) for epoch in range(4)]
    for a in range(4):
        assert (np.abs(np.diff(orders[a])) == 1).sum() < 15
        for b in range(a):
            assert abs(np.corrcoef(orders[a], orders[b])[0, 1]) < 5 / np.sqrt(n)
