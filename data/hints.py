"""Hints for error messages."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], similarity: float = 0.0) -> str:
    """Returns the known word that is most similar to `word`, or "" if none is similar enough.

    Args:
        word: What was given.
        known: What may have been meant.
        similarity: Minimum similarity, from 0 (none) to 1 (equal).
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=similarity)), "")
