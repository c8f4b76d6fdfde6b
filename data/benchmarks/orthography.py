"""Minimal pairs of spelling: a sentence against the same sentence with one letter of one word written wrongly.

What may be wrong follows from tables that hold for all languages, and from the letters of the language (fences.json):

- marks: a letter with another diacritic, or without, or with one it should not have: "kůň", "kuň". Letters belong together by Unicode's
  decomposition (and PLAIN). Half of the wrong words have gained a mark, the others have lost one.
- character set: what a letter becomes if text of its old character set is read as ISO 8859-1 ("ő" as "õ"), and Romanian with cedillas.
- look-alikes: a Cyrillic or Greek letter replaced by the Latin one that looks the same (Unicode Technical Standard 39).
- apostrophes: left out, or replaced by a space.

The right word occurs more than once in the text, and the wrong one nowhere. So a list of words knows the answers too: what is measured is
whether a model knows how words are written, and does not take the damage that is common on the web for it. A tokenizer is such a list in
part: it needs more pieces for most wrong words. So an untrained model is right more often than by chance, and should be measured as well.
"""

import contextlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from varietas.data.benchmarks.counts import Counts
from varietas.data.benchmarks.items import Item, pairs, shuffled
from varietas.data.benchmarks.sentences import TOKEN, letters_of

PLAIN = dict(zip("ıłøđħðŧґς", "ilodhdtгσ", strict=True))  # letters that Unicode does not decompose, and what is written without their mark
LOOK_ALIKES = {
    "Cyrl": dict(zip("аеорсхіјѕ", "aeopcxijs", strict=True)),
    "Grek": dict(zip("ονρ", "ovp", strict=True)),
}
CHARACTER_SETS = {  # ISO 8859 of each language, before Unicode
    "iso8859_2": "ces slk pol hun hrv bos slv ron",
    "iso8859_3": "mlt",
    "iso8859_9": "tur",
    "iso8859_13": "ekk lvs lit",
}
CEDILLAS = {"ron_Latn": dict(zip("șț", "şţ", strict=True))}
APOSTROPHES = "'’ʼ"
APOSTROPHES_FROM = 0.005  # share of words with an apostrophe from which they belong to the orthography
SHORTEST = 3  # letters of a word
SAME = 0.02  # largest share of items about one word

Change = tuple[str, str]  # what is changed, and what it becomes


def changes(lang: str, counts: Counts) -> dict[str, list[Change]]:
    """Returns what may be written wrongly in a language, by kind of mistake."""
    own = {letter for letter in letters_of(lang) if letter == letter.lower()}
    families = defaultdict(set)
    for letter in own:
        families[_plain(letter)].add(letter)
    code, _, script = lang.partition("_")
    marks = [(a, b) for family in families.values() for a in sorted(family) for b in sorted(family) if a != b]
    old = next((name for name, languages in CHARACTER_SETS.items() if code in languages.split()), "")
    read = [(letter, _misread(letter, old)) for letter in sorted(own) if old]
    words = {word: n for word, n in counts.words.items() if word[0].isalpha()}
    with_apostrophe = sum(n for word, n in words.items() if any(c in word[1:-1] for c in APOSTROPHES))
    apostrophes = [(c, other) for c in APOSTROPHES for other in ("", " ")]
    return {
        "mark lost": [(a, b) for a, b in marks if b == _plain(b) or a == "ς"],
        "mark gained": [(a, b) for a, b in marks if a == _plain(a) and b != "ς"],
        "other mark": [(a, b) for a, b in marks if a != _plain(a) and b != _plain(b)],
        "character set": [(a, b) for a, b in [*read, *CEDILLAS.get(lang, {}).items()] if b],
        "look-alike": [(a, b) for a, b in LOOK_ALIKES.get(script, {}).items() if a in own],
        "apostrophe": apostrophes if with_apostrophe >= APOSTROPHES_FROM * max(1, sum(words.values())) else [],
    }


def _plain(letter: str) -> str:
    """Returns a letter without its marks."""
    return PLAIN.get(letter) or unicodedata.normalize("NFD", letter)[0]


def _misread(letter: str, character_set: str) -> str:
    """Returns the letter that a byte of another character set is in ISO 8859-1, "" if it is none or the same."""
    with contextlib.suppress(UnicodeEncodeError):
        other = letter.encode(character_set).decode("latin-1")
        return other if other.isalpha() and other != letter else ""
    return ""


def make(sentences: Sequence[str], lang: str, counts: Counts, n: int, seed: int, name: str) -> list[Item]:
    """Makes at most `n` items, at most one of a sentence. Kinds of mistakes take turns; as many marks are gained as lost."""
    kinds = {kind: dict(_by_letter(found)) for kind, found in changes(lang, counts).items() if found}
    found: dict[str, list[tuple[str, str, str]]] = {kind: [] for kind in kinds}
    used = Counter[str]()
    for place, sentence in enumerate(shuffled(sentences, seed, name)):
        wanted = sorted(kinds, key=lambda kind: (len(found[kind]), kind))  # the kind of which there are fewest comes first
        for kind in wanted:
            options = [o for o in _misspelt(sentence, kinds[kind], counts) if used[o[1]] < max(2, SAME * n)]
            if options:
                mixed = shuffled(options, seed, f"{name} {place}")
                wrong, right_word, wrong_word = min(mixed, key=lambda option: counts.words[option[1].lower()])
                used[right_word] += 1
                found[kind].append((sentence, wrong, f"{kind}: {right_word} → {wrong_word}"))
                break
    both = min(len(found.get("mark lost", [])), len(found.get("mark gained", [])))
    for kind in ("mark lost", "mark gained"):
        found[kind] = found.get(kind, [])[:both]
    return pairs(shuffled(_in_turns(list(found.values()), n), seed, name), seed, name)


def _by_letter(found: Sequence[Change]) -> Iterator[tuple[str, list[str]]]:
    for letter in dict.fromkeys(a for a, _ in found):
        yield letter, [b for a, b in found if a == letter]


def _misspelt(sentence: str, options: dict[str, list[str]], counts: Counts) -> Iterator[tuple[str, str, str]]:
    """Yields the sentence with a letter of a word replaced, the word, and what it becomes."""
    for match in TOKEN.finditer(sentence):
        word = match[0]
        if len(word) < SHORTEST or not word[0].isalpha() or counts.words[word.lower()] < 2:
            continue
        for place, letter in enumerate(word):
            for other in options.get(letter, ()):
                if letter in APOSTROPHES and not 0 < place < len(word) - 1:
                    continue
                wrong = word[:place] + other + word[place + 1 :]
                before, _, after = wrong.lower().partition(" ")
                if not counts.words[wrong.lower()] and not counts.pairs[before, after]:
                    yield sentence[: match.start()] + wrong + sentence[match.end() :], word, wrong


def _in_turns(lists: Sequence[list[tuple[str, str, str]]], n: int) -> list[tuple[str, str, str]]:
    """Returns at most `n` values, in turns one of each list."""
    longest = max(map(len, lists), default=0)
    return [values[i] for i in range(longest) for values in lists if i < len(values)][:n]
