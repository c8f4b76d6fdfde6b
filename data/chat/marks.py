"""Conversations in a corpus: tokens that are read but not learned are stored with the highest bit of their id set.

So a corpus of conversations has the same files as one of texts, and whatever moves tokens about moves these marks along.
"""

import numpy as np


def marked_type(vocab_size: int) -> np.dtype:
    """Returns the little-endian type of ids that have room for a mark: two bytes if all ids fit, else four."""
    return np.dtype("<u2" if vocab_size <= 1 << 15 else "<u4")


def mark(ids: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Marks the ids of tokens that are not learned.

    Args:
        ids: Token ids of a `marked_type`, (n,).
        learned: Whether each token is learned, bool (n,).
    """
    return np.where(learned, ids, ids | _bit(ids.dtype))


def without_marks(ids: np.ndarray) -> np.ndarray:
    """Returns the ids themselves."""
    return ids & ~_bit(ids.dtype)


def learned(ids: np.ndarray) -> np.ndarray:
    """Returns whether each token is learned, bool."""
    return ids & _bit(ids.dtype) == 0


def signed(ids: np.ndarray) -> np.ndarray:
    """Returns the ids as int32, with ~id in place of the id of a token that is not learned."""
    plain = without_marks(ids).astype(np.int32)
    return np.where(learned(ids), plain, ~plain)


def unsigned(ids: np.ndarray) -> np.ndarray:
    """Returns the ids themselves from what `signed` returns."""
    return np.where(ids < 0, ~ids, ids)


def _bit(dtype: np.dtype) -> np.unsignedinteger:
    return dtype.type(1 << (8 * dtype.itemsize - 1))
