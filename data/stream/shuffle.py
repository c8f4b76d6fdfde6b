"""The order of the rows in a block: random, but with every language spread evenly over the block."""

import numpy as np

from varietas.data.hashing import hash64
from varietas.data.stream.packing import Packed


def lead_languages(packed: Packed, languages: np.ndarray) -> np.ndarray:
    """Returns the language (or stratum) with the most tokens in each row, (rows,).

    Args:
        packed: Where documents were put.
        languages: Language (or stratum) of each of these documents, (documents,).
    """
    tokens = np.zeros((packed.row.max() + 1, languages.max() + 1), np.int64)
    np.add.at(tokens, (packed.row, languages[packed.document]), packed.size)
    return tokens.argmax(1)


def shuffle(groups: np.ndarray, keys: np.ndarray, first_stays: bool, last_stays: bool) -> np.ndarray:
    """Gives each member a new place: a random one, but with every group spread evenly over the whole (stratified sampling).

    The k-th member of a group of n goes somewhere between k/n and (k + 1)/n of the whole.

    Args:
        groups: Group of each member, (members,).
        keys: Random uint64 of each member, (members,). They decide which member is the k-th of its group, and where exactly it goes.
        first_stays: Whether the first member keeps its place.
        last_stays: Whether the last member keeps its place.

    Returns:
        The new place of each member, (members,).
    """
    order = np.lexsort((keys, groups))
    _, begin, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(groups)) - np.repeat(begin, counts)
    at = np.empty(len(groups))
    at[order] = (rank + unit(hash64(keys, 1))[order]) / np.repeat(counts, counts)
    if last_stays:
        at[-1] = 2.0
    if first_stays:
        at[0] = -1.0
    return np.argsort(np.argsort(at, kind="stable"))


def unit(hashes: np.ndarray) -> np.ndarray:
    """Maps uint64 hashes to float64 in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
