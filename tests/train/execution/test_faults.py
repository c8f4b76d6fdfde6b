"""What counts as a spike, and when two computations agree."""

import math

import numpy as np
import pytest

from varietas.train.execution.faults import FEWEST, WINDOW, agree, spike_limit, tolerance

RNG = np.random.default_rng(0)


def losses(n: int, mean: float = 3.0, deviation: float = 0.1) -> list[tuple[int, float]]:
    return list(enumerate(RNG.normal(mean, deviation, n).tolist()))


def test_a_spike_is_eight_standard_deviations_above_the_median() -> None:
    assert spike_limit(losses(1000), 1000) == pytest.approx(3.0 + 8 * 0.1, abs=0.25)  # 128 losses say little of the deviation
    wild = [*losses(120), *((n, 50.0) for n in range(120, 128))]  # spikes before it hardly count: the limit is robust
    assert spike_limit(wild, 129) == pytest.approx(3.8, abs=0.3)


def test_a_smooth_curve_leaves_room_for_a_change_of_the_data() -> None:
    smooth = [(n, 2.0 - 1e-5 * n) for n in range(500)]
    assert spike_limit(smooth, 500) == pytest.approx(2.0 * 1.08, abs=0.01)


def test_nothing_is_a_spike_before_there_are_enough_losses() -> None:
    assert spike_limit(losses(FEWEST), FEWEST) == math.inf  # the last of them does not count yet
    assert spike_limit(losses(FEWEST), FEWEST + 1) < math.inf


def test_the_limit_is_the_same_whether_or_not_the_step_before_is_known() -> None:
    """It is known where a checkpoint was saved or the run was continued. What a run learns must not depend on that."""
    many = losses(WINDOW + 1)
    assert spike_limit(many[:-1], WINDOW + 1) == spike_limit(many, WINDOW + 1) != spike_limit(many[1:], WINDOW + 1)


def test_two_results_agree_to_the_last_bit_where_devices_sum_in_one_order() -> None:
    one = {"loss": np.float32(2.0), "nll": np.array([1.0, np.nan], np.float32), "applied": np.bool_(True)}
    almost, far = ({**one, "loss": loss} for loss in (np.nextafter(np.float32(2.0), np.float32(3.0)), np.float32(2.01)))
    exact, gpu = tolerance("cpu", ""), tolerance("gpu", "")
    assert agree(one, {**one, "applied": np.bool_(False)}, exact)  # type: ignore[arg-type,dict-item]
    assert [agree(one, other, limit) for limit in (exact, gpu) for other in (almost, far)] == [False, False, True, False]  # type: ignore[arg-type]
    assert not agree(one, {**one, "loss": np.float32(np.nan)}, gpu)  # type: ignore[arg-type,dict-item]
    assert tolerance("gpu", "--xla_gpu_deterministic_ops=true") == tolerance("tpu", "") == 0
