"""The law of scaling, on made points of which the constants are known, and on published ones."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from varietas.train.ladder.law import fit

SIZES, TOKENS = (1e6, 4e6, 16e6), (2e7, 8e7, 32e7)
N, D = (np.ravel(values) for values in np.meshgrid(SIZES, TOKENS))


def losses(e: float, a: float, b: float, alpha: float, beta: float) -> np.ndarray:
    return e + a / N**alpha + b / D**beta


def test_constants_of_made_points_are_found() -> None:
    law = fit(N.tolist(), D.tolist(), losses(1.7, 400.0, 900.0, 0.34, 0.4).tolist(), resamples=20)
    found = law.constants
    assert [found[name] for name in ("E", "A", "B", "alpha", "beta")] == pytest.approx([1.7, 400, 900, 0.34, 0.4], rel=2e-2)
    assert law.loss(64e6, 1e9) == pytest.approx(1.7 + 400 / 64e6**0.34 + 900 / 1e9**0.4, rel=1e-4)  # beyond the points
    size = law.tokens_for(16e6, law.loss(16e6, 1e9))
    assert size == pytest.approx(1e9, rel=1e-3) and law.tokens_for(1e6, 1.8) == float("inf")


def test_the_best_size_is_that_of_a_search() -> None:
    law = fit(N.tolist(), D.tolist(), losses(1.7, 400.0, 900.0, 0.34, 0.4).tolist(), resamples=0)
    best = minimize_scalar(lambda size: 1.7 + 400 / size**0.34 + 900 / (1e18 / 6 / size) ** 0.4, bounds=(1e6, 1e11), method="bounded")
    assert law.best_size(1e18) == pytest.approx(best.x, rel=0.1)
    exponent = np.log(law.best_size(1e20) / law.best_size(1e18)) / np.log(100)
    assert exponent == pytest.approx(0.4 / (0.34 + 0.4), abs=0.02)  # Hoffmann et al. (2022), equation 4


def test_intervals_hold_what_noise_hides() -> None:
    """In most of twenty noisy ladders, the interval of a prediction holds the truth; without noise it is narrow."""
    truth = 1.7 + 400 / 32e6**0.34 + 900 / 64e7**0.4
    held, widths = 0, []
    for seed in range(20):
        noisy = losses(1.7, 400.0, 900.0, 0.34, 0.4) * np.exp(np.random.default_rng(seed).normal(0, 0.003, len(N)))
        low, high = fit(N.tolist(), D.tolist(), noisy.tolist(), seed, 60).interval(32e6, 64e7)
        held += low <= truth <= high
        widths.append(high - low)
    assert held >= 13 and max(widths) < 0.3


def test_published_points_give_the_published_constants() -> None:
    """Points of figure 4 of Hoffmann et al. (2022), as Besiroglu et al. (2024) read them, who leave out the five worst."""
    with (Path(__file__).parent / "chinchilla.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    worst = sorted(row["loss"] for row in rows)[-5]
    kept = [row for row in rows if row["loss"] < worst]
    assert len(rows) == 245 and len(kept) == 240
    sizes = [row["parameters"] for row in kept]
    law = fit(sizes, [row["flops"] / 6 / row["parameters"] for row in kept], [row["loss"] for row in kept], resamples=0)
    published = {"A": (482.01, 124.58), "B": (2085.43, 1293.23), "E": (1.8172, 0.03), "alpha": (0.3478, 0.02), "beta": (0.3658, 0.02)}
    for name, (value, error) in published.items():  # with their standard errors, of which a tenth is allowed
        assert law.constants[name] == pytest.approx(value, abs=error / 10), name
    assert law.best_size(5.76e23) == pytest.approx(73.2e9, rel=0.01)  # about the 70 B of Chinchilla


@pytest.mark.parametrize(
    ("sizes", "found", "message"),
    [([1e6] * 9, [2.0] * 9, "of several sizes"), (N[:5].tolist(), [2.0] * 5, "6 runs or more"), (N.tolist(), [2.0] * 8 + [0.0], "above 0")],
)
def test_too_few_runs_are_told(sizes: list[float], found: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(sizes, D[: len(sizes)].tolist(), found)
