"""Compares the labels of many documents with their texts.

Function words, counted in all of a text, confirm most labels and cost next to nothing. Only the other texts are read by the identifiers of
data/text/identify.py, which also decide which labels are wrong. How much of a document is in which language is told by the same words.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.fences import Fences, Vocabulary, is_shared
from varietas.data.clean.words import Batch
from varietas.data.text.identify import Verdict, check

USUAL = 0.6  # share of function words, divided by the usual share of the language, from which they speak for a label
FEWEST = 3  # of them that are not function words of the other language, for any other
LONG, LEAST = 800, 0.4  # characters, and the share of the label's language below which such a text is in another one
PIECE = 40  # words of a piece of a document whose language is told by itself
LIKELY, CONFIRMED = 1.5, 3.0  # how many times the words that only the other language has; more than that confirms the label


def compare(texts: Sequence[str], labels: Sequence[str], ahead: np.ndarray, shares: Sequence[Mapping[str, float]]) -> list[Verdict]:
    """Compares texts with their labels ("ces_Latn").

    A text of LONG characters is in another language if less than LEAST of it is in that of its label. Labels that share their function
    words with others (fences.TOGETHER) are always read by an identifier.

    Args:
        texts: The texts.
        labels: The label of each.
        ahead: How clearly function words speak for each label, from `by_function_words`.
        shares: The share of each language in each text, from there too.

    Raises:
        ModuleNotFoundError: If an identifier is needed and not installed.
    """
    verdicts = []
    for text, label, times, parts in zip(texts, labels, ahead.tolist(), shares, strict=True):
        shared = is_shared(label)
        if parts and len(text) >= LONG and parts.get(label, 0.0) < LEAST:
            verdicts.append(Verdict("other", next(iter(parts)).partition("_")[0]))
        elif times >= CONFIRMED and not shared:
            verdicts.append(Verdict("same", label.partition("_")[0]))
        else:
            verdicts.append(check(text, label, likely=times >= (CONFIRMED if shared else LIKELY)))
    return verdicts


def by_function_words(labels: Sequence[str], batch: Batch, known: Fences) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Judges the labels of documents, and tells how much of each is in which language, by function words.

    For the shares, a document is cut into pieces of PIECE words. A piece is in the language of the label unless function words speak
    clearly for another one. So little is seen of a language with most function words of the label's, or in single sentences.

    Args:
        labels: The label of each document.
        batch: Their words.
        known: Function words of all languages.

    Returns:
        How clearly function words speak for each label, float64 (documents,): how many of them only its language has, for each that only
        another language has, as if these were equally frequent in both; that of the closest other language counts. It is 0 if there are too
        few, or if nothing is known of the language. And the share of each language in each document, by label, the largest first; {} if
        nothing is known of the label's language.
    """
    vocabulary = known.vocabulary()
    own = np.array([vocabulary.columns.get(label, -1) for label in labels], np.int64)
    of = batch.words.document
    begins = (np.arange(len(of)) - np.searchsorted(of, np.arange(batch.n_documents))[of]) % PIECE == 0
    document, piece = of[begins], np.cumsum(begins) - 1
    pieces = _counted(own[document], piece, batch, vocabulary)
    of_own, only_own, only_other = (_summed(counts, document, batch.n_documents) for counts in pieces)
    others = vocabulary.group[own][:, None] != vocabulary.group
    as_usual = vocabulary.usual[own][:, None] / vocabulary.usual  # some languages have more function words than others
    ahead = np.where(only_own >= FEWEST, only_own / np.maximum(only_other * as_usual, 1), 0.0).min(1, initial=np.inf, where=others)
    n_words = np.bincount(of[~batch.numbers], minlength=batch.n_documents)
    ahead = np.where((own >= 0) & (of_own >= USUAL * vocabulary.usual[own] * n_words), ahead, 0.0)
    of_others = pieces[2] * as_usual[document] * others[document]
    clearly = np.where((of_others >= FEWEST) & (of_others >= CONFIRMED * pieces[1]), of_others - pieces[1], 0.0)
    language = np.where(clearly.any(1), clearly.argmax(1), np.maximum(own[document], 0))
    return ahead, _shares(labels, own, document, language, np.bincount(piece), list(vocabulary.columns))


def _shares(
    labels: Sequence[str], own: np.ndarray, document: np.ndarray, language: np.ndarray, size: np.ndarray, names: list[str]
) -> list[dict[str, float]]:
    """Returns the share of each language in each document, from the document, the language and the words of each piece."""
    n_words = np.bincount(document * len(names) + language, size, len(own) * len(names)).reshape(-1, len(names))
    found = []
    for label, of_label, counts in zip(labels, own.tolist(), n_words, strict=True):
        order = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]] if of_label >= 0 else []
        found.append({label if at == of_label else names[at]: float(counts[at] / counts.sum()) for at in order})
    return found


def _counted(own: np.ndarray, piece: np.ndarray, batch: Batch, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts function words in pieces.

    Args:
        own: The number of the language of each piece's label, -1 if nothing is known of it, int64 (pieces,).
        piece: The piece of each word, ascending, int64 (words,).
        batch: The words.
        vocabulary: Function words of all languages.

    Returns:
        How many each piece has of its own language, (pieces,); how many of these each language does not have, and how many of each language
        its own does not have, (pieces, languages). All are whole numbers as floats.
    """
    from scipy.sparse import csr_array  # imported here: it takes a fifth of a second

    found, place = words.places(batch.words.hash, vocabulary.hashes)
    of = piece[found]
    place, of = place[own[of] >= 0], of[own[of] >= 0]
    bounds = np.searchsorted(of, np.arange(len(own) + 1))

    def counted(weights: np.ndarray) -> np.ndarray:
        counts: np.ndarray = csr_array((weights, place, bounds), (len(own), len(vocabulary.hashes))) @ vocabulary.has
        return counts

    mine = vocabulary.has[place, own[of]]
    of_own, of_all, of_both = np.bincount(of, mine, len(own)), counted(np.ones_like(mine)), counted(mine)
    return of_own, of_own[:, None] - of_both, of_all - of_both


def _summed(counts: np.ndarray, document: np.ndarray, n: int) -> np.ndarray:
    """Sums what is counted in pieces over the `n` documents, in whose order the pieces are."""
    sums = np.zeros((n, *counts.shape[1:]))
    with_words, first = np.unique(document, return_index=True)
    if len(first):
        sums[with_words] = np.add.reduceat(counts, first)
    return sums
