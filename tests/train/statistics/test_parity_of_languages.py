"""Figures of parity against independent formulas, and intervals on simulated languages."""

import itertools

import numpy as np
import pytest

from varietas.train.statistics.parity import Parity, gini, parity


def by_lorenz_curve(values: np.ndarray) -> float:
    """The Gini coefficient as twice the area between the Lorenz curve and the diagonal."""
    shares = np.concatenate([[0], np.cumsum(np.sort(values)) / values.sum()])
    return 1 - float(((shares[1:] + shares[:-1]) / len(values)).sum())


def by_definition(values: np.ndarray) -> float:
    differences = [abs(a - b) for a, b in itertools.product(values, repeat=2)]
    return sum(differences) / (2 * len(values) ** 2 * values.mean())


def test_the_gini_coefficient_is_that_of_its_definition_and_of_the_lorenz_curve() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.5, 3, (5, 24))
    assert gini(rows).tolist() == pytest.approx([by_definition(row) for row in rows])
    assert gini(rows).tolist() == pytest.approx([by_lorenz_curve(row) for row in rows])
    assert gini(np.ones(7)) == 0 and gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(0.75)  # one has everything: (n - 1) / n


def test_figures_of_three_languages_by_hand() -> None:
    scores = {"a": 2.0, "b": 1.0, "c": 1.5}
    found = parity(scores, {})
    assert found is not None and (found.gap.value, found.ratio.value, found.languages) == (1.0, 2.0, 3)
    assert found.gini.value == pytest.approx(4 * (1 + 0.5) / (2 * 9 * 1.5) * 2 / 3)  # |differences|: 1, 0.5, 0.5, each twice
    assert found.gap.interval is found.ratio.interval is found.gini.interval is None
    assert parity({"a": 1.0}, {}) is None


def simulated(rng: np.random.Generator, bits: np.ndarray, n: int) -> Parity:
    documents = {}
    for code, mean in enumerate(bits):
        sizes = rng.lognormal(7, 0.7, n)
        documents[str(code)] = (sizes * mean * np.log(2) * rng.lognormal(-0.01, 0.15, n), sizes)
    found = parity({code: nats.sum() / sizes.sum() / np.log(2) for code, (nats, sizes) in documents.items()}, documents)
    assert found
    return found


def test_a_single_document_leaves_no_interval() -> None:
    rng = np.random.default_rng(0)
    many, one = (rng.uniform(1, 2, 9), np.ones(9)), (np.ones(1), np.ones(1))
    for documents in ({"a": many, "b": one}, {"a": many}):
        found = parity({"a": 2.0, "b": 1.0}, documents)
        assert found and found.gap.interval is None


@pytest.mark.parametrize(("apart", "least"), [(0.5, 0.82), (1.5, 0.82)])
def test_intervals_hold_about_as_often_as_they_say(apart: float, least: float) -> None:
    """24 languages with 40 documents each, 60 times. Percentile intervals of the gap would hold in fewer than half where apart is 0.5."""
    rng, bits = np.random.default_rng(1), 1 + apart * np.random.default_rng(7).random(24)
    truth = {"gap": bits.max() - bits.min(), "ratio": bits.max() / bits.min(), "gini": by_definition(bits)}
    held = dict.fromkeys(truth, 0)
    for _ in range(60):
        found = simulated(rng, bits, 40)
        for name, value in truth.items():
            low, high = getattr(found, name).interval
            held[name] += low <= value <= high
    assert min(held.values()) / 60 > least, held


def test_no_interval_goes_below_what_is_possible() -> None:
    found = simulated(np.random.default_rng(0), np.full(8, 1.2), 20)
    assert found.gap.interval and found.gap.interval[0] >= 0
    assert found.ratio.interval and found.ratio.interval[0] >= 1
