"""Frozen values. They name the training data of every run that there is: a changed value is other data under the same seed.

Never to be changed once a version is out. `python tests/data/test_golden.py` prints them anew.
"""

import hashlib
from types import SimpleNamespace

import numpy as np

from varietas.data.mixture import Mixture
from varietas.data.permute import hash64, mix64, permute
from varietas.data.stream import Stream

ORDERS = {
    1: "374708fff771",
    2: "33679eedd86f",
    3: "d958d2a76833",
    7: "6cd2e66049b9",
    64: "98d1b86019d8",
    1000: "97fb8d5e84ac",
    65_537: "2d228f4eee94",
}
FIRST_OF_A_BILLION = [726250293, 974843464, 799602528, 213901703]
ROWS = "0b9beee9157b"


def order(n: int) -> str:
    """Digest of two permutations of range(n), as little-endian int64."""
    permuted = [permute(np.arange(n), n, hash64(7, 3, epoch)) for epoch in (0, 1)]
    return hashlib.sha256(np.concatenate(permuted).astype("<i8").tobytes()).hexdigest()[:12]


def first_of_a_billion() -> list[int]:
    return permute(np.arange(4), 10**9, hash64(1, 2, 3)).tolist()


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
    stream = Stream(corpus, Mixture(0.5), seq_len=128, seed=7, block_tokens=100_000)  # type: ignore[arg-type]
    text = "\n".join(f"{p.row} {p.language} {p.document} {p.begin} {p.size} {p.epoch}" for p in stream.documents(0, 3000))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_hashes_are_those_of_splitmix64() -> None:
    """The first outputs of the published generator from seed 0 (prng.di.unimi.it/splitmix64.c)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert mix64(np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).tolist() == expected


def test_orders() -> None:
    assert {n: order(n) for n in ORDERS} == ORDERS
    assert first_of_a_billion() == FIRST_OF_A_BILLION


def test_rows() -> None:
    assert rows() == ROWS


if __name__ == "__main__":
    print({n: order(n) for n in ORDERS}, first_of_a_billion(), rows())
