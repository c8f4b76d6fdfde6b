"""Shares of languages."""

import numpy as np
import pytest

from varietas.data.mixture import Mixture, parse_weights, shares

TOKENS = {"ces_Latn": 900, "eng_Latn": 8100, "mlt_Latn": 0}


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, [0.1, 0.9, 0]), (0.5, [0.25, 0.75, 0]), (0.0, [0.5, 0.5, 0])])
def test_temperature(alpha: float, expected: list[float]) -> None:
    assert shares(Mixture(alpha=alpha), TOKENS) == pytest.approx(expected)


def test_explicit_weights_and_other_names() -> None:
    assert shares(Mixture(weights="cs:3, eng:1"), TOKENS) == pytest.approx([0.75, 0.25, 0])
    assert parse_weights(" est:1 ,") == {"ekk_Latn": 1.0}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("cs", "CODE:WEIGHT"),
        ("cs:-1", "weight of 0 or more"),
        ("cs:nan", "weight of 0 or more"),
        ("cs:1,ces:2", "ces_Latn twice"),
        ("cs:0", "above 0"),
        ("slk_Latn:1", "no slk_Latn"),
    ],
)
def test_mistakes(weights: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        shares(Mixture(weights=weights), TOKENS)


def test_shares_survive_a_change_in_the_last_bit() -> None:
    """pow() is not the same on every machine; the stream must be."""
    share = shares(Mixture(alpha=0.3), {"a_Latn": 12345, "b_Latn": 678})
    assert np.array_equal(share, np.round(share, 12))
