"""Confidence intervals of bits per byte by the bootstrap over documents (Efron, 1979; Efron and Tibshirani, 1993, chapter 13).

Documents are drawn again with replacement, as many as there are, and bits per byte are computed of those. Tokens of a document depend on
each other, so documents are what is drawn, not tokens. The draws of a language follow from its code alone.
"""

import math

import numpy as np

LEVEL = 0.95  # of all intervals
RESAMPLES = 2_000
DRAWN = 1 << 22  # documents at a time: 32 MiB

Interval = tuple[float, float]


def resampled(code: str, nats: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns bits per byte of each resample, float64 (RESAMPLES,).

    Args:
        code: What the draws follow from; languages with other codes are drawn independently.
        nats: Negative log-likelihood of each document, float64 (documents,).
        sizes: Bytes of each document, (documents,).
    """
    rng, n = np.random.default_rng(list(code.encode())), len(nats)
    at_once = max(1, DRAWN // n)
    found = []
    for begin in range(0, RESAMPLES, at_once):
        drawn = rng.integers(n, size=(min(at_once, RESAMPLES - begin), n))
        found.append(nats[drawn].sum(1) / np.maximum(1, sizes[drawn].sum(1)))
    return np.concatenate(found) / math.log(2)


def percentile_interval(values: np.ndarray) -> Interval:
    """Returns the interval between the percentiles that leave (1 - LEVEL) / 2 of the resampled values on either side."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def basic_interval(estimate: float, values: np.ndarray) -> Interval:
    """Returns the basic interval, whose ends are the percentiles mirrored at the estimate (Davison and Hinkley, 1997, section 5.2).

    It suits estimates that chance moves in one direction: resampling moves them once more, and mirroring takes that back.
    """
    low, high = percentile_interval(values)
    return 2 * estimate - high, 2 * estimate - low
