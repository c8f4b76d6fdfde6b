"""Which languages one model predicts better than another, from evaluations of both on the same documents.

Bits per byte of a document can be compared whatever the tokenizers. Intervals of differences are those of the paired bootstrap (Koehn,
2004): a draw takes a document of both models. A randomisation test (Fisher, 1935; Yeh, 2000) decides whether a difference is significant:
if the models were alike, the sign of each document's difference would be chance. Unlike the bootstrap, it holds for few documents too.

With many languages some differences are large by chance. Holm's correction (1979) keeps the probability of even one false statement at 5 %,
however the languages depend on each other. The procedure of Benjamini and Hochberg finds more, of which 5 % are false. Each language is a
statement of its own here, on which its speakers rely, so none should be false.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from varietas.train.run_folder.evaluations import Documents, Evaluation, compared
from varietas.train.statistics.bootstrap import DRAWN, Interval, percentile_interval, resampled
from varietas.train.statistics.parity import Parity, parity

FALSE_STATEMENTS = 0.05  # probability of one or more among all languages
FLIPS = 10_000  # the least p-value is one over this, which has to stay below FALSE_STATEMENTS over the number of languages
BITS = np.log(2)


@dataclass(frozen=True)
class Difference:
    """How two models predict a language: bits per byte over the documents that both were evaluated on."""

    code: str
    first: float
    second: float
    interval: Interval | None  # of second - first; None for a single document
    p: float | None  # adjusted for the number of languages; None for a single document
    documents: int

    @property
    def change(self) -> float:
        """By how much bits per byte of the second model are above those of the first."""
        return self.second - self.first

    @property
    def significant(self) -> bool:
        """Whether the change is more than chance."""
        return self.p is not None and self.p <= FALSE_STATEMENTS


@dataclass(frozen=True)
class Comparison:
    """Two evaluations on the same text, language by language, worst change first."""

    languages: tuple[Difference, ...]
    parity: tuple[Parity | None, Parity | None]  # over the languages that both models were trained on

    def count(self, better: bool) -> int:
        """Returns in how many languages the second model is significantly better, or worse."""
        return sum(each.significant and (each.change < 0) == better for each in self.languages)


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compares two evaluations on the same text. Only documents that both have count.

    Raises:
        ValueError: If an evaluation has no figures of documents, as those of older versions, or they have no document in common.
    """
    for each in (first, second):
        if not each.documents:
            raise ValueError(f"the evaluation {each.name} after step {each.step} has no figures of documents; evaluate the run again")
    shared = {code: _shared(first.documents[code], second.documents[code]) for code in first.documents if code in second.documents}
    shared = {code: found for code, found in shared.items() if len(found[0])}
    if not shared:
        raise ValueError(f"the evaluations {first.name} and {second.name} have no document in common; evaluate both on the same text")
    ps = {code: flip_test(code, b - a) for code, (a, b, _) in shared.items() if len(a) > 1}
    adjusted = dict(zip(ps, holm(np.array(list(ps.values()))).tolist(), strict=True))
    found = []
    for code, (a, b, sizes) in shared.items():
        before, after = (float(nats.sum() / BITS / max(1.0, sizes.sum())) for nats in (a, b))
        interval = percentile_interval(resampled(code, b - a, sizes)) if len(a) > 1 else None
        found.append(Difference(code, before, after, interval, adjusted.get(code), len(a)))
    found.sort(key=lambda each: -each.change)
    both = set(compared(first.languages)) & set(compared(second.languages)) & shared.keys() or shared.keys()
    parities = [
        parity(
            {each.code: bits(each) for each in found if each.code in both},
            {code: (shared[code][place], shared[code][2]) for code in both},
        )
        for place, bits in ((0, lambda each: each.first), (1, lambda each: each.second))
    ]
    return Comparison(tuple(found), (parities[0], parities[1]))


def flip_test(code: str, differences: np.ndarray) -> float:
    """Returns the probability that chance alone makes a sum of differences as large as this one, in either direction.

    Args:
        code: What the random signs follow from.
        differences: Of each document, float64 (documents,).
    """
    rng, n = np.random.default_rng(list(code.encode())), len(differences)
    observed, as_large, at_once = abs(differences.sum()), 0, max(1, DRAWN // n)
    for begin in range(0, FLIPS, at_once):
        signs = rng.integers(2, size=(min(at_once, FLIPS - begin), n), dtype=np.int8)
        sums = 2 * (signs @ differences) - differences.sum()
        as_large += int((abs(sums) >= observed * (1 - 1e-12)).sum())
    return (1 + as_large) / (1 + FLIPS)


def holm(ps: np.ndarray) -> np.ndarray:
    """Returns p-values adjusted by Holm (1979): of m, the k-th least is multiplied by m - k + 1, and none is below a lesser one."""
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1)))
    return adjusted


def _shared(first: Documents, second: Documents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns nats of the first model, nats of the second, and bytes of the documents that both have, float64 (documents,)."""
    places = dict(zip(_keys(first.digests), range(len(first.digests)), strict=True))
    pairs = [(places[key], at) for at, key in enumerate(_keys(second.digests)) if key in places]
    ours, theirs = np.array(pairs, np.int64).reshape(-1, 2).T
    return np.array(first.nats)[ours], np.array(second.nats)[theirs], np.array(first.bytes, np.float64)[ours]


def _keys(digests: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields a key for each document: its digest, and how often the same text came before it."""
    seen = Counter[str]()
    for digest in digests:
        yield digest, seen[digest]
        seen[digest] += 1
