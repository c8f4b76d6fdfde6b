"""The share that each language gets, under any of its names, and the error for a language that the corpus lacks."""

import numpy as np
import pytest

from varietas.data.stream.mixture import Mixture, parse_weights
from varietas.data.stream.shares import shares

TOKENS = {"ces_Latn": 900, "eng_Latn": 8100, "mlt_Latn": 0}


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, [0.1, 0.9, 0]), (0.5, [0.25, 0.75, 0]), (0.0, [0.5, 0.5, 0])])
def test_alpha_sets_the_shares(alpha: float, expected: list[float]) -> None:
    assert shares(Mixture(alpha=alpha), TOKENS) == pytest.approx(expected)


def test_explicit_weights_accept_other_names_of_languages() -> None:
    assert shares(Mixture(weights="cs:3, eng:1"), TOKENS) == pytest.approx([0.75, 0.25, 0])
    assert parse_weights(" est:1 ,") == {"ekk_Latn": 1.0}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("cs", "CODE:WEIGHT"),
        ("cs:-1", "weight from 0 to"),
        ("cs:nan", "weight from 0 to"),
        ("cs:1e308,eng:1e308", r"weight from 0 to 1e\+12"),  # the sum would not be a number
        ("cs:1,ces:2", "ces_Latn twice"),
        ("cs:0", "above 0"),
        ("slk_Latn:1", "no slk_Latn"),
    ],
)
def test_mistakes_in_weights_are_reported(weights: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        shares(Mixture(weights=weights), TOKENS)


def test_shares_are_rounded() -> None:
    """The last bit of pow() differs between machines, but the stream must not."""
    share = shares(Mixture(alpha=0.3), {"a_Latn": 12345, "b_Latn": 678})
    assert np.array_equal(share, np.round(share, 12))


FOUR = {"bul_Cyrl": 10, "ces_Latn": 1000, "ekk_Latn": 50, "mlt_Latn": 1}


@pytest.mark.parametrize("name", ["cs", "ces", "cze", "ces_Latn", "cs-CZ", " cs "])
def test_any_name_of_a_language_is_accepted(name: str) -> None:
    assert shares(Mixture(weights=f"{name}:1,est:3"), FOUR).tolist() == [0, 0.25, 0.75, 0]


@pytest.mark.filterwarnings("ignore:unknown language code")
@pytest.mark.parametrize(("weights", "nearest"), [("mlx_Latn:1", "mlt_Latn"), ("cs:1,cex_Latn:1", "ces_Latn"), ("mk:2", "bul_Cyrl")])
def test_the_error_names_the_nearest_language_of_the_corpus(weights: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"it has 4 languages, the nearest is {nearest}"):
        shares(Mixture(weights=weights), FOUR)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_alpha_follows_its_formula(alpha: float) -> None:
    n = np.array(list(FOUR.values()), float)
    assert shares(Mixture(alpha), FOUR) == pytest.approx(n**alpha / (n**alpha).sum(), abs=1e-12)


def test_weights_take_precedence_over_alpha() -> None:
    assert shares(Mixture(alpha=0.0, weights="mt:1e-3, bg:3e-3, et:0"), FOUR) == pytest.approx([0.75, 0, 0, 0.25])
