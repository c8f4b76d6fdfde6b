"""Frozen values. They name the training data of every run that there is: a changed value is other data under the same seed.

Never to be changed once a version is out. `python tests/data/test_golden.py` prints them anew.
"""

import hashlib
from types import SimpleNamespace

import numpy as np

from varietas.data.hashing import mix64
from varietas.data.mixture import Mixture
from varietas.data.queue import Queue
from varietas.data.stream import Stream

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
    """Digest of the documents of the first two epochs, as little-endian int64."""
    queue = Queue(np.full(n, 5), key=7)
    return hashlib.sha256(queue.take(0, 2 * queue.tokens).document.astype("<i8").tobytes()).hexdigest()[:12]


def rows() -> str:
    """Digest of what 3,000 rows hold: three languages over several blocks and epochs, documents cut and whole."""
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


def test_hashes_are_those_of_splitmix64() -> None:
    """The first outputs of the published generator from seed 0 (prng.di.unimi.it/splitmix64.c)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert mix64(np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).tolist() == expected


def test_orders() -> None:
    assert {n: order(n) for n in ORDERS} == ORDERS


def test_rows() -> None:
    assert rows() == ROWS


if __name__ == "__main__":
    print({n: order(n) for n in ORDERS}, rows())
