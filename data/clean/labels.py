"""Compares the labels of many documents with their texts.

Function words, counted in all of a text, confirm most labels and cost next to nothing. Only the other texts are read by the identifiers of
data/text/identify.py, which also decide which labels are wrong.
"""

from collections.abc import Sequence

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.fences import Fences, is_shared
from varietas.data.clean.words import Batch
from varietas.data.text.identify import Verdict, check

USUAL = 0.6  # share of function words, divided by the usual share of the language, from which they speak for a label
FEWEST = 3  # of them that are not function words of the other language, for any other
LIKELY, CONFIRMED = 1.5, 3.0  # how many times the words that only the other language has; more than that confirms the label


def compare(texts: Sequence[str], labels: Sequence[str], batch: Batch, known: Fences) -> list[Verdict]:
    """Compares texts with their labels ("ces_Latn").

    Labels that share their function words with others (fences.TOGETHER) are always read by an identifier.

    Args:
        texts: The texts.
        labels: The label of each.
        batch: Their words.
        known: Function words of all languages.

    Raises:
        ModuleNotFoundError: If an identifier is needed and not installed.
    """
    verdicts = []
    for text, label, ahead in zip(texts, labels, ahead_of_others(labels, batch, known).tolist(), strict=True):
        shared = is_shared(label)
        if ahead >= CONFIRMED and not shared:
            verdicts.append(Verdict("same", label.partition("_")[0]))
        else:
            verdicts.append(check(text, label, likely=ahead >= (CONFIRMED if shared else LIKELY)))
    return verdicts


def ahead_of_others(labels: Sequence[str], batch: Batch, known: Fences) -> np.ndarray:
    """Returns how clearly function words speak for each label, float64 (documents,).

    The value is how many of them only its language has, for each that only another language has, as if these were equally frequent in both;
    that of the closest other language counts. It is 0 if there are too few, or if nothing is known of the language.
    """
    from scipy.sparse import csr_array  # imported here: it takes a fifth of a second

    vocabulary = known.vocabulary()
    n, own = batch.n_documents, np.array([vocabulary.columns.get(label, -1) for label in labels])
    found, place = words.places(batch.words.hash, vocabulary.hashes)
    of = batch.words.document[found]
    place, of = place[own[of] >= 0], of[own[of] >= 0]

    def counted(weights: np.ndarray) -> np.ndarray:
        counts: np.ndarray = csr_array((weights, (of, place)), (n, len(vocabulary.hashes))) @ vocabulary.has
        return counts

    mine = vocabulary.has[place, own[of]]
    of_own, of_all, of_both = np.bincount(of, mine, n), counted(np.ones_like(mine)), counted(mine)
    only_own, only_other = of_own[:, None] - of_both, of_all - of_both
    as_usual = only_other * (vocabulary.usual[own][:, None] / vocabulary.usual)  # some languages have more function words than others
    ahead = np.where(only_own >= FEWEST, only_own / np.maximum(as_usual, 1), 0.0)
    ahead[vocabulary.group[own][:, None] == vocabulary.group] = np.inf
    n_words = np.bincount(batch.words.document[~batch.numbers], minlength=n)
    return np.where((own >= 0) & (of_own >= USUAL * vocabulary.usual[own] * n_words), ahead.min(1), 0.0)
