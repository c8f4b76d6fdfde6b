"""The second stage of `prepare`: decides which documents of a language stay, once all of them are known.

Of documents that are equal, or nearly so, the first in the order of the input stays. Then some of those that stay are held out for
evaluation, so with near duplicates left out no copy of them is in the corpus. Verdicts stand in the order of the parts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.clean.cleaning import Cleaning
from varietas.data.clean.duplicates import BANDS
from varietas.data.files import write_atomically

REASONS = ("", "duplicate", "near duplicate")
HELD_OUT = 255  # in place of a reason: the document would stay, and is held out for evaluation
VERDICT = np.dtype([("reason", "u1"), ("copies", "<u4")])  # reason: 0 if it stays; copies: itself and those like it
AT_ONCE = 1 << 20  # documents of which all bands are read at once


def select(code: str, parts: Sequence[Path], cleaning: Cleaning, out: Path) -> None:
    """Writes the verdicts on the documents of a language in these parts to the file `out`."""
    write_atomically(out, verdicts([part / f"{code}.parquet" for part in parts], cleaning).tobytes())


def verdicts(files: Sequence[Path], cleaning: Cleaning) -> np.ndarray:
    """Returns the verdict on each document of the files, VERDICT (documents,)."""
    n = sum(pq.read_metadata(file).num_rows for file in files)
    found = np.zeros(n, VERDICT)
    verdict, copies = found["reason"], found["copies"]
    copies[:] = np.concatenate([_copies(file) for file in files])
    if cleaning.duplicates == "keep" and not cleaning.held_out:
        return found
    digests = np.concatenate([_digests(file) for file in files])
    if cleaning.duplicates != "keep":
        stays = np.arange(n)
        _, first, of = np.unique(digests, return_index=True, return_inverse=True, axis=0)
        stays = _joined(verdict, copies, stays, first[of.ravel()], "duplicate")
        if cleaning.duplicates == "near":
            _joined(verdict, copies, stays, _near(files, stays), "near duplicate")
    verdict[(verdict == 0) & is_held_out(digests, cleaning.held_out)] = HELD_OUT
    return found


def is_held_out(digests: np.ndarray, share: float) -> np.ndarray:
    """Returns which documents are held out: bool (documents,). Copies have one digest, so they are held out together.

    Args:
        digests: The first 16 bytes of the digest of each document, uint64 (documents, 2).
        share: How many of the documents are held out, 0 to 1.
    """
    return digests[:, 0] / 2.0**64 < share


def _joined(verdict: np.ndarray, copies: np.ndarray, stays: np.ndarray, first: np.ndarray, reason: str) -> np.ndarray:
    """Rejects those of the documents `stays` whose `first`, a place in them, is another one, which then stands for them too.

    Returns the others.
    """
    again = first != np.arange(len(stays))
    verdict[stays[again]] = REASONS.index(reason)
    copies[stays] = np.bincount(first, copies[stays], len(stays))
    return stays[~again]


def _near(files: Sequence[Path], stays: np.ndarray) -> np.ndarray:
    """Returns the first of the documents `stays` with which each shares a signature, directly or through others, as a place in them."""
    left, right = [], []
    for keys in _bands(files, stays):
        members = np.flatnonzero(keys)
        order = members[np.argsort(keys[members], kind="stable")]
        same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        left.append(order[same])
        right.append(order[same + 1])
    edges = np.concatenate(left), np.concatenate(right)
    from scipy.sparse import coo_array  # imported here: training imports this module too, and scipy takes a fifth of a second
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(len(stays), len(stays)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    return first[component]


def _bands(files: Sequence[Path], stays: np.ndarray) -> Iterator[np.ndarray]:
    """Yields each band of the signatures of the documents `stays`, uint64. Opening files is slow, so few documents are read at once."""
    at_once = BANDS if len(stays) <= AT_ONCE else 1
    for begin in range(0, BANDS, at_once):
        names = [f"band {band}" for band in range(begin, begin + at_once)]
        tables = [pq.read_table(file, columns=names) for file in files]
        for name in names:
            yield np.concatenate([table[name].to_numpy() for table in tables])[stays]


def _copies(file: Path) -> np.ndarray:
    """Returns how many documents each one stands for by what its collection says, uint32 (documents,)."""
    return pc.fill_null(pq.read_table(file, columns=["cluster_size"])["cluster_size"], 1).to_numpy()


def _digests(file: Path) -> np.ndarray:
    """Returns the first 16 bytes of the digest of each text, uint64 (documents, 2)."""
    return beginnings(pq.read_table(file, columns=["digest"])["digest"])


def beginnings(digests: pa.ChunkedArray) -> np.ndarray:
    """Returns the first 16 bytes of digests of 32 bytes, uint64 (documents, 2)."""
    column = digests.combine_chunks()
    content = np.frombuffer(column.buffers()[1], np.uint8)[32 * column.offset :][: 32 * len(column)].reshape(-1, 32)
    return np.ascontiguousarray(content[:, :16]).view("<u8")
