"""Axes begin and end at round numbers and hold all values."""

import pytest

from varietas.train.report import axes


@pytest.mark.parametrize("values", [[3.0], [0.0], [2.5, 2.5], [1e-5, 3e-3], [-4.0, 9.0], [11.2, 2.31, 5.0], [1e9, 4e12]])
@pytest.mark.parametrize("log", [False, True])
def test_axes_hold_their_values_and_end_on_marks(values: list[float], log: bool) -> None:
    axis = axes.log_axis(values) if log else axes.linear_axis(values)
    assert all(-1e-9 <= axis.at(value) <= 1 + 1e-9 for value in values if value > 0 or not log)
    assert 2 <= len(axis.ticks) <= 12
    assert axis.ticks[0] == axis.low
