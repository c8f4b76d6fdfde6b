"""Evaluation items in training text: what of an item stands in a document, found by hashes of words in a row.

Words are those of `data/clean/words.py`: case, diacritics of precomposed letters and punctuation make no difference. Two things are looked
for: the sequences of OVERLAP words that an item has (Brown et al., 2020, appendix C), and the whole of each of its texts. Texts with fewer
words than OVERLAP have none of the first, so only the whole is looked for; with fewer than SHORTEST words they are common phrases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.duplicates import OVERLAP, SHORTEST
from varietas.data.clean.words import Batch


@dataclass(frozen=True)
class Item:
    """An evaluation item, such as a document or a question with its answers."""

    name: str
    lang: str
    texts: tuple[str, ...]  # of which none continues another


@dataclass(frozen=True)
class Sought:
    """What is looked for of a list of items."""

    grams: np.ndarray  # hashes of OVERLAP words, uint64 (grams,), ascending
    starts: np.ndarray  # where the items of each of these begin in `items_of`, int64 (grams + 1,)
    items_of: np.ndarray  # int64
    totals: np.ndarray  # how many of `grams` each item has, int64 (items,)
    begins: np.ndarray  # hashes of the first SHORTEST words of each text that has so many, uint64 (texts,), ascending
    sizes: np.ndarray  # words of these texts, int64 (texts,)
    wholes: np.ndarray  # their hashes, uint64 (texts,)
    item_of_text: np.ndarray  # int64 (texts,)


@dataclass(frozen=True)
class Hits:
    """What documents have of items. The arrays of each pair have one entry a pair, int64."""

    grams: np.ndarray  # indices of `Sought.grams` that occur, ascending
    document: np.ndarray  # of a document and an item that share grams
    item: np.ndarray
    shared: np.ndarray  # how many different grams
    whole_document: np.ndarray  # of a document and a text that stands in it whole
    whole_text: np.ndarray


def sought(items: Sequence[Item]) -> Sought:
    """Returns what is looked for."""
    texts = [text for item in items for text in item.texts]
    owner = np.repeat(np.arange(len(items)), [len(item.texts) for item in items])
    runs = words.split(texts).words if texts else words.split([""]).words
    n_words = np.bincount(runs.document, minlength=len(texts))[: len(texts)]
    first_word = np.cumsum(n_words) - n_words
    hashes, first = words.n_grams(runs, OVERLAP)
    pairs = np.unique(np.stack([hashes, owner[runs.document[first]].astype(np.uint64)], axis=1), axis=0)
    grams, starts = np.unique(pairs[:, 0], return_index=True)
    long = np.flatnonzero(n_words >= SHORTEST)
    begins, _ = words.n_grams(runs, SHORTEST, first_word[long])
    order = np.argsort(begins, kind="stable")
    long, begins = long[order], begins[order]
    items_of = pairs[:, 1].astype(np.int64)
    return Sought(
        grams=grams,
        starts=np.append(starts, len(pairs)),
        items_of=items_of,
        totals=np.bincount(items_of, minlength=len(items)),
        begins=begins,
        sizes=n_words[long],
        wholes=words.hashed(runs, first_word[long], first_word[long] + n_words[long]),
        item_of_text=owner[long],
    )


def search(batch: Batch, wanted: Sought) -> Hits:
    """Returns what the documents of a batch have of items."""
    runs = batch.words
    hashes, first = words.n_grams(runs, OVERLAP)
    at = np.searchsorted(wanted.grams, hashes)
    hit = np.flatnonzero(at < len(wanted.grams))
    hit = hit[wanted.grams[at[hit]] == hashes[hit]]
    pairs = np.unique(np.stack([runs.document[first[hit]], at[hit]], axis=1), axis=0).astype(np.int64)
    counts = np.diff(wanted.starts)[pairs[:, 1]]
    of_items = np.stack([np.repeat(pairs[:, 0], counts), wanted.items_of[_ranges(wanted.starts[pairs[:, 1]], counts)]], axis=1)
    shared_by, shared = np.unique(of_items, axis=0, return_counts=True)
    whole_document, whole_text = _wholes(batch, wanted)
    return Hits(np.unique(pairs[:, 1]), shared_by[:, 0], shared_by[:, 1], shared, whole_document, whole_text)


def _wholes(batch: Batch, wanted: Sought) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of a document and a text that stands in it whole."""
    runs = batch.words
    hashes, first = words.n_grams(runs, SHORTEST)
    left, right = (np.searchsorted(wanted.begins, hashes, side) for side in ("left", "right"))
    place, text = np.repeat(first, right - left), _ranges(left, right - left)
    end = place + wanted.sizes[text]
    fits = end <= len(runs.hash)
    fits[fits] = runs.document[place[fits]] == runs.document[end[fits] - 1]
    place, text, end = place[fits], text[fits], end[fits]
    same = words.hashed(runs, place, end) == wanted.wholes[text]
    found = np.unique(np.stack([runs.document[place[same]], text[same]], axis=1), axis=0)
    return found[:, 0], found[:, 1]


def _ranges(begin: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns begin[0], begin[0] + 1, … of `size[0]` numbers, then those of the next, int64."""
    ends = np.cumsum(size)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(begin - (ends - size), size)
