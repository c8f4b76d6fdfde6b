"""Frozen digests of the training data. If one changes, existing runs would read other data under the same seed.

They must never change once a version is released. `python tests/data/stream/test_golden.py` prints the current digests.
"""

import hashlib
from types import SimpleNamespace

import numpy as np

from varietas.data.stream.mixture import Mixture
from varietas.data.stream.queue import Queue
from varietas.data.stream.stream import Stream

ORDERS = {
    1: "374708fff771",
    2: "01c84f606ffe",
    3: "8a813d53c6ae",
    7: "3d8f662664d5",
    64: "07a3bf1bc382",
    1000: "4fbc69a09170",
    65_537: "8a8a7a753d9b",
}
ROWS = "18c5dc00539d"


def order(n: int) -> str:
    """Returns a digest of the documents of the first two epochs, as little-endian int64."""
    queue = Queue(np.full(n, 5), key=7)
    return hashlib.sha256(queue.take(0, 2 * queue.tokens).document.astype("<i8").tobytes()).hexdigest()[:12]


def rows() -> str:
    """Returns a digest of the pieces in 3,000 rows: three languages over several blocks and epochs, with whole and cut documents."""
    lengths = {"ces_Latn": np.arange(900) * 7919 % 977 + 2, "fin_Latn": np.arange(40) * 31 % 89 + 60, "mlt_Latn": np.array([500])}
    corpus = SimpleNamespace(
        languages=tuple(lengths),
        documents=lambda code: len(lengths[code]),
        tokens=lambda code: int(lengths[code].sum()),
        lengths=lengths.__getitem__,
        pad_id=3,
    )
    stream = Stream(corpus, Mixture(0.5), seq_len=128, seed=7, block_rows=800)  # type: ignore[arg-type]
    text = "\n".join(f"{p.row} {p.language} {p.document} {p.begin} {p.size} {p.epoch}" for p in stream.documents(0, 3000))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_orders_of_documents_are_unchanged() -> None:
    assert {n: order(n) for n in ORDERS} == ORDERS


def test_rows_are_unchanged() -> None:
    assert rows() == ROWS


if __name__ == "__main__":
    print({n: order(n) for n in ORDERS}, rows())
