"""Conversations in a corpus: the two highest bits of an id are marks. The first says that the token is read but not learned, the second
that it belongs to the rejected one of two conversations, which follows the chosen one in the same document.

So a corpus of conversations has the same files as one of texts, and whatever moves tokens about moves these marks along.
"""

import numpy as np

NOT_LEARNED, REJECTED = 1, 2  # how far from the top


def marked_type(vocab_size: int) -> np.dtype:
    """Returns the little-endian type of ids that have room for marks: two bytes if all ids fit, else four."""
    return np.dtype("<u2" if vocab_size <= 1 << 14 else "<u4")


def mark(ids: np.ndarray, learned: np.ndarray, rejected: np.ndarray | bool = False) -> np.ndarray:
    """Marks ids.

    Args:
        ids: Token ids of a `marked_type`, (n,).
        learned: Whether each token is learned, bool (n,).
        rejected: Whether each token belongs to a rejected conversation, bool (n,).
    """
    marked = np.where(learned, ids, ids | _bit(ids.dtype, NOT_LEARNED))
    return np.where(rejected, marked | _bit(ids.dtype, REJECTED), marked)


def without_marks(ids: np.ndarray) -> np.ndarray:
    """Returns the ids themselves."""
    return ids & ~(_bit(ids.dtype, NOT_LEARNED) | _bit(ids.dtype, REJECTED))


def learned(ids: np.ndarray) -> np.ndarray:
    """Returns whether each token is learned, bool."""
    return ids & _bit(ids.dtype, NOT_LEARNED) == 0


def rejected(ids: np.ndarray) -> np.ndarray:
    """Returns whether each token belongs to a rejected conversation, bool."""
    return ids & _bit(ids.dtype, REJECTED) != 0


def widened(ids: np.ndarray, learns: bool) -> np.ndarray:
    """Returns marked ids as uint32 with the same marks; unless it `learns`, no token is learned."""
    return mark(without_marks(ids).astype(np.uint32), learned(ids) & learns, rejected(ids))


def _bit(dtype: np.dtype, n: int) -> np.unsignedinteger:
    return dtype.type(1 << (8 * dtype.itemsize - n))
