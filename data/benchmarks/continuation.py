"""Continuation choice: which of four second halves belongs to the first half of a passage?

Four passages of one source, whose second halves are about equally long, make four items with the same choices. Each half is right once and
wrong three times, so who looks at the choices alone is right in a quarter of the items, whatever he looks at: length, words or place.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from varietas.data.benchmarks.items import Item, order, shuffled
from varietas.data.benchmarks.sentences import Passage

CHOICES = 4
TOLERANCE = 1.1  # the longest choice over the shortest, in bytes
ALIKE = 0.4  # share of common words from which two halves are alike
MIDDLE = re.compile(r"\s+(?=\w)")  # the second half begins with a word


def make(passages: Sequence[Passage], n: int, seed: int, name: str) -> list[Item]:
    """Makes at most `n` items, a multiple of four."""
    by_source = defaultdict(list)
    for passage in passages:
        if parts := halves(passage.text):
            by_source[passage.source].append(parts)
    groups = [group for _, parts in sorted(by_source.items()) for group in _groups(parts)]
    items = []
    for number, group in enumerate(shuffled(groups, seed, name)[: n // CHOICES]):
        places = order(CHOICES, seed, f"{name} {number}")
        choices = tuple(group[place][1] for place in places)
        items += [Item(group[place][0], choices, answer) for answer, place in enumerate(places)]
    return items


def halves(text: str) -> tuple[str, str] | None:
    """Returns a passage as two halves, the second with the space before it; None if no space is near the middle."""
    spaces = [match.start() for match in MIDDLE.finditer(text)]
    middle = min(spaces, key=lambda place: abs(2 * place - len(text)), default=0)
    return (text[:middle], text[middle:]) if 0.4 <= middle / len(text) <= 0.6 else None


def _groups(parts: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Returns groups of four whose second halves are about equally long, and not alike."""
    groups, group = [], list[tuple[str, str]]()
    for half in sorted(parts, key=lambda half: (len(half[1].encode()), half)):
        if group and len(half[1].encode()) > TOLERANCE * len(group[0][1].encode()):
            group = []
        if not any(_alike(half[1], other[1]) or _alike(half[0], other[0]) for other in group):
            group.append(half)
        if len(group) == CHOICES:
            groups.append(group)
            group = []
    return groups


def _alike(a: str, b: str) -> bool:
    words = [set(text.lower().split()) for text in (a, b)]
    return len(words[0] & words[1]) > ALIKE * min(map(len, words))
