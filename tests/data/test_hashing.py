"""Hashes are those of the published generator, and depend on every part."""

import numpy as np

from varietas.data.hashing import hash64, mix64


def test_hashes_are_those_of_splitmix64() -> None:
    """Compares with the first outputs of the published generator for seed 0 (prng.di.unimi.it/splitmix64.c)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert mix64(np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).tolist() == expected


def test_each_part_and_its_place_count() -> None:
    parts = [(), (0,), (1,), (1, 0), (0, 1), (1, 1), (1 << 63,), (1, 1 << 63)]
    assert len({int(hash64(*part)[0]) for part in parts}) == len(parts)
    assert hash64(np.arange(3)[:, None], 7, np.arange(2)).tolist() == [[int(hash64(a, 7, b)[0]) for b in range(2)] for a in range(3)]
