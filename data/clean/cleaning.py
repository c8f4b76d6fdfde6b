"""Cleaning steps. A config switches each of them on, and each gives its own reason for the documents it rejects.

The steps that look at a single document are here. The steps that compare a document with others of its language (rules whose thresholds
depend on the language, duplicates) are in select.py, and use the statistics and signatures that are computed here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.blocked import is_blocked
from varietas.data.clean.words import LETTER, SPACE, Batch, Runs
from varietas.data.hashing import mix64
from varietas.data.text.conversation import said
from varietas.data.text.documents import Document, NotADocument

PII_MODES = ("keep", "mask", "drop")
DUPLICATE_MODES = ("keep", "exact", "near")
OPTED_OUT = "opted out"  # begins the reasons for which documents that must not be used are left out


@dataclass(frozen=True)
class Cleaning:
    """The cleaning steps of `prepare`. configs/base.py explains each field."""

    opt_outs: bool = True
    verdicts: bool = False
    blocked: str = ""
    unicode: bool = False
    language: bool = False
    min_chars: int = 0
    rules: bool = False
    pii: str = "keep"
    duplicates: str = "keep"
    overlap: bool = False
    overlap_text: str = ""


@dataclass(frozen=True)
class Bounds:
    """The usual range of a value. A text outside of it is suspect, unless much of its language is outside too. Bounds may be infinite."""

    low: float
    high: float
    what: str  # meaning of the value
    loosest_low: float = -np.inf  # how far the bounds may move with the language, however much of it is outside
    loosest_high: float = np.inf


# The thresholds are those of Gopher (Rae et al., 2021, table A1), with two exceptions: `letters` replaces Gopher's rules about words
# without a letter and about symbols, and `short lines` is FineWeb's (Penedo et al., 2024).
RULES = {
    "word length": Bounds(3, 10, "mean number of characters of a word"),
    "letters": Bounds(0.7, np.inf, "share of letters among characters other than spaces", loosest_low=0.5),
    "short lines": Bounds(-np.inf, 0.3, "lines per word", loosest_high=0.5),
    "repeated lines": Bounds(-np.inf, 0.2, "share of characters in lines that occurred earlier in the text", loosest_high=0.4),
    "top 3-gram": Bounds(
        -np.inf, 0.18, "share of word characters in the most common three words in a row, if these occur more than once", loosest_high=0.3
    ),
    "repeated 5-grams": Bounds(
        -np.inf, 0.15, "share of word characters in five words in a row that occurred earlier in the text", loosest_high=0.3
    ),
    "repeated 10-grams": Bounds(
        -np.inf, 0.10, "share of word characters in ten words in a row that occurred earlier in the text", loosest_high=0.2
    ),
}

SHINGLE = 5  # words of the n-grams of signatures, which are those of FineWeb-2: 14 bands of 8
BANDS, BAND_ROWS = 14, 8
FEW = 20  # minimum number of texts of a language for which thresholds are computed; with fewer, the loosest count
OVERLAP = 13  # consecutive words that a text must not share with evaluation text (Brown et al., 2020)
SHORTEST = 6  # words of a line of evaluation text that must not stand in a text as a whole; shorter ones are common phrases

# Finds what ftfy may repair: UTF-8 that was decoded as Latin-1 or Windows-1252, and characters that no text should contain.
_FOLLOWS = "\xa0-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEVER = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\r\ufffe\uffff"
_SUSPECT = re.compile(f"[{_NEVER}{_FOLLOWS}](?:(?<=[{_NEVER}])|(?<=[Â-Ó].)|(?<=[à-ï][{_FOLLOWS}].))")  # re can skip by the first set


def clean(document: Document, cleaning: Cleaning, changed: Counter[str]) -> Document:
    """Applies the steps that look at a single document.

    Args:
        document: The document.
        cleaning: Steps that are switched on.
        changed: Counts the changes by kind. It is updated in place.

    Returns:
        The document as it is to be kept.

    Raises:
        NotADocument: If the document is rejected.
        ModuleNotFoundError: If a package that a step needs is not installed.
    """
    signals = document.signals
    if cleaning.opt_outs and (why := opted_out(document)):
        raise NotADocument(why)
    if cleaning.verdicts and signals.get("filter", "keep") != "keep":
        raise NotADocument(f"filter: {signals['filter']}")
    if cleaning.blocked and is_blocked(document.url, cleaning.blocked):
        raise NotADocument("blocked domain")
    turns, rejected = (
        tuple((role, _cleaned(replace(document, text=content), cleaning, changed)) for role, content in conversation)
        for conversation in (document.turns, document.rejected)
    )
    text = said(turns, rejected) if turns else _cleaned(document, cleaning, changed)
    if len(text) < cleaning.min_chars or not text.strip():
        raise NotADocument("short")
    if text != document.text and "pii" in signals:  # its offsets refer to the original text
        signals = {name: value for name, value in signals.items() if name != "pii"}
    if cleaning.language:
        from varietas.data.text.identify import check

        verdict = check(text, document.lang)
        if verdict.outcome == "other":
            raise NotADocument("another language")
        signals = {**signals, "lang_checked": verdict.outcome == "same"}
    if text == document.text and signals is document.signals:
        return document
    return replace(document, text=text, turns=turns, rejected=rejected, signals=signals)


def _cleaned(document: Document, cleaning: Cleaning, changed: Counter[str]) -> str:
    """Returns the text of a document without what the steps that change a text take out of it."""
    text, marked = document.text, 0
    if cleaning.pii != "keep":
        text, marked = _without_marked(document)
    if cleaning.unicode:  # before the search: what is decomposed or was decoded wrongly would not be found
        before, text = text, repair(text)
        changed["unicode"] += text != before
    if cleaning.pii != "keep":
        from varietas.data.clean import pii

        text, found = pii.mask(text, document.lang)
        found["pii"] += marked
        if cleaning.pii == "drop" and found.total():
            raise NotADocument("personal data")
        changed.update(+found)
    return text


def opted_out(document: Document) -> str:
    """Returns what excludes a text from training, as the reason of a reject, or "" if nothing does."""
    signals = document.signals
    if signals.get("robots") is False:
        return f"{OPTED_OUT}: robots.txt"
    if signals.get("opt_out"):
        return f"{OPTED_OUT}: rights reserved"
    return f"{OPTED_OUT}: collection" if signals.get("filter") == "optout" else ""


def repair(text: str) -> str:
    """Normalises to NFC, repairs mojibake with ftfy, writes line ends as "\\n" and removes control characters.

    Ligatures, quotation marks and characters of full or half width stay as they are.
    """
    if _SUSPECT.search(text):
        import ftfy

        text = ftfy.fix_text(
            text,
            unescape_html=False,
            uncurl_quotes=False,
            fix_latin_ligatures=False,
            fix_character_width=False,
            normalization=None,
            explain=False,
        )
    return unicodedata.normalize("NFC", text)


def _without_marked(document: Document) -> tuple[str, int]:
    """Returns the text without the personal data that the collection has marked, by its offsets, and how many places these are."""
    text, spans = document.text, list[list[int]]()
    for begin, end in sorted(document.signals.get("pii") or []):
        if spans and begin < spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([begin, end])
    for begin, end in reversed(spans):
        text = text[:begin] + "<pii>" + text[end:]
    return text, len(spans)


def statistics(batch: Batch) -> np.ndarray:
    """Computes the values of each text for RULES.

    In a text without words, the statistics of words get values that break no rule.

    Returns:
        float32 (documents, rules).
    """
    n, of_words = batch.n_documents, batch.words
    characters = np.bincount(of_words.document, of_words.size, n)
    in_lines = np.bincount(batch.lines.document, batch.lines.size, n)
    threes = _recurring(of_words, 3)
    fives = _recurring(of_words, 5, np.sort(threes.first))  # five words that recur begin with three that recur
    tens = _recurring(of_words, 10, np.sort(fives.first))
    shown = batch.kinds.sum(1) - batch.kinds[:, SPACE]
    columns = {
        "word length": _share(characters, np.bincount(of_words.document, minlength=n), empty=5.0),
        "letters": _share(batch.kinds[:, LETTER], shown, empty=0.0),
        "short lines": _share(np.bincount(batch.lines.document, minlength=n), np.bincount(of_words.document, minlength=n)),
        "repeated lines": _share(_covered(batch.lines, _recurring(batch.lines, 1), n), in_lines),
        "top 3-gram": _share(_commonest(of_words, threes, n), characters),
        "repeated 5-grams": _share(_covered(of_words, fives, n), characters),
        "repeated 10-grams": _share(_covered(of_words, tens, n), characters),
    }
    return np.stack([columns[rule] for rule in RULES], axis=1).astype(np.float32)


def _share(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)


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


def signatures(batch: Batch) -> np.ndarray:
    """Computes a MinHash signature of each text. Two texts that share a band are near duplicates.

    Two texts with a share s of their 5-grams in common share a band with probability 1 - (1 - s^8)^14: 0.92 at 0.8, 0.05 at 0.5.

    Returns:
        uint64 (documents, BANDS). All bands of a text with fewer than SHINGLE words are 0.

    Raises:
        ModuleNotFoundError: If rensa is not installed.
    """
    try:
        from rensa import RMinHash
    except ModuleNotFoundError:
        raise ModuleNotFoundError("near duplicates need rensa; run: pip install 'varietas[data]'") from None
    hashes, first = words.alike(batch, SHINGLE)
    counts = np.bincount(batch.words.document[first], minlength=batch.n_documents)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    digests = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, BANDS * BAND_ROWS, 0)
    rows = np.array(digests.to_rows(), np.uint64).reshape(batch.n_documents, BANDS, BAND_ROWS)
    bands = np.zeros(rows.shape[:2], np.uint64)
    for k in range(BAND_ROWS):
        bands = mix64(bands ^ mix64(rows[:, :, k]))
    return np.where(counts[:, None] > 0, bands, np.uint64(0))


class Held(NamedTuple):
    """What of evaluation texts must not stand in a text, as hashes of words in a row, uint64, sorted."""

    long: np.ndarray  # OVERLAP words
    short: dict[int, np.ndarray]  # whole lines of so many words
    begins: np.ndarray  # the first SHORTEST words of these lines


NO_TEXT = Held(np.zeros(0, np.uint64), {}, np.zeros(0, np.uint64))


def held_out(texts: Iterable[str]) -> Held:
    """Returns what of evaluation texts must not stand in a text."""
    listed = list(texts)
    long = words.n_grams(words.split(listed).words, OVERLAP)[0]
    lines = words.split([line for text in listed for line in text.split("\n")])
    of_lines, n_words = lines.words, np.bincount(lines.words.document, minlength=lines.n_documents)
    begins = np.cumsum(n_words) - n_words
    short = {n: np.unique(words.n_grams(of_lines, n, begins[n_words == n])[0]) for n in range(SHORTEST, OVERLAP)}
    starts = begins[(n_words >= SHORTEST) & (n_words < OVERLAP)]
    return Held(np.unique(long), short, np.unique(words.n_grams(of_lines, SHORTEST, starts)[0]))


def overlaps(batch: Batch, held: Held) -> np.ndarray:
    """Returns whether each text has OVERLAP words in a row, or a whole short line, of evaluation text: bool (documents,)."""

    def found(n: int, wanted: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
        hashes, first = words.n_grams(batch.words, n, within)
        return first[np.isin(hashes, wanted)]

    begun = found(SHORTEST, held.begins)
    places = [found(OVERLAP, held.long), *(found(n, wanted, begun) for n, wanted in held.short.items())]
    return np.bincount(batch.words.document[np.concatenate(places)], minlength=batch.n_documents) > 0


def fences(values: np.ndarray) -> np.ndarray:
    """Computes the thresholds of a language.

    A threshold is the published one, or the outer fence of the language, which is three interquartile ranges from its quartiles (Tukey,
    1977), whichever lets more texts pass, but none beyond the loosest of a rule. For example, long words do not count against a Finnish
    text, while a language of which half is spam does not let spam pass. With fewer than FEW texts, the loosest thresholds count.

    Args:
        values: Statistics of the texts of the language, (documents, rules).

    Returns:
        float64 (2, rules). A text breaks a rule if its value is below the first row or above the second.
    """
    loosest = np.array([(rule.loosest_low, rule.loosest_high) for rule in RULES.values()]).T
    if len(values) < FEW:
        return loosest
    low, high = np.quantile(values.astype(np.float64), [0.25, 0.75], axis=0)
    published = np.array([(rule.low, rule.high) for rule in RULES.values()]).T
    looser = np.minimum(published[0], low - 3 * (high - low)), np.maximum(published[1], high + 3 * (high - low))
    return np.stack([np.maximum(loosest[0], looser[0]), np.minimum(loosest[1], looser[1])])
