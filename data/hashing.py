"""Integer hashes: where randomness must be the same on every machine and in ten years, it comes from here."""

import numpy as np


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
