"""How much of each language: a share of tokens for every language of a corpus."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from varietas.data.languages import canonical


@dataclass(frozen=True)
class Mixture:
    """`data.mixture` of a config. Explicit weights win; otherwise share ∝ tokens ** alpha (Conneau et al., 2020)."""

    alpha: float = 1.0
    weights: str = ""  # "ces_Latn:2, mlt_Latn:1"; languages not named are left out


def parse_weights(text: str) -> dict[str, float]:
    """`"ces_Latn:2, mlt:1"` as {"ces_Latn": 2.0, "mlt_Latn": 1.0}. Raises ValueError on anything else."""
    weights: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        code, _, number = item.partition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = float("nan")
        if not 0 <= weight < float("inf"):
            raise ValueError(
                f"data.mixture.weights: {item!r} is not CODE:WEIGHT with a weight of 0 or more, as in 'ces_Latn:2, mlt_Latn:1'"
            )
        code = canonical(code.strip())
        if code in weights:
            raise ValueError(f"data.mixture.weights names {code} twice")
        weights[code] = weight
    return weights


def shares(mixture: Mixture, tokens: Mapping[str, int]) -> np.ndarray:
    """Share of tokens of each language of `tokens` (code -> tokens in the corpus): float64, sum 1.

    Raises ValueError if explicit weights name a language that the corpus lacks or are all zero.
    """
    if mixture.weights:
        weights = parse_weights(mixture.weights)
        for code in weights:
            if code not in tokens:
                near = difflib.get_close_matches(code, tokens, n=1, cutoff=0.0)
                raise ValueError(
                    f"data.mixture.weights: the corpus has no {code}; it has {len(tokens)} languages, the nearest is {near[0]}"
                )
        share = np.array([weights.get(code, 0.0) for code in tokens])
    else:
        share = np.array([float(n) ** mixture.alpha if n else 0.0 for n in tokens.values()])
    if share.sum() <= 0:
        raise ValueError("data.mixture.weights: at least one language needs a weight above 0")
    return np.round(share / share.sum(), 12)  # the last bits of pow() differ between machines
