"""Comparisons of two models: Holm's correction and the test against other implementations, and how often they err on simulated models."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from varietas.train.run_folder.evaluations import Documents, Evaluation
from varietas.train.statistics.paired import compare, flip_test, holm

ROW: dict[str, Any] = {"bits_per_byte": 1.0, "bytes": 10_000, "trained_on": True}


def evaluation(nats: dict[str, list[float]], sizes: int = 100, digests: list[str] | None = None) -> Evaluation:
    documents = {
        code: Documents(digests or [f"{code}{i}" for i in range(len(of))], [""] * len(of), [sizes] * len(of), of)
        for code, of in nats.items()
    }
    return Evaluation("text", 5, "a text", "d" * 64, dict.fromkeys(nats, ROW), {}, documents)


def test_holm_on_the_example_by_hand() -> None:
    # Of five: 0.01 × 5, 0.013 × 4 = 0.052, 0.014 × 3 = 0.042 (not less than 0.052), 0.19 × 2, 0.35 × 1 (not less than 0.38).
    assert holm(np.array([0.01, 0.19, 0.013, 0.35, 0.014])).tolist() == pytest.approx([0.05, 0.38, 0.052, 0.38, 0.052])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0] and holm(np.array([])).tolist() == []


def test_the_flip_test_is_the_permutation_test_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for n, mean, within in ((8, 0.5, 0.01), (12, 0.2, 0.015), (200, 0.1, 0.03)):  # scipy's value is exact for 8 and 12
        d = np.random.default_rng(n).normal(mean, 1, n)
        found = scipy.stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=1 << 14, rng=rng)
        assert flip_test("ces_Latn", d) == pytest.approx(found.pvalue, abs=within)


def test_a_change_by_hand_and_the_worst_comes_first() -> None:
    first = evaluation({"aaa": [100.0] * 20, "bbb": [100.0] * 20, "ccc": [50.0]})
    second = evaluation({"aaa": [90.0] * 20, "bbb": [110.0] * 20, "ccc": [60.0]})
    found = compare(first, second)
    assert [each.code for each in found.languages] == ["bbb", "ccc", "aaa"]
    worse, single, better = found.languages
    assert worse.first == pytest.approx(1 / np.log(2)) and worse.change == pytest.approx(0.1 / np.log(2)) == -better.change
    assert worse.interval == pytest.approx((0.1 / np.log(2),) * 2)  # every document changes alike
    assert worse.p == pytest.approx(2 / 10_001, rel=1.5) and worse.significant and better.significant  # 2 of 2^20 signs are as extreme
    assert single.interval is single.p is None and not single.significant
    assert (found.count(better=True), found.count(better=False)) == (1, 1)
    assert found.parity[0] and found.parity[0].ratio.value == pytest.approx(2) and found.parity[1]
    assert found.parity[1].gap.value == pytest.approx(0.5 / np.log(2))


def test_few_documents_prove_nothing() -> None:
    """Five documents that all improve: the bootstrap alone would call it certain, but chance does that once in 16."""
    found = compare(evaluation({"aaa": [100.0] * 5}), evaluation({"aaa": [90.0, 95, 99, 91, 92]})).languages[0]
    assert found.interval and found.interval[1] < 0
    assert found.p == pytest.approx(2 / 2**5, abs=0.01) and not found.significant


def test_documents_are_paired_by_their_text_whatever_their_order() -> None:
    first = evaluation({"aaa": [10.0, 20.0, 30.0]}, digests=["x", "y", "x"])
    second = evaluation({"aaa": [31.0, 99.0, 21.0, 11.0]}, digests=["x", "new", "y", "x"])
    found = compare(first, second).languages[0]
    assert found.documents == 3 and found.change == pytest.approx(((31 - 10) + (11 - 30) + (21 - 20)) / 300 / np.log(2))


def test_other_texts_and_old_files_are_told() -> None:
    one, other = evaluation({"aaa": [1.0]}), evaluation({"aaa": [1.0]}, digests=["z"])
    with pytest.raises(ValueError, match="no document in common; evaluate both on the same text"):
        compare(one, other)
    with pytest.raises(ValueError, match="no figures of documents; evaluate the run again"):
        compare(replace(one, documents={}), other)


def test_of_equal_models_hardly_any_comparison_finds_a_difference() -> None:
    """30 languages of 25 documents, 100 times: Holm allows one or more false findings in 5 of 100, and without it there would be in 78."""
    rng, found, uncorrected = np.random.default_rng(3), 0, 0
    for _ in range(100):
        ps = np.array([flip_test(str(k), rng.standard_t(4, 25)) for k in range(30)])
        found += (holm(ps) <= 0.05).any()
        uncorrected += (ps <= 0.05).any()
    assert found <= 12 and uncorrected > 60


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    first = {str(k): rng.lognormal(5, 0.5, 60).tolist() for k in range(24)}
    second = {code: (np.array(of) * rng.normal(0.97 if code == "7" else 1.0, 0.03, 60)).tolist() for code, of in first.items()}
    assert [each.code for each in compare(evaluation(first), evaluation(second)).languages if each.significant] == ["7"]
