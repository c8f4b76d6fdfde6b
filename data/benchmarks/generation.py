"""Generation in the own language: does a model that is given the beginning of a passage go on in the language of that passage?

The identifiers of data/text/identify.py judge. A beginning is taken only if they recognise how the passage really goes on, so a good model
can reach all points. What is measured is the language alone: a model that repeats one word of it has the point too.
"""

from collections.abc import Mapping, Sequence

from varietas.data.benchmarks.continuation import halves
from varietas.data.benchmarks.items import Item, shuffled
from varietas.data.benchmarks.sentences import Passage
from varietas.data.text.identify import check, inseparable

SHORTEST = 20  # characters from which an answer is judged


def make(passages: Sequence[Passage], lang: str, n: int, seed: int, name: str) -> list[Item]:
    """Makes at most `n` items, whose single choice is how the passage goes on.

    Raises:
        ModuleNotFoundError: If an identifier is not installed.
    """
    items = list[Item]()
    for passage in shuffled(passages, seed, name):
        if len(items) == n:
            break
        if (parts := halves(passage.text)) and in_language(parts[1], lang):
            items.append(Item(parts[0], (parts[1],), 0))
    return items


def in_language(text: str, lang: str) -> bool:
    """Returns whether a text is in a language ("ces_Latn"), or in one that no identifier tells from it (as Bosnian from Croatian).

    Raises:
        ModuleNotFoundError: If an identifier is not installed.
    """
    if len(text.strip()) < SHORTEST:
        return False
    verdict = check(text, lang)
    return verdict.outcome == "same" or (verdict.outcome == "unsure" and verdict.found in inseparable(lang.split("_")[0]))


def score(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, float]:
    """Scores an answer, as lm_eval's `process_results` does: 1.0 if it is in the language of the item."""
    return {"own_language": float(in_language(results[0], doc["lang"]))}
