"""Recall: which word was given for another one, at the beginning of a long text?

A context gives four words, each for another word, then sentences of the language, and then asks for one of the four (associative recall
as in Arora et al., 2023, "Zoology", arXiv:2312.04927). All choices were given, and each of the four is asked for once. So who does not read
the beginning is right in a quarter of the items, also if he always takes the first or the last.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from varietas.data.benchmarks.counts import Counts
from varietas.data.benchmarks.items import Item, order, shuffled
from varietas.data.benchmarks.sentences import letters_of

DISTANCES = (0, 300, 1000, 4000)  # characters of sentences in between
GIVEN = 4  # words that are given for others
LETTERS = (4, 8)  # of a word; the eight of a context have equally many
PART = re.compile(r"[^\W\d_]+")  # a word, or a part of a compound
TIMES = (2, 50)  # how often a word may occur in the text


def make(sentences: Sequence[str], lang: str, counts: Counts, distance: int, n: int, seed: int) -> list[Item]:
    """Makes at most `n` items, a multiple of four, with at least `distance` characters of sentences in between."""
    name = f"recall {lang} {distance}"
    letters, by_length = letters_of(lang), defaultdict(list)
    for word, times in sorted(counts.words.items()):
        if TIMES[0] <= times <= TIMES[1] and LETTERS[0] <= len(word) <= LETTERS[1] and word.isalpha() and letters.issuperset(word):
            by_length[len(word)].append(word)
    sets = []
    for length, words in sorted(by_length.items()):
        mixed = shuffled(words, seed, f"{name} {length}")
        sets += [mixed[i : i + 2 * GIVEN] for i in range(0, len(mixed) - 2 * GIVEN + 1, 2 * GIVEN)]
    items = []
    for number, words in enumerate(shuffled(sets, seed, name)[: n // GIVEN]):
        between = _between(shuffled(sentences, seed, f"{name} {number}"), set(words), distance)
        if len(between) < distance:
            break
        given = list(zip(words[:GIVEN], words[GIVEN:], strict=True))
        begin = "\n".join(f"{asked}: {word}" for asked, word in given)
        places = order(GIVEN, seed, f"{name} {number} choices")
        choices = tuple(f" {given[place][1]}" for place in places)
        context = f"{begin}\n\n{between}\n\n" if between else f"{begin}\n\n"
        items += [Item(f"{context}{given[place][0]}:", choices, answer) for answer, place in enumerate(places)]
    return items


def _between(sentences: Sequence[str], words: set[str], distance: int) -> str:
    """Returns sentences that have none of these words, of at least so many characters if there are enough."""
    text = ""
    for sentence in sentences:
        if len(text) >= distance:
            break
        if words.isdisjoint(PART.findall(sentence.lower())):  # also parts of compounds
            text = f"{text} {sentence}".strip()
    return text
