"""Parallel text: the same content in many languages, which shows how many tokens a tokenizer needs for it in each of them.

Records are JSON Lines with `id`, `lang` and `text`; records with the same id have the same content. A language is compared with English
over the ids that both have, so a language with half of the text does not look half as expensive.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from varietas.data.text.documents import Document

Parallel = dict[str, dict[str, str]]  # language -> id -> text


def parallel(documents: Iterable[Document]) -> Parallel:
    """Arranges documents by language and id.

    Raises:
        ValueError: If English is missing, if a language has an id twice, or if a language shares no id with English.
    """
    texts: Parallel = {}
    for document in documents:
        mine = texts.setdefault(document.lang, {})
        if document.id in mine:
            raise ValueError(f"{document.file}: {document.lang} has the id {document.id!r} twice; in parallel text an id names one content")
        mine[document.id] = document.text
    if "eng_Latn" not in texts:
        raise ValueError("the parallel text has no English (eng_Latn), with which the others are compared; add it under the same ids")
    alone = [code for code in texts if not texts[code].keys() & texts["eng_Latn"].keys()]
    if alone:
        raise ValueError(
            f"the parallel text has no id that {', '.join(alone[:5])} and English share; an id names one content in all languages"
        )
    return texts


def halves(texts: Parallel) -> tuple[Parallel, Parallel]:
    """Splits the text into two parts with different ids, by a hash of the id: one for tuning and one for measuring."""

    def part(wanted: int) -> Parallel:
        chosen = {code: {key: text for key, text in mine.items() if _bit(key) == wanted} for code, mine in texts.items()}
        return {code: mine for code, mine in chosen.items() if mine.keys() & chosen["eng_Latn"].keys()}

    return part(0), part(1)


def _bit(key: str) -> int:
    return hashlib.sha256(key.encode()).digest()[0] & 1


def premiums(texts: Parallel, count: Callable[[str], int]) -> dict[str, float]:
    """Returns the premium of each language: its tokens over those that English needs for the same content (Petrov et al., 2023).

    Args:
        texts: Parallel text with English.
        count: Counts the tokens of a text.
    """
    tokens = {code: {key: count(text) for key, text in mine.items()} for code, mine in texts.items()}
    english = tokens["eng_Latn"]
    return {code: _over(mine, english) for code, mine in tokens.items() if mine.keys() & english.keys()}


def _over(mine: Mapping[str, int], english: Mapping[str, int]) -> float:
    shared = mine.keys() & english.keys()
    return sum(mine[key] for key in shared) / max(1, sum(english[key] for key in shared))


def summary(premium: Mapping[str, float], codes: Iterable[str]) -> tuple[str, float, float]:
    """Returns the language with the highest premium among `codes`, its premium, and their mean premium."""
    known = {code: premium[code] for code in codes if code in premium}
    worst = max(known, key=lambda code: known[code])
    return worst, known[worst], float(np.mean(list(known.values())))
