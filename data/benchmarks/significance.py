"""What the number of right answers says: intervals, and whether it could be chance."""

from math import exp, lgamma, log, sqrt

SURE = 0.05  # probability from which on a result may be chance


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns the interval of Wilson (1927) for a share: with the usual `z`, it holds the true share in 95 % of all cases.

    Args:
        right: Number of right answers.
        n: Number of items, at least 1.
        z: Quantile of the normal distribution.
    """
    share, weight = right / n, z * z / n
    middle, half = share + weight / 2, z * sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight))


def by_chance(right: int, n: int, chance: float) -> float:
    """Returns the probability of at least `right` right answers to `n` items by chance alone: the exact binomial test, one-sided."""
    if right <= 0:
        return 1.0
    return min(1.0, sum(exp(_log_choose(n, k) + k * log(chance) + (n - k) * log(1 - chance)) for k in range(right, n + 1)))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def needed(n: int, chance: float) -> int:
    """Returns the least number of right answers to `n` items that is no chance, with probability SURE; n + 1 if there is none."""
    return next((right for right in range(n + 1) if by_chance(right, n, chance) < SURE), n + 1)
