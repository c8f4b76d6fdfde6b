"""The words and lines of many documents as arrays of hashes, so that rules about text cost little more than reading it.

A word is a run of letters, marks and digits, lower-cased; a line ends at "\\n". Hashes are made from prefix sums over the characters, each
multiplied by the next power of an odd number. The difference of two prefix sums, divided by the power at which a word or line begins, is
its hash, wherever it stands (Karp and Rabin, 1987; arithmetic modulo 2^64).
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from varietas.data.hashing import mix64

LETTER, DIGIT, SPACE, OTHER = range(4)
BASE = 0x9E3779B97F4A7C15 | 1
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
    kinds: np.ndarray  # int64 (documents, 4): number of letters, digits, spaces and other characters


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Returns the kind of each character below PLANES, and the hash of the character in lower case."""
    kinds = np.full(PLANES, OTHER, np.uint8)
    lower = np.arange(PLANES)
    for point in range(PLANES):
        character = chr(point)
        category = unicodedata.category(character)
        if category[0] in "LM":
            kinds[point] = LETTER
            if len(small := character.lower()) == 1:
                lower[point] = ord(small)
        elif category[0] == "N":
            kinds[point] = DIGIT
        elif character.isspace():
            kinds[point] = SPACE
    return kinds, mix64(lower)


def split(texts: Sequence[str]) -> Batch:
    """Splits each text into words and lines."""
    joined = "\n".join(texts) + "\n"
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kind_of, hash_of = _table()
    low = np.minimum(points, PLANES - 1)
    kinds, value = kind_of[low], hash_of[low]
    beyond = np.flatnonzero(points >= PLANES)
    kinds[beyond], value[beyond] = LETTER, mix64(points[beyond])
    ends = np.cumsum([len(text) + 1 for text in texts])
    document = np.repeat(np.arange(len(texts)), np.diff(ends, prepend=0))

    hash_of_piece = _rolling(value)

    def runs(inside: np.ndarray) -> Runs:
        edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
        begin, end = edges[::2], edges[1::2]
        return Runs(document[begin], end - begin, hash_of_piece(begin, end))

    counts = np.bincount(document * 4 + kinds, minlength=4 * len(texts)).reshape(-1, 4)
    counts[:, SPACE] -= 1  # the line end that was added to each document
    return Batch(len(texts), runs(kinds <= DIGIT), runs(points != ord("\n")), counts)


def _rolling(values: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns a function that hashes the values (uint64) from each index of `begin` up to the one of `end`."""
    power, inverse = _powers(len(values).bit_length())
    prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * power[: len(values)])])
    return lambda begin, end: mix64((prefix[end] - prefix[begin]) * inverse[begin])


@lru_cache(maxsize=4)  # for the characters and words of a batch, on both sides of a power of two; tables for a huge document do not stay
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
