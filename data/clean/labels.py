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


def compare(
    texts: Sequence[str], labels: Sequence[str], batch: Batch, known: Fences, found: Sequence[Mapping[str, float]]
) -> list[Verdict]:
    """Compares texts with their labels ("ces_Latn").

    A text of LONG characters is in another language if less than LEAST of it is in that of its label. Labels that share their function
    words with others (fences.TOGETHER) are always read by an identifier.

    Args:
        texts: The texts.
        labels: The label of each.
        batch: Their words.
        known: Function words of all languages.
        found: The share of each language in each text, from `shares`.

    Raises:
        ModuleNotFoundError: If an identifier is needed and not installed.
    """
    verdicts = []
    for text, label, ahead, parts in zip(texts, labels, ahead_of_others(labels, batch, known).tolist(), found, strict=True):
        shared = is_shared(label)
        if parts and len(text) >= LONG and parts.get(label, 0.0) < LEAST:
            verdicts.append(Verdict("other", next(iter(parts)).partition("_")[0]))
        elif ahead >= CONFIRMED and not shared:
            verdicts.append(Verdict("same", label.partition("_")[0]))
        else:
            verdicts.append(check(text, label, likely=ahead >= (CONFIRMED if shared else LIKELY)))
    return verdicts


def ahead_of_others(labels: Sequence[str], batch: Batch, known: Fences) -> np.ndarray:
    """Returns how clearly function words speak for each label, float64 (documents,).

    The value is how many of them only its language has, for each that only another language has, as if these were equally frequent in both;
    that of the closest other language counts. It is 0 if there are too few, or if nothing is known of the language.
    """
    vocabulary = known.vocabulary()
    n, own = batch.n_documents, _columns(labels, vocabulary)
    of_own, only_own, only_other = _counted(own, batch.words.document, batch, vocabulary)
    ahead = np.where(only_own >= FEWEST, only_own / np.maximum(only_other, 1), 0.0)
    ahead[vocabulary.group[own][:, None] == vocabulary.group] = np.inf
    n_words = np.bincount(batch.words.document[~batch.numbers], minlength=n)
    return np.where((own >= 0) & (of_own >= USUAL * vocabulary.usual[own] * n_words), ahead.min(1), 0.0)


def shares(labels: Sequence[str], batch: Batch, known: Fences) -> list[dict[str, float]]:
    """Returns the share of each language in each document, by label: the largest first, {} if nothing is known of the label's language.

    A document is cut into pieces of PIECE words. A piece is in the language of the label unless function words speak clearly for another
    one. So little is seen of a language that has most function words of the label's, or that stands in single sentences.
    """
    vocabulary = known.vocabulary()
    own = _columns(labels, vocabulary)
    of = batch.words.document
    within = np.arange(len(of)) - np.searchsorted(of, np.arange(batch.n_documents))[of]
    begins = within % PIECE == 0
    document, piece = of[begins], np.cumsum(begins) - 1
    _, only_own, only_other = _counted(own[document], piece, batch, vocabulary)
    only_other[vocabulary.group[own[document]][:, None] == vocabulary.group] = 0
    clearly = np.where((only_other >= FEWEST) & (only_other >= CONFIRMED * only_own), only_other - only_own, 0.0)
    language = np.where(clearly.any(1), clearly.argmax(1), np.maximum(own[document], 0))
    n = len(vocabulary.columns)
    words_in = np.bincount(document * n + language, np.bincount(piece), batch.n_documents * n).reshape(-1, n)
    names, found = list(vocabulary.columns), []
    for label, of_label, counts in zip(labels, own.tolist(), words_in, strict=True):
        order = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]] if of_label >= 0 else []
        found.append({label if at == of_label else names[at]: float(counts[at] / counts.sum()) for at in order})
    return found


def _columns(labels: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """Returns the number of the language of each label, -1 if nothing is known of it, int64 (labels,)."""
    return np.array([vocabulary.columns.get(label, -1) for label in labels], np.int64)


def _counted(own: np.ndarray, of: np.ndarray, batch: Batch, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts function words in texts.

    Args:
        own: The number of the language of each text, int64 (texts,).
        of: The text of each word, int64 (words,).
        batch: The words.
        vocabulary: Function words of all languages.

    Returns:
        How many each text has of its own language, (texts,); how many of these another language does not have; and how many of the other
        its own does not have, as if both had as many function words, (texts, languages). All are float64.
    """
    from scipy.sparse import csr_array  # imported here: it takes a fifth of a second

    found, place = words.places(batch.words.hash, vocabulary.hashes)
    of = of[found]
    place, of = place[own[of] >= 0], of[own[of] >= 0]

    def counted(weights: np.ndarray) -> np.ndarray:
        counts: np.ndarray = csr_array((weights, (of, place)), (len(own), len(vocabulary.hashes))) @ vocabulary.has
        return counts

    mine = vocabulary.has[place, own[of]]
    of_own, of_all, of_both = np.bincount(of, mine, len(own)), counted(np.ones_like(mine)), counted(mine)
    return of_own, of_own[:, None] - of_both, (of_all - of_both) * (vocabulary.usual[own][:, None] / vocabulary.usual)
