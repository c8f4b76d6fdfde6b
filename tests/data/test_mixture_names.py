"""Languages of a mixture by any of their names, and what is said of one that is not there."""

import numpy as np
import pytest

from varietas.data.mixture import Mixture, shares

TOKENS = {"bul_Cyrl": 10, "ces_Latn": 1000, "ekk_Latn": 50, "mlt_Latn": 1}


@pytest.mark.parametrize("name", ["cs", "ces", "cze", "ces_Latn", "cs-CZ", " cs "])
def test_any_name_will_do(name: str) -> None:
    assert shares(Mixture(weights=f"{name}:1,est:3"), TOKENS).tolist() == [0, 0.25, 0.75, 0]


@pytest.mark.filterwarnings("ignore:unknown language code")
@pytest.mark.parametrize(("weights", "nearest"), [("mlx_Latn:1", "mlt_Latn"), ("cs:1,cex_Latn:1", "ces_Latn"), ("mk:2", "bul_Cyrl")])
def test_the_nearest_language_of_the_corpus_is_named(weights: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"it has 4 languages, the nearest is {nearest}"):
        shares(Mixture(weights=weights), TOKENS)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_alpha_by_formula(alpha: float) -> None:
    n = np.array(list(TOKENS.values()), float)
    assert shares(Mixture(alpha), TOKENS) == pytest.approx(n**alpha / (n**alpha).sum(), abs=1e-12)


def test_weights_win_over_alpha() -> None:
    assert shares(Mixture(alpha=0.0, weights="mt:1e-3, bg:3e-3, et:0"), TOKENS) == pytest.approx([0.75, 0, 0, 0.25])
