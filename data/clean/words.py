"""The words and lines of many documents as arrays of hashes, so that rules about text cost little more than reading it.

A word is a run of letters, marks and digits; case and the diacritics of precomposed letters make no difference. A line ends at "\\n".
Hashes are made from prefix sums over the characters, each multiplied by the next power of an odd number. The difference of two prefix sums,
divided by the power at which a word or line begins, is its hash, wherever it stands (Karp and Rabin, 1987; arithmetic modulo 2^64).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from varietas.data.hashing import mix64

LETTER, DIGIT, SPACE, OTHER = range(4)
INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")  # soft hyphens, and characters without width
NUMBER = np.uint64(1)  # the hash of any number, where all numbers are alike
BASE = 0x9E3779B97F4A7C15 | 1
USUAL_BITS = 21  # there are fewer characters in a usual batch than two to this power
PLANES = 0x20000  # characters from here on are ideographs; emoji are below


@dataclass(frozen=True)
class Runs:
    """Words or lines in the order of the text, with one entry each. All arrays are int64, except for `hash` (uint64)."""

    document: np.ndarray  # index of the document that it is in
    size: np.ndarray  # characters
    hash: np.ndarray


@dataclass(frozen=True)
class Batch:
    """The words, lines and counts of characters of a list of texts."""

    n_documents: int
    words: Runs
    lines: Runs  # without empty ones
    numbers: np.ndarray  # whether each word has digits only, bool (words,)
    kinds: np.ndarray  # int64 (documents, 4): number of letters, digits, spaces and other characters
    points: np.ndarray  # all characters, "\n" after each document: uint32
    kind: np.ndarray  # LETTER, DIGIT, SPACE or OTHER for each of them: uint8
    starts: np.ndarray  # index of the first character of each document: int64


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Returns the kind of each character below PLANES, and the hash of the character in lower case without diacritics."""
    kinds = np.full(PLANES, OTHER, np.uint8)
    lower = np.arange(PLANES)
    for point in range(PLANES):
        character = chr(point)
        category = unicodedata.category(character)
        if category[0] in "LM":
            kinds[point] = LETTER
            small = unicodedata.normalize("NFD", character.casefold())
            lower[point] = ord(small[0] if all(map(unicodedata.combining, small[1:])) else character)
        elif category[0] == "N":
            kinds[point] = DIGIT
        elif character.isspace():
            kinds[point] = SPACE
    return kinds, mix64(lower)


def split(texts: Sequence[str]) -> Batch:
    """Splits each text into words and lines."""
    texts = [INVISIBLE.sub("", text) if INVISIBLE.search(text) else text for text in texts]
    joined = "\n".join(texts) + "\n"
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kind_of, hash_of = _table()
    low = np.minimum(points, PLANES - 1)
    kinds, value = kind_of[low], hash_of[low]
    beyond = np.flatnonzero(points >= PLANES)
    kinds[beyond], value[beyond] = LETTER, mix64(points[beyond])
    ends = np.cumsum([len(text) + 1 for text in texts])
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    document = np.repeat(np.arange(len(texts)), np.diff(ends, prepend=0))

    hash_of_piece = _rolling(value)

    def edges(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.flatnonzero(np.diff(inside, prepend=False, append=False))
        return found[::2], found[1::2]

    def runs(begin: np.ndarray, end: np.ndarray) -> Runs:
        return Runs(document[begin], end - begin, hash_of_piece(begin, end))

    counts = np.bincount(document * 4 + kinds, minlength=4 * len(texts)).reshape(-1, 4)
    counts[:, SPACE] -= 1  # the line end that was added to each document
    begin, end = edges(kinds <= DIGIT)
    digits = np.concatenate([[0], np.cumsum(kinds == DIGIT)])
    numbers = digits[end] - digits[begin] == end - begin
    return Batch(len(texts), runs(begin, end), runs(*edges(points != ord("\n"))), numbers, counts, points, kinds, starts)


def places(hashes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds hashes among others that are sorted and each there once.

    Returns:
        The indices of the hashes that are found, in order, and the index of each in `wanted`.
    """
    begins = np.zeros(1 << 16, bool)  # with which bits any of them begins: most hashes are left out by that, which is faster
    begins[wanted >> np.uint64(48)] = True
    likely = np.flatnonzero(begins[hashes >> np.uint64(48)])
    at = np.searchsorted(wanted, hashes[likely])
    found = wanted.take(at, mode="clip") == hashes[likely] if len(wanted) else np.zeros(0, bool)
    return likely[found], at[found]


def alike(batch: Batch, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `n_grams` does, with one hash for all numbers. An n-gram that is mostly numbers, as those of tables are, keeps them."""
    hashes, first = n_grams(batch.words, n)
    same, _ = n_grams(replace(batch.words, hash=np.where(batch.numbers, NUMBER, batch.words.hash)), n)
    counts = np.concatenate([[0], np.cumsum(batch.numbers)])
    return np.where(counts[first + n] - counts[first] < n / 2, same, hashes), first


def _rolling(values: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns a function that hashes the values (uint64) from each index of `begin` up to the one of `end`."""
    power, inverse = _powers(max(len(values).bit_length(), USUAL_BITS))
    prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * power[: len(values)])])
    return lambda begin, end: mix64((prefix[end] - prefix[begin]) * inverse[begin])


@lru_cache(maxsize=2)  # the usual table, and that of a huge document, which does not stay
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns BASE and its inverse modulo 2^64, each to the powers 0 to 2^bits - 1."""
    out = []
    for base in (BASE, pow(BASE, -1, 1 << 64)):
        powers = np.full(1 << bits, base, np.uint64)
        powers[0] = 1
        out.append(np.cumprod(powers))
    return out[0], out[1]


def n_grams(runs: Runs, n: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hashes every n-gram, that is, n consecutive words of one document.

    Args:
        runs: The words.
        n: Words of an n-gram.
        within: Ascending indices of words, if only the n-grams that begin there are wanted.

    Returns:
        The hash of each n-gram (uint64) and the index of its first word, in order.
    """
    first = np.arange(len(runs.hash)) if within is None else within
    first = first[: np.searchsorted(first, len(runs.hash) - n, side="right")]
    first = first[runs.document[first] == runs.document[first + n - 1]]
    return _rolling(runs.hash)(first, first + n), first


def hashed(runs: Runs, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Hashes the words from each index of `begin` up to the one of `end`, as `n_grams` does: uint64. They have to be of one document."""
    return _rolling(runs.hash)(begin, end)
