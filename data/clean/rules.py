"""Rules that tell text from what else stands on web pages: menus, keywords, adverts, code, damaged letters, repetition.

A rule is a value of a text and its fences. A text is left out if a value is outside. Fences come from reference text of the language
(fences.py) and not from the text that is cleaned, so a verdict depends on the document alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.words import DIGIT, LETTER, OTHER, PLANES, SPACE, Batch, Runs
from varietas.data.hashing import mix64


@dataclass(frozen=True)
class Bounds:
    """The usual range of a value, and how far reference text of a language may widen it. Bounds may be infinite."""

    low: float
    high: float
    what: str  # meaning of the value
    loosest_low: float | None = None  # None: as `low`
    loosest_high: float | None = None


# "word length", "letters" and the repetitions are those of Gopher (Rae et al., 2021, table A1), "short lines" is FineWeb's (Penedo et al.,
# 2024), with wider bounds, so that songs with a refrain and tables pass. The others were chosen on junk that was made of text in a few
# languages (tests/bench/junk.py).
RULES = {
    "function words": Bounds(0.2, np.inf, "share of function words, divided by the usual share of the language"),
    "sentences": Bounds(
        0.12, np.inf, "sentence ends for each line, or for each eight words if these are more; lines of verse and of lists have enough"
    ),
    "capitals": Bounds(-np.inf, 0.4, "share of capitals among letters with case"),
    "cut sentences": Bounds(-np.inf, 0.4, "share of three dots among sentence ends, if there are three or more"),
    "exclamations": Bounds(-np.inf, 0.8, "exclamation marks for each sentence end, if there are five or more"),
    "symbols": Bounds(-np.inf, 0.08, "share of symbols such as # > { = among characters other than spaces"),
    "broken words": Bounds(-np.inf, 0.05, "symbols or ? between two letters, for each word"),
    "foreign letters": Bounds(-np.inf, 0.01, "share of letters that the language does not have", loosest_high=0.04),
    "cookies": Bounds(-np.inf, 0.025, "how often cookies are named, for each word, if three times or more"),
    "word length": Bounds(3, 10, "mean number of characters of a word", loosest_low=2, loosest_high=16),
    "letters": Bounds(0.6, np.inf, "share of letters among characters other than spaces", loosest_low=0.5),
    "short lines": Bounds(-np.inf, 0.5, "lines for each word"),
    "repeated lines": Bounds(-np.inf, 0.5, "share of characters in lines that occurred earlier in the text"),
    "top 3-gram": Bounds(-np.inf, 0.3, "share of word characters in the most common three words in a row, if these occur more than once"),
    "repeated 5-grams": Bounds(-np.inf, 0.3, "share of word characters in five words in a row that occurred earlier, less repeated lines"),
    "repeated 10-grams": Bounds(-np.inf, 0.2, "share of word characters in ten words in a row that occurred earlier, less repeated lines"),
}
NAMES = list(RULES)

# What cookies are called, where not "cookie"; beginnings or parts of words.
COOKIES = {
    "bel_Cyrl": ("кукі",), "bos_Latn": ("kolačić",), "bul_Cyrl": ("бисквит",), "cat_Latn": ("galet",), "cnr_Latn": ("kolačić",),
    "cym_Latn": ("cwci",), "ekk_Latn": ("küpsis",), "fin_Latn": ("eväste",), "gle_Latn": ("fianá",), "hbs_Latn": ("kolačić",),
    "hrv_Latn": ("kolačić",), "hun_Latn": ("süti",), "hye_Armn": ("թխուկ", "քուքի"), "isl_Latn": ("vafrak",), "kat_Geor": ("ქუქი",),
    "lit_Latn": ("slapuk",), "lvs_Latn": ("sīkdat", "sīkfail"), "mkd_Cyrl": ("колачињ",), "nno_Latn": ("informasjonskaps",),
    "nob_Latn": ("informasjonskaps",), "pol_Latn": ("ciastecz",), "rus_Cyrl": ("куки",), "slv_Latn": ("piškot",), "srp_Cyrl": ("колачић",),
    "srp_Latn": ("kolačić",), "swe_Latn": ("kakor",), "tur_Latn": ("çerez",), "ukr_Cyrl": ("кукі", "куки"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reference:
    """What is known of a language. Without a usual share of function words (0), nothing is known but bounds."""

    label: str
    usual: float
    hashes: np.ndarray  # of the function words, sorted
    words: frozenset[str]  # the function words, in lower case
    letters: frozenset[str]  # its letters other than those of ASCII
    foreign: np.ndarray  # whether each character below PLANES is a letter that it does not have; none is if its letters are not known
    bounds: np.ndarray  # float64 (2, rules)


UPPER, LOWER, ENDING, CLOSING, SYMBOL, JOINT = (1 << bit for bit in range(6))
_ENDINGS = ".!?…։՜՞؟۔。！？।॥"
_CLOSINGS = ")]}»«”“’‘›‹\"'*_」』】）"  # may stand between the end of a sentence and the space after it
_SYMBOLS = "#*=<>{}[]\\~^_+@$&/•●■►▪◦★☆✓»›·→←¦§¤©®™°¬±¨¯¸"  # not "|", which separates the columns of tables
_JOINTS = "'’‘ʼ`´-‐‑–—·.@_/&:,|+•՚՛՜՞״׳\u200c\u200d‧…\"”“»«()*="  # may stand between two letters of sound text
WORDS_A_LINE = 8  # in a text of longer lines, sentence ends are counted for so many words
VERSE_FUNCTION_WORDS = 0.7  # of the usual share, in lines of verse or of a list
VERSE_WORDS = (5, 20)  # words of a line of verse or of an item of a list, as spaces separate them


def statistics(texts: Sequence[str], references: Sequence[Reference], batch: Batch) -> np.ndarray:
    """Computes the values of each text for RULES. A value that means nothing for a text breaks no rule.

    Args:
        texts: The texts.
        references: What is known of the language of each text.
        batch: Their words and lines.

    Returns:
        float32 (documents, rules).
    """
    n, of_words = batch.n_documents, batch.words
    characters = np.bincount(of_words.document, of_words.size, n)
    n_words, n_lines = (np.bincount(runs.document, minlength=n) for runs in (of_words, batch.lines))
    in_lines = np.bincount(batch.lines.document, batch.lines.size, n)
    threes = _recurring(of_words, 3)
    fives = _recurring(of_words, 5, np.sort(threes.first))  # five words that recur begin with three that recur
    tens = _recurring(of_words, 10, np.sort(fives.first))
    again = _share(_covered(batch.lines, _recurring(batch.lines, 1), n), in_lines)
    shown = batch.kinds.sum(1) - batch.kinds[:, SPACE]
    columns = {
        "word length": _share(characters, n_words, empty=5.0),
        "letters": _share(batch.kinds[:, LETTER], shown, empty=0.0),
        "short lines": _share(n_lines, n_words),
        "repeated lines": again,
        "top 3-gram": _share(_commonest(of_words, threes, n), characters),
        "repeated 5-grams": _share(_covered(of_words, fives, n), characters) - again,
        "repeated 10-grams": _share(_covered(of_words, tens, n), characters) - again,
        "function words": _function_words(references, batch),
        "foreign letters": _foreign(references, batch),
        "cookies": _share(np.array([_cookies(text, reference.label) for text, reference in zip(texts, references, strict=True)]), n_words),
        **_marks(batch, n_words, shown),
    }
    per_line = _share(columns.pop("pieces"), n_lines)
    like_verse = (per_line >= VERSE_WORDS[0]) & (per_line <= VERSE_WORDS[1]) & (columns["letters"] >= 0.9)
    expected = n_words * np.array([reference.usual for reference in references])
    enough = VERSE_FUNCTION_WORDS - np.where(expected > 0, 1 / np.sqrt(np.maximum(expected, 1)), 0.0)  # less by one standard deviation
    like_verse &= (columns["function words"] >= enough) & (columns["symbols"] + columns.pop("bars") < 0.03)
    columns["sentences"] = np.where(like_verse, 1.0, columns["sentences"])
    return np.stack([columns[rule] for rule in RULES], axis=1).astype(np.float32)


def broken(values: np.ndarray, references: Sequence[Reference]) -> list[str]:
    """Returns the first rule that each text breaks, "" if it breaks none.

    Args:
        values: What `statistics` returned.
        references: What is known of the language of each text.
    """
    if not references:
        return []
    low, high = (np.stack([reference.bounds[side] for reference in references]) for side in (0, 1))
    outside = (values < low) | (values > high)
    first = np.where(outside.any(1), outside.argmax(1), -1)
    return [NAMES[at] if at >= 0 else "" for at in first.tolist()]


def fit(values: np.ndarray) -> np.ndarray:
    """Computes the fences of a language from the values of its reference text, (documents, rules).

    A fence is the usual bound, or the outer fence of the reference text, which is three interquartile ranges from its quartiles (Tukey,
    1977), whichever lets more texts pass, but none beyond the loosest of a rule.

    Returns:
        float64 (2, rules). A text breaks a rule if its value is below the first row or above the second.
    """
    low, high = np.quantile(values.astype(np.float64), [0.25, 0.75], axis=0)
    usual = np.array([(rule.low, rule.high) for rule in RULES.values()]).T
    loosest = np.array([(_or(rule.loosest_low, rule.low), _or(rule.loosest_high, rule.high)) for rule in RULES.values()]).T
    looser = np.minimum(usual[0], low - 3 * (high - low)), np.maximum(usual[1], high + 3 * (high - low))
    return np.stack([np.maximum(loosest[0], looser[0]), np.minimum(loosest[1], looser[1])])


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _share(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)


@cache
def _flags() -> np.ndarray:
    """Returns what each character below PLANES is: UPPER, LOWER, ENDING, CLOSING, SYMBOL, JOINT, uint8."""
    flags = np.zeros(PLANES, np.uint8)
    for point in range(PLANES):
        character = chr(point)
        flags[point] = UPPER * character.isupper() | LOWER * character.islower()
    for characters, flag in ((_ENDINGS, ENDING), (_CLOSINGS, CLOSING), (_SYMBOLS, SYMBOL), (_JOINTS, JOINT)):
        flags[[ord(character) for character in characters]] |= flag
    return flags


def _marks(batch: Batch, n_words: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the values of the rules about single characters; `bars` is the share of "|", and `pieces` how many words spaces separate."""
    points, kind = batch.points, batch.kind
    flags = _flags()[np.minimum(points, PLANES - 1)]

    bounds = [*batch.starts.tolist(), len(points)]

    def count(mask: np.ndarray) -> np.ndarray:
        return np.array([np.count_nonzero(mask[begin:end]) for begin, end in pairwise(bounds)])

    def after(mask: np.ndarray, n: int = 1) -> np.ndarray:
        return np.concatenate([mask[n:], np.zeros(n, bool)])  # the last character of all is the end of a line, where nothing is asked

    def before(mask: np.ndarray, n: int = 1) -> np.ndarray:
        return np.concatenate([np.zeros(n, bool), mask[:-n]])

    space, closing, letter = kind == SPACE, (flags & CLOSING) > 0, kind == LETTER
    ends = ((flags & ENDING) > 0) & ~before(kind == DIGIT)  # "1." is a number of a list, or part of a date
    short = ~(before(letter) & before(letter, 2) & before(letter, 3) & before(letter, 4))
    # Nothing begins with a small letter or a number, but Georgian, which comes next in Unicode, has no capitals there.
    small = (((flags & LOWER) > 0) & (points < 0x10A0)) | (kind == DIGIT)
    goes_on = (after(space) & after(small, 2)) | (after(closing) & after(space, 2) & after(small, 3))
    ends &= ~((points == ord(".")) & short & goes_on)  # abbreviations, as in "2010 m. gegužės"
    ends &= after(space) | (after(closing) & (after(space, 2) | (after(closing, 2) & after(space, 3))))
    comma = (points == ord(",")) & before(letter) & after(points == ord("\n"))  # as at the ends of lines of verse
    dot = points == ord(".")
    dots = (points == ord("…")) | (dot & before(dot) & before(dot, 2) & ~after(dot))
    odd = (kind == OTHER) & ((flags & JOINT) == 0)
    inside = odd & before(letter) & after(letter | odd)
    upper, n_ends, n_dots, exclamations = count((flags & UPPER) > 0), count(ends), count(dots), count(points == ord("!"))
    n_stops, n_lines = n_ends + count(comma), np.bincount(batch.lines.document, minlength=batch.n_documents)
    return {
        "sentences": np.minimum(_share(n_stops, n_lines, empty=1.0), _share(WORDS_A_LINE * n_stops, n_words, empty=1.0)),
        "capitals": _share(upper, upper + count((flags & LOWER) > 0)),
        "cut sentences": np.where(n_dots >= 3, _share(n_dots, count(ends | dots)), 0.0),
        "exclamations": np.where(exclamations >= 5, exclamations / np.maximum(n_ends, 1), 0.0),
        "symbols": _share(count((flags & SYMBOL) > 0), shown),
        "bars": _share(count(points == ord("|")), shown),
        "broken words": _share(count(inside), n_words),
        "pieces": count(~space & after(space)),
    }


def _different(references: Sequence[Reference]) -> tuple[list[Reference], np.ndarray]:
    """Returns each of the references once, and which of them is that of each text, int64 (documents,)."""
    places = {reference: at for at, reference in enumerate(dict.fromkeys(references))}
    return list(places), np.array([places[reference] for reference in references], np.int64)


def _function_words(references: Sequence[Reference], batch: Batch) -> np.ndarray:
    """Returns the share of function words of each text, divided by what is usual; 1 if that is not known."""
    different, own = _different(references)
    usual, of = np.array([reference.usual for reference in references]), batch.words.document
    wanted = np.unique(np.concatenate([reference.hashes for reference in different]))
    has = np.stack([np.isin(wanted, reference.hashes) for reference in different])
    found, at = words.places(batch.words.hash, wanted)
    mine = has[own[of[found]], at]
    share = _share(np.bincount(of[found], mine, batch.n_documents), np.bincount(of[~batch.numbers], minlength=batch.n_documents))
    return np.where(usual > 0, share / np.where(usual > 0, usual, 1.0), 1.0)


def _foreign(references: Sequence[Reference], batch: Batch) -> np.ndarray:
    """Returns the share of letters of each text that its language does not have; 0 if its letters are not known."""
    different, own = _different(references)
    places = np.flatnonzero(batch.points > 127)  # ASCII is nowhere foreign
    of = np.repeat(np.arange(batch.n_documents), np.diff(batch.starts, append=len(batch.points)))[places]
    low = np.minimum(batch.points[places], PLANES - 1)
    foreign = np.stack([reference.foreign for reference in different])[own[of], low]
    return _share(np.bincount(of[foreign], minlength=batch.n_documents), batch.kinds[:, LETTER])


def _cookies(text: str, label: str) -> int:
    """Returns how often cookies are named, 0 if less than three times."""
    lowered = text.lower()
    n = sum(map(lowered.count, ("cookie", *COOKIES.get(label, ()))))
    return n if n >= 3 else 0


@dataclass(frozen=True)
class _Recurring:
    """The n-grams of words or lines that occur more than once in their document. Equal ones stand together, in order."""

    n: int
    first: np.ndarray  # index of the first word or line of each n-gram
    begins: np.ndarray  # where each group of equal n-grams begins in `first`


def _recurring(runs: Runs, n: int, within: np.ndarray | None = None) -> _Recurring:
    """Finds the n-grams that recur. `within` are ascending indices of words, if only n-grams that begin there can recur."""
    hashes, first = words.n_grams(runs, n, within)
    keys = mix64(hashes ^ mix64(runs.document[first]))
    bucket = (keys >> np.uint64(61 - len(keys).bit_length())).astype(np.int64)  # sorting is slow, and most keys are alone in a bucket
    shared = np.flatnonzero(np.bincount(bucket)[bucket] > 1)
    order = shared[np.argsort(keys[shared], kind="stable")]
    edge = np.diff(keys[order], prepend=~keys[order[:1]], append=~keys[order[-1:]]) != 0
    more = ~(edge[:-1] & edge[1:])
    return _Recurring(n, first[order[more]], np.flatnonzero(edge[:-1][more]))


def _commonest(runs: Runs, recurring: _Recurring, n_documents: int) -> np.ndarray:
    """Returns the characters of the most common n-gram of each document times the number of its occurrences."""
    counts = np.diff(recurring.begins, append=len(recurring.first))
    first = recurring.first[recurring.begins]
    sizes = np.concatenate([[0], np.cumsum(runs.size)])
    most = np.zeros(n_documents)
    np.maximum.at(most, runs.document[first], counts * (sizes[first + recurring.n] - sizes[first]))
    return most


def _covered(runs: Runs, recurring: _Recurring, n_documents: int) -> np.ndarray:
    """Returns the number of characters of each document that lie in n-grams which occurred earlier in it."""
    again = np.delete(recurring.first, recurring.begins)
    length = len(runs.size) + 1
    edges = np.bincount(again, minlength=length) - np.bincount(again + recurring.n, minlength=length)
    inside = np.cumsum(edges)[:-1] > 0
    return np.bincount(runs.document[inside], runs.size[inside], n_documents)
