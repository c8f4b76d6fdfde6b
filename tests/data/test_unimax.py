"""UniMax spreads a budget evenly, with a limit on repetition."""

import numpy as np
import pytest

from varietas.data.unimax import unimax


def test_unimax_gives_values_computed_by_hand() -> None:
    """A budget of 1,000 over languages of 10, 100 and 10,000 tokens, each at most twice, gives 20, 200 and the rest."""
    assert unimax(np.array([100.0, 10.0, 10_000.0]), 1000, 2).tolist() == [200, 20, 780]
    assert unimax(np.array([100.0, 100.0]), 60, 4).tolist() == [30, 30]
    assert unimax(np.array([1.0, 2.0]), 1000, 4).tolist() == [4, 8]


@pytest.mark.parametrize("seed", range(5))
def test_unimax_finds_the_level_that_fills_the_budget(seed: int) -> None:
    """The expected values are min(level, cap × n), with the level found by bisection."""
    tokens = np.random.default_rng(seed).lognormal(10, 3, 24)
    budget = tokens.sum() / 3
    low, high = 0.0, budget
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(level, 4 * tokens).sum() < budget else (low, level)
    np.testing.assert_allclose(unimax(tokens, budget, 4), np.minimum(low, 4 * tokens), rtol=1e-9)
