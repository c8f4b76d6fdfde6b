"""Rows are shuffled, but every language stays evenly spread."""

import numpy as np

from varietas.data.stream.shuffle import shuffle


def test_shuffle_spreads_each_group_evenly() -> None:
    """The first part x of the order holds n x members of a group of n, to within one and the places that other groups leave."""
    rng = np.random.default_rng(0)
    groups = rng.choice(4, 2000, p=[0.7, 0.2, 0.09, 0.01])
    place = shuffle(groups, rng.integers(0, 1 << 63, 2000, dtype=np.uint64), first_stays=True, last_stays=True)
    assert np.array_equal(np.sort(place), np.arange(2000)) and place[0] == 0 and place[-1] == 1999
    for group in range(4):
        mine = np.sort(place[groups == group])
        n = len(mine)
        assert np.abs((mine + 0.5) / 2000 - (np.arange(n) + 0.5) / n).max() < 1.5 / n + 0.005
    assert abs(np.corrcoef(place, np.arange(2000))[0, 1]) < 0.1
