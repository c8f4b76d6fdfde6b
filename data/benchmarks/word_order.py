"""Minimal pairs of word order: a sentence against the same sentence in which one word has moved by one to three places.

A word moves only to where frequent words become neighbours that writers of the language avoid (counts.py), and none of the new neighbours
occurs in the text at all. So orders that are merely rare, as many are in languages with free word order, are no wrong answers. Both
sentences have the same words.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from varietas.data.benchmarks.counts import END, Counts
from varietas.data.benchmarks.items import Item, pairs, shuffled
from varietas.data.benchmarks.sentences import TOKEN

AVOIDED = 12.0  # how often chance would bring two words together that never are neighbours
FARTHEST = 3  # places that a word moves
FEW, SAME = 5, 0.05  # items that may rest on the same two words: so many, or this share of all


def make(sentences: Sequence[str], counts: Counts, n: int, seed: int, name: str) -> list[Item]:
    """Makes at most `n` items, at most one of a sentence."""
    found, used = [], Counter[tuple[str, str]]()
    for sentence in shuffled(sentences, seed, name):
        for wrong, avoided in sorted(_moved(sentence, counts), key=lambda moved: -_evidence(moved[1], counts)):
            if used[avoided] < max(FEW, SAME * n):
                used[avoided] += 1
                found.append((sentence, wrong, " ".join(avoided)))
                break
        if len(found) == n:
            break
    return pairs(found, seed, name)


def _moved(sentence: str, counts: Counts) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yields the sentence with a word moved, and the two words that writers avoid to put together."""
    matches = list(TOKEN.finditer(sentence))
    written = [match[0] for match in matches]
    lower = [*(word.lower() for word in written), END]
    for first in range(1, len(matches) - 1):  # the first word of the sentence stays, and its capital with it
        for last in range(first + 1, min(first + FARTHEST + 1, len(matches))):
            if not _plain(sentence[matches[first - 1].end() : matches[last].end()], written[first : last + 1]):
                break
            middle = list(range(first, last + 1))
            for places in ([*middle[1:], first], [last, *middle[:-1]])[: 1 + (last > first + 1)]:
                around = [lower[first - 1], *(lower[place] for place in places), lower[last + 1]]
                old = set(zip(lower[first - 1 : last + 1], lower[first : last + 2], strict=True))
                new = [pair for pair in pairwise(around) if pair not in old]
                avoided = max(new, key=lambda pair: _evidence(pair, counts), default=("", ""))
                if not any(counts.pairs[pair] for pair in new) and _evidence(avoided, counts) >= AVOIDED:
                    moved = " ".join(written[place] for place in places)
                    yield sentence[: matches[first].start()] + moved + sentence[matches[last].end() :], avoided


def _plain(text: str, words: list[str]) -> bool:
    """Returns whether a text is these words, with a space before each and nothing else."""
    return text == "".join(f" {word}" for word in words) and all(word[0].isalpha() for word in words)


def _evidence(pair: tuple[str, str], counts: Counts) -> float:
    """Returns how often chance would make neighbours of two frequent words."""
    return counts.chance(*pair) if counts.frequent.issuperset(pair) else 0.0
