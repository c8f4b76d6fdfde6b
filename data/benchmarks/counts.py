"""Counts of words and of pairs of neighbouring words in text of a language, and what they say that its writers avoid.

If two words are common, and chance alone would bring them together ten times, but they never are neighbours, then that is no accident: by
the Poisson distribution, it happens with a probability of exp(-10).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from varietas.data.benchmarks.sentences import TOKEN, Paragraph

FREQUENT = 200  # words that stand for themselves as neighbours; others stand for all with the same ending
ENDING = 3  # letters of an ending
BEGIN, END = "^", "$"  # of a paragraph


@dataclass(frozen=True)
class Counts:
    """Of words in lower case; numbers and punctuation count as words."""

    words: Counter[str]
    pairs: Counter[tuple[str, str]]  # neighbours
    frequent: frozenset[str]
    total: int

    def chance(self, a: str, b: str) -> float:
        """Returns how often `b` would follow `a` if the order of words were random."""
        return self.words[a] * self.words[b] / self.total

    def neighbour(self, word: str) -> str:
        """Returns what a word counts as where it is the neighbour of another: itself, a number, or its ending."""
        if word in self.frequent or not word[0].isalnum():
            return word
        return "0" if word[0].isdigit() else f"-{word[-ENDING:]}"


def tokens(text: str) -> list[str]:
    """Returns the tokens of a paragraph in lower case, between BEGIN and END."""
    return [BEGIN, *(match.lower() for match in TOKEN.findall(text)), END]  # lower case may have more characters, as of "İ"


def count(paragraphs: Iterable[Paragraph]) -> Counts:
    """Counts the words of paragraphs."""
    words, pairs = Counter[str](), Counter[tuple[str, str]]()
    for paragraph in paragraphs:
        found = tokens(paragraph.text)
        words.update(found)
        pairs.update(pairwise(found))
    frequent = sorted(words, key=lambda word: (-words[word], word))[:FREQUENT]
    return Counts(words, pairs, frozenset(frequent), max(1, words.total()))
