"""What is wrong with a text: steps that a config switches on, each with a reason of its own for what it rejects.

Steps that need one document alone are here; which documents are rejected by comparison with others of their language (rules with
thresholds of the language itself, duplicates) is decided in select.py, from the statistics and signatures that are made here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from varietas.data import words
from varietas.data.documents import Document, NotADocument
from varietas.data.hashing import mix64
from varietas.data.words import LETTER, SPACE, Batch, Runs

PII_MODES = ("keep", "mask", "drop")
DUPLICATE_MODES = ("keep", "exact", "near")


@dataclass(frozen=True)
class Cleaning:
    """What `prepare` does to text. See configs/base.py for what each field means."""

    opt_outs: bool = True
    verdicts: bool = False
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
    """Outside of these a text is suspect, unless much of its language is so too. `low` or `high` may be missing."""

    low: float
    high: float
    what: str


# Thresholds of Gopher (Rae et al., 2021, table A1) but for `letters`, which stands for its words without a letter and its symbols, and
# for `short lines`, which is FineWeb's (Penedo et al., 2024).
RULES = {
    "word length": Bounds(3, 10, "mean characters of a word"),
    "letters": Bounds(0.7, np.inf, "letters among the characters that are no space"),
    "short lines": Bounds(-np.inf, 0.3, "lines a word"),
    "repeated lines": Bounds(-np.inf, 0.2, "characters in lines that the text has had before"),
    "top 3-gram": Bounds(-np.inf, 0.18, "characters of words in the commonest three words, where they occur twice"),
    "repeated 5-grams": Bounds(-np.inf, 0.15, "characters of words in five words that the text has had before"),
    "repeated 10-grams": Bounds(-np.inf, 0.10, "characters of words in ten words that the text has had before"),
}

SHINGLE = 5  # words; signatures as FineWeb-2 has them: 14 bands of 8
BANDS, BAND_ROWS = 14, 8
FEW = 20  # texts of a language below which its rules would be guesses
OVERLAP = 13  # words in a row that a text may not share with the evaluation text (Brown et al., 2020)

# Text that was decoded as Latin-1 or Windows-1252 though it was UTF-8, and what no text should hold: worth a closer look by ftfy.
_FOLLOWS = "\xa0-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEVER = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\r\ufffe\uffff"
_SUSPECT = re.compile(f"[{_NEVER}{_FOLLOWS}](?:(?<=[{_NEVER}])|(?<=[Â-Ó].)|(?<=[à-ï][{_FOLLOWS}].))")  # one set first: re skips by it


def clean(document: Document, cleaning: Cleaning, changed: Counter[str]) -> Document:
    """The document as it is to be kept; what was changed is counted. Raises NotADocument if it is not to be kept."""
    signals = document.signals
    if cleaning.opt_outs and opted_out(document):
        raise NotADocument("opted out")
    if cleaning.verdicts and signals.get("filter", "keep") != "keep":
        raise NotADocument(f"filter: {signals['filter']}")
    text = document.text
    if cleaning.pii != "keep":
        text = _without_pii(document, cleaning.pii, changed)
    if cleaning.unicode:
        before, text = text, repair(text)
        changed["unicode"] += text != before
    if len(text) < cleaning.min_chars or not text.strip():
        raise NotADocument("short")
    if text != document.text and "pii" in signals:  # its offsets are of the text as it was
        signals = {name: value for name, value in signals.items() if name != "pii"}
    if cleaning.language:
        from varietas.data.identify import check

        verdict = check(text, document.lang)
        if verdict.outcome == "other":
            raise NotADocument("another language")
        signals = {**signals, "lang_checked": verdict.outcome == "same"}
    return document if text == document.text and signals is document.signals else replace(document, text=text, signals=signals)


def opted_out(document: Document) -> bool:
    """Whether robots.txt, the collection or the page itself excludes a text from what we do."""
    signals = document.signals
    return signals.get("robots") is False or signals.get("filter") == "optout" or bool(signals.get("opt_out"))


def repair(text: str) -> str:
    """NFC, mojibake undone by ftfy, line ends as "\\n", no control characters. Ligatures, quotes and width stay as they are."""
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


def _without_pii(document: Document, mode: str, changed: Counter[str]) -> str:
    from varietas.data import pii

    text, spans = document.text, list[list[int]]()
    for begin, end in sorted(document.signals.get("pii") or []):  # what the collection itself found
        if spans and begin < spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([begin, end])
    for begin, end in reversed(spans):
        text = text[:begin] + "<pii>" + text[end:]
    text, found = pii.mask(text)
    found["pii"] += len(spans)
    if mode == "drop" and found.total():
        raise NotADocument("personal data")
    changed.update(+found)
    return text


def statistics(batch: Batch) -> np.ndarray:
    """float32 (documents, rules): each text's values for RULES. A text without words has none that offends."""
    n, of_words = batch.n_documents, batch.words
    characters = np.bincount(of_words.document, of_words.size, n)
    in_lines = np.bincount(batch.lines.document, batch.lines.size, n)
    threes = _recurring(of_words, 3)
    fives = _recurring(of_words, 5, np.sort(threes.first))  # five words that are repeated begin with three that are
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
    """The n-grams of words or lines that occur more than once in their document, kind by kind, those of a kind in order."""

    n: int
    first: np.ndarray  # index of the first word or line of each
    begins: np.ndarray  # where each kind begins in `first`


def _recurring(runs: Runs, n: int, within: np.ndarray | None = None) -> _Recurring:
    """`within`: ascending indices, if only n-grams that begin there may recur."""
    hashes, first = words.n_grams(runs, n, within)
    keys = mix64(hashes ^ mix64(runs.document[first]))
    bucket = (keys >> np.uint64(61 - len(keys).bit_length())).astype(np.int64)  # sorting is dear: most keys are alone in theirs
    shared = np.flatnonzero(np.bincount(bucket)[bucket] > 1)
    order = shared[np.argsort(keys[shared], kind="stable")]
    edge = np.diff(keys[order], prepend=~keys[order[:1]], append=~keys[order[-1:]]) != 0
    more = ~(edge[:-1] & edge[1:])
    return _Recurring(n, first[order[more]], np.flatnonzero(edge[:-1][more]))


def _commonest(runs: Runs, recurring: _Recurring, n_documents: int) -> np.ndarray:
    """Characters that the commonest n-gram of each document makes up: its own, times how often it occurs."""
    counts = np.diff(recurring.begins, append=len(recurring.first))
    first = recurring.first[recurring.begins]
    sizes = np.concatenate([[0], np.cumsum(runs.size)])
    most = np.zeros(n_documents)
    np.maximum.at(most, runs.document[first], counts * (sizes[first + recurring.n] - sizes[first]))
    return most


def _covered(runs: Runs, recurring: _Recurring, n_documents: int) -> np.ndarray:
    """Characters that lie, in each document, in n-grams which it has had before."""
    again = np.delete(recurring.first, recurring.begins)
    length = len(runs.size) + 1
    edges = np.bincount(again, minlength=length) - np.bincount(again + recurring.n, minlength=length)
    inside = np.cumsum(edges)[:-1] > 0
    return np.bincount(runs.document[inside], runs.size[inside], n_documents)


def signatures(batch: Batch) -> np.ndarray:
    """uint64 (documents, BANDS): two texts that share a band are near duplicates. All zero where there are too few words to tell.

    Two texts with a part s of their 5-grams in common share one with probability 1 - (1 - s^8)^14: 0.92 at 0.8, 0.05 at 0.5.
    Raises ModuleNotFoundError if rensa is missing.
    """
    try:
        from rensa import RMinHash
    except ModuleNotFoundError:
        raise ModuleNotFoundError("near duplicates need rensa; run: pip install 'varietas[data]'") from None
    hashes, first = words.n_grams(batch.words, SHINGLE)
    counts = np.bincount(batch.words.document[first], minlength=batch.n_documents)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    digests = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, BANDS * BAND_ROWS, 0)
    rows = np.array(digests.to_rows(), np.uint64).reshape(batch.n_documents, BANDS, BAND_ROWS)
    bands = np.zeros(rows.shape[:2], np.uint64)
    for k in range(BAND_ROWS):
        bands = mix64(bands ^ mix64(rows[:, :, k]))
    return np.where(counts[:, None] > 0, bands, np.uint64(0))


def held_out(texts: Iterable[str]) -> np.ndarray:
    """The 13-grams of evaluation texts, as sorted hashes (uint64)."""
    return np.unique(words.n_grams(words.split(list(texts)).words, OVERLAP)[0])


def overlaps(batch: Batch, held: np.ndarray) -> np.ndarray:
    """bool (documents,): which share a 13-gram with the evaluation text."""
    hashes, first = words.n_grams(batch.words, OVERLAP)
    return np.bincount(batch.words.document[first[np.isin(hashes, held)]], minlength=batch.n_documents) > 0


def fences(values: np.ndarray) -> np.ndarray:
    """float64 (2, rules): below the first and above the second a text of the language breaks a rule. `values` is (documents, rules).

    A threshold is the published one or the outer fence of the language, three interquartile ranges from its quartiles (Tukey, 1977),
    whichever lets more pass: so long words are no fault in Finnish. With fewer than FEW texts everything passes.
    """
    if len(values) < FEW:
        return np.array([[-np.inf] * len(RULES), [np.inf] * len(RULES)])
    low, high = np.quantile(values.astype(np.float64), [0.25, 0.75], axis=0)
    published = np.array([(rule.low, rule.high) for rule in RULES.values()]).T
    return np.stack([np.minimum(published[0], low - 3 * (high - low)), np.maximum(published[1], high + 3 * (high - low))])
