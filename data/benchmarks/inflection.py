"""Minimal pairs of inflection: a sentence against the same sentence with another form of one word.

No dictionary is needed. Two words are taken for forms of one word if they share their beginning and if several words of the text have both
of these endings: "talon" and "talossa", "suomen" and "suomessa". All such words together say beside which neighbours the two endings stand.
If one of them would be expected twelve times beside a neighbour, by its share elsewhere, but never stands there, it is wrong there.
This measures whether a model prefers the forms that neighbours ask for: agreement, case, and forms of the verb. About one pair in ten is a
derivation, or two words that only look alike ("nation", "national").
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from varietas.data.benchmarks.counts import Counts, tokens
from varietas.data.benchmarks.items import Item, pairs, shuffled
from varietas.data.benchmarks.sentences import TOKEN, Paragraph

SHORTEST = 4  # letters of a form
STEM = (3, 0.6)  # letters that two forms share at least, and the share of the longer one
ENDING = 3  # letters of an ending at most
WORDS = 8  # words that have both endings
TIMES = 6.0  # how many times as frequent as the other a form may be
ATTESTED = 4  # times that the right ending stands beside the neighbour
EXPECTED = 12.0  # times that the wrong ending would be expected there, where it is never found
FEW, SAME = 5, 0.1  # items that may rest on the same two endings: so many, or this share of all

Endings = tuple[str, str]  # of the right form and of the wrong one


@dataclass(frozen=True)
class Forms:
    """Words that are forms of one word, and what stands beside their endings."""

    others: dict[str, list[tuple[str, Endings]]]  # of each word: other forms, and the endings of the two
    words: Counter[Endings]  # forms in the text that have the first ending, and another form with the second
    beside: Counter[tuple[Endings, int, str]]  # the same with a neighbour: before (0) or after it (1)

    def is_wrong(self, endings: Endings, side: int, neighbour: str) -> bool:
        """Returns whether the first ending stands beside a neighbour, but the second one does not, although it would be expected to."""
        reverse = endings[::-1]
        right = self.beside[endings, side, neighbour]
        expected = right * self.words[reverse] / max(1, self.words[endings])
        return right >= ATTESTED and expected >= EXPECTED and not self.beside[reverse, side, neighbour]


def forms(paragraphs: Sequence[Paragraph], counts: Counts) -> Forms:
    """Finds forms of one word in text."""
    by_beginning = defaultdict(list)
    for word, n in sorted(counts.words.items()):
        if n >= 2 and len(word) >= SHORTEST and word.isalpha():
            by_beginning[word[: STEM[0]]].append(word)
    others, common = defaultdict(list), Counter[Endings]()
    for words in by_beginning.values():
        for a in words:
            for b in words:
                if a != b and (endings := _endings(a, b)):
                    others[a].append((b, endings))
                    common[endings] += 1
    productive = {a: [(b, endings) for b, endings in found if common[endings] >= WORDS] for a, found in others.items()}
    total, beside = Counter[Endings](), Counter[tuple[Endings, int, str]]()
    for paragraph in paragraphs:
        found = tokens(paragraph.text)
        for before, word, after in zip(found, found[1:], found[2:], strict=False):
            for endings in {endings for _, endings in productive.get(word, ())}:
                total[endings] += 1
                beside[endings, 0, counts.neighbour(before)] += 1
                beside[endings, 1, counts.neighbour(after)] += 1
    return Forms(productive, total, beside)


def _endings(a: str, b: str) -> Endings | None:
    """Returns the endings of two words after the beginning that they share; None if too little is shared."""
    shared = next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    longest = max(len(a), len(b))
    fits = shared >= STEM[0] and shared >= STEM[1] * longest and longest - shared <= ENDING
    return (a[shared:], b[shared:]) if fits else None


def make(sentences: Sequence[str], found: Forms, counts: Counts, n: int, seed: int, name: str) -> list[Item]:
    """Makes at most `n` items, at most one of a sentence. The wrong form is as often longer as shorter, and as often rarer as not."""
    chosen, used = list[tuple[str, str, str, str]](), Counter[object]()
    for sentence in shuffled(sentences, seed, name):
        for wrong, a, b, endings in shuffled(list(_replaced(sentence, found, counts)), seed, sentence):
            if used[endings] < max(FEW, SAME * n) and used[a, b] < 2:
                used.update([endings, (a, b)])
                chosen.append((sentence, wrong, a, b))
                break
    return pairs([(right, wrong, f"{a} → {b}") for right, wrong, a, b in _balanced(chosen, counts, n)], seed, name)


def _replaced(sentence: str, found: Forms, counts: Counts) -> Iterator[tuple[str, str, str, Endings]]:
    """Yields the sentence with a word in a wrong form, both forms, and their endings."""
    matches = list(TOKEN.finditer(sentence))
    lower = tokens(sentence)
    for place, match in enumerate(matches[1:-1], 2):  # in `lower`
        before, word, after = lower[place - 1 : place + 2]
        for other, endings in found.others.get(word, ()):
            if counts.pairs[before, other] or counts.pairs[other, after]:
                continue
            often = counts.words[word] / counts.words[other]
            if 1 / TIMES <= often <= TIMES and any(
                found.is_wrong(endings, side, counts.neighbour(beside)) for side, beside in enumerate((before, after))
            ):
                written = other.capitalize() if match[0][0].isupper() else other
                yield sentence[: match.start()] + written + sentence[match.end() :], word, other, endings


def _balanced(found: list[tuple[str, str, str, str]], counts: Counts, n: int) -> list[tuple[str, str, str, str]]:
    """Returns as many pairs of each kind as of its opposite. A kind says whether the wrong form is longer, and whether it is rarer."""
    kinds = defaultdict(list)
    for pair in found:
        a, b = pair[2:]
        kinds[_sign(len(b) - len(a)), _sign(counts.words[b] - counts.words[a])].append(pair)
    kept = []
    for (longer, rarer), mine in sorted(kinds.items()):
        opposite = kinds.get((-longer, -rarer), [])
        kept += mine if (longer, rarer) == (0, 0) else mine[: len(opposite)]
    places = {pair: place for place, pair in enumerate(found)}
    return sorted(kept, key=places.__getitem__)[:n]


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
