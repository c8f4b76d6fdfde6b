"""Parity: how far apart the languages of a model are, as three figures of bits per byte, each with an interval.

Differences between languages also come from chance, which makes any measure of them larger. So do resamples, once more: the percentiles of
resampled gaps lie above the true gap if languages are close. Intervals here are therefore basic ones. For languages that are all equal they
are still too short, since no gap is below zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from varietas.train.statistics.bootstrap import Interval, basic_interval, resampled


@dataclass(frozen=True)
class Figure:
    """A value, and its interval if it has one."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Parity:
    """How far apart languages are in bits per byte."""

    gap: Figure  # worst - best
    ratio: Figure  # worst / best
    gini: Figure  # 0 if all languages are equal
    languages: int  # how many are compared


def gini(values: np.ndarray) -> np.ndarray:
    """Returns the Gini coefficient of each row of values above zero, float64 (...,).

    Half of the mean absolute difference between two languages, over the mean (Gini, 1912; Sen, 1973, section 2.7):
    sum over i and j of |x_i - x_j| / (2 n² mean(x)). It is computed from the sorted values, which takes n log n steps.

    Args:
        values: (..., languages).
    """
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    weights = 2 * np.arange(1, n + 1) - n - 1
    return (ordered * weights).sum(-1) / (n * ordered.sum(-1))


def parity(scores: Mapping[str, float], documents: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Parity | None:
    """Returns how far apart languages are; None if there are fewer than two.

    Languages are drawn independently of each other, also those of parallel texts, for which the intervals are then rather too wide.

    Args:
        scores: Bits per byte of each language that counts.
        documents: Nats and bytes of the documents of each language, from which intervals come. There are none if a language of `scores` is
            missing here, or has a single document.
    """
    if len(scores) < 2:
        return None
    certain = all(code in documents and len(documents[code][0]) > 1 for code in scores)
    drawn = np.stack([resampled(code, *documents[code]) for code in scores], axis=-1) if certain else None
    values = np.array(list(scores.values()))

    def figure(measure: Callable[[np.ndarray], np.ndarray], least: float) -> Figure:
        value = float(measure(values))
        if drawn is None:
            return Figure(value)
        low, high = basic_interval(value, measure(drawn))
        return Figure(value, (max(low, least), max(high, least)))

    return Parity(
        gap=figure(lambda x: x.max(-1) - x.min(-1), 0.0),
        ratio=figure(lambda x: x.max(-1) / x.min(-1), 1.0),
        gini=figure(gini, 0.0),
        languages=len(scores),
    )
