"""Random order without a table: a keyed permutation of range(n), evaluated only at the places asked for.

A Feistel network over the smallest even number of bits that holds n, walked again wherever it leaves the range (Black and
Rogaway, 2002). It needs no memory, so a hundred million documents are shuffled by asking for the few that come next.
Integer arithmetic alone, so the order is the same on every machine and will be in ten years.
"""

import numpy as np

ROUNDS = 6


def mix64(values: np.ndarray) -> np.ndarray:
    """Scrambles uint64 values one to one: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash64(*parts: int | np.ndarray) -> np.ndarray:
    """Folds integers or integer arrays (broadcast together) to uint64 hashes."""
    folded = np.zeros(1, np.uint64)
    for part in parts:
        folded = mix64(folded ^ mix64(np.atleast_1d(part).astype(np.uint64)))
    return folded


def permute(places: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Where each of `places` (int64, in [0, n)) goes in the permutation of range(n) that its key (uint64) names.

    For one key the result is a bijection of range(n).
    """
    half_bits = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half_bits) - np.uint64(1)
    out = np.asarray(places).astype(np.uint64)
    keys = np.broadcast_to(keys, out.shape)
    outside = np.ones(out.shape, bool)
    while outside.any():
        left, right = out[outside] >> half_bits, out[outside] & low
        for turn in range(ROUNDS):
            left, right = right, left ^ (mix64(right ^ mix64(keys[outside] + np.uint64(turn))) & low)
        out[outside] = (left << half_bits) | right
        outside = out >= n
    return out.astype(np.int64)
