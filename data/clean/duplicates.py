"""Signatures that near duplicates share (Broder, 1997), and the search for evaluation text, both by hashes of words in a row."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.words import Batch
from varietas.data.hashing import mix64

SHINGLE = 5  # words of the n-grams of signatures, which are those of FineWeb-2: 14 bands of 8
BANDS, BAND_ROWS = 14, 8
OVERLAP = 13  # consecutive words that a text must not share with evaluation text (Brown et al., 2020)
SHORTEST = 6  # words of a line of evaluation text that must not stand in a text as a whole; shorter ones are common phrases


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
        return first[words.places(hashes, wanted)[0]]

    begun = found(SHORTEST, held.begins)
    places = [found(OVERLAP, held.long), *(found(n, wanted, begun) for n, wanted in held.short.items())]
    return np.bincount(batch.words.document[np.concatenate(places)], minlength=batch.n_documents) > 0
