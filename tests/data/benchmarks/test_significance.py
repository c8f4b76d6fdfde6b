"""Intervals and tests of shares, against scipy."""

import pytest
from scipy.stats import binomtest

from varietas.data.benchmarks.significance import by_chance, needed, wilson


@pytest.mark.parametrize(("right", "n", "chance"), [(0, 40, 0.5), (13, 40, 0.25), (120, 200, 0.5), (1700, 3000, 0.5), (40, 40, 0.25)])
def test_results_are_those_of_scipy(right: int, n: int, chance: float) -> None:
    expected = binomtest(right, n, chance, alternative="greater")
    assert by_chance(right, n, chance) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_what_is_needed_is_just_no_chance() -> None:
    for n, chance in ((40, 0.25), (200, 0.5)):
        least = needed(n, chance)
        assert binomtest(least, n, chance, alternative="greater").pvalue < 0.05
        assert binomtest(least - 1, n, chance, alternative="greater").pvalue >= 0.05
    assert needed(3, 0.5) == 4  # three of three may be chance
