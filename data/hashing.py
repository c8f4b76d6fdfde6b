"""Integer hashes: the source of all randomness that must be the same on every machine and in ten years."""

import numpy as np


def mix64(values: np.ndarray) -> np.ndarray:
    """Scrambles uint64 values one to one, by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash64(*parts: int | np.ndarray) -> np.ndarray:
    """Combines several integers into one uint64 hash.

    Args:
        *parts: Integers or integer arrays, which are broadcast against each other.

    Returns:
        uint64 hashes of the broadcast shape, or of shape (1,) if all parts are scalars.
    """
    folded = np.zeros(1, np.uint64)
    for part in parts:
        folded = mix64(folded ^ mix64(np.atleast_1d(part).astype(np.uint64)))
    return folded
