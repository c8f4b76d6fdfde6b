"""UniMax: spreads a budget of tokens evenly over languages, without repeating any of them too often (Chung et al., 2023)."""

import numpy as np


def unimax(tokens: np.ndarray, budget: float, max_epochs: float) -> np.ndarray:
    """Spreads `budget` tokens over languages as evenly as possible, with a limit on repetition (Chung et al., 2023, algorithm 1).

    Args:
        tokens: Tokens that there are of each language, (languages,).
        budget: Tokens to be spread.
        max_epochs: Maximum number of times that the text of a language may be used.

    Returns:
        Tokens to be taken from each language, float64 (languages,). Their sum is below `budget` if every language reaches its limit.
    """
    out, left = np.zeros(len(tokens)), float(budget)
    for done, at in enumerate(np.argsort(tokens, kind="stable")):
        out[at] = min(left / (len(tokens) - done), max_epochs * tokens[at])
        left -= out[at]
    return out
