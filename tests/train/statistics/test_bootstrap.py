"""Intervals against scipy, and how often they hold on simulated documents."""

import numpy as np
import pytest
import scipy.stats

from varietas.train.statistics import bootstrap
from varietas.train.statistics.bootstrap import basic_interval, percentile_interval, resampled


def documents(rng: np.random.Generator, n: int, bits: float) -> tuple[np.ndarray, np.ndarray]:
    """Nats and bytes of documents of different lengths and difficulties, whose expected nats are `bits` per byte."""
    sizes = rng.lognormal(7, 0.7, n).round()
    return sizes * bits * np.log(2) * rng.lognormal(-0.02, 0.2, n), sizes


@pytest.mark.parametrize(("method", "interval"), [("percentile", percentile_interval), ("basic", None)])
def test_intervals_are_those_of_scipy(method: str, interval: object) -> None:
    nats, sizes = documents(np.random.default_rng(0), 60, 1.2)
    estimate = nats.sum() / sizes.sum() / np.log(2)
    expected = scipy.stats.bootstrap(
        (nats, sizes), lambda a, b, axis: a.sum(axis) / b.sum(axis) / np.log(2), paired=True, vectorized=True, n_resamples=20_000,
        method=method, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    drawn = resampled("ces_Latn", nats, sizes)
    found = percentile_interval(drawn) if interval else basic_interval(estimate, drawn)
    assert found == pytest.approx(tuple(expected), abs=0.03 * (expected.high - expected.low))  # of 2,000 draws; observed: 0.015


def test_draws_follow_from_the_language_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nats, sizes = documents(np.random.default_rng(0), 50, 1.2)
    once = resampled("ces_Latn", nats, sizes)
    assert len(once) == 2_000 and np.array_equal(resampled("ces_Latn", nats, sizes), once)
    assert abs(np.corrcoef(once, resampled("slk_Latn", nats, sizes))[0, 1]) < 0.1
    monkeypatch.setattr(bootstrap, "DRAWN", 1_000)  # so many documents at a time: memory is bounded, draws are the same
    assert np.array_equal(resampled("ces_Latn", nats, sizes), once)


def test_intervals_of_simulated_texts_hold_as_often_as_they_say() -> None:
    """400 texts of 40 documents: 95 % of the intervals are expected to hold; the percentile bootstrap is known to be a little short."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = percentile_interval(resampled("x", *documents(rng, 40, 1.0)))
        held += low <= 1.0 <= high
    assert 0.90 < held / 400 < 0.97  # observed: see docs/evaluation.md
