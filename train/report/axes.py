"""Axes of charts: the place of each value, and the round numbers that are marked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, which are both above zero if it is logarithmic (`log`). `ticks` are the values that are marked."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Returns the place of a value: 0 at `low`, 1 at `high`."""
        if self.log:
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float | None) -> bool:
        """Returns whether a value can be drawn: it is finite, and above zero if the axis is logarithmic."""
        return value is not None and math.isfinite(value) and (value > 0 or not self.log)


def round_step(span: float) -> float:
    """Returns the step that divides `span` into about five: 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(span / 5))
    return next(unit * n for n in (1, 2, 5, 10) if unit * n >= span / 5 * 0.999)


def linear_axis(values: Sequence[float], *, zero: bool = False) -> Axis:
    """Returns an axis for `values` that begins and ends at a tick. It includes zero if `zero` is true."""
    low, high = min(values), max(values)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all values are equal: make room around them
        room = abs(high) * 0.1 or 1.0
        low, high = low - (0.0 if zero else room), high + room
    step = round_step(high - low)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(start * step, stop * step, tuple(n * step for n in range(start, stop + 1)))


def step_axis(steps: Sequence[float]) -> Axis:
    """Returns an axis from 0 to the last step with ticks at whole numbers. A single step lies in the middle of its axis."""
    high = max(steps)
    if min(steps) == high:
        return Axis(high - 1, high + 1, (high,))
    apart = max(round_step(high), 1.0)
    return Axis(0.0, high, tuple(n * apart for n in range(math.floor(high / apart) + 1)))


def log_axis(values: Sequence[float]) -> Axis:
    """Returns a logarithmic axis for the values above zero. It begins and ends at a tick: 1, 2 or 5 times a power of ten."""
    above = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    leading = (1, 2, 5) if last - first <= 3 else (1,)
    marks = [n * 10.0**e for e in range(first, last + 1) for n in leading]
    start = max(i for i, mark in enumerate(marks) if mark <= min(above) or i == 0)
    stop = min(i for i, mark in enumerate(marks) if (mark >= max(above) and i > start) or i == len(marks) - 1)
    ticks = marks[start : stop + 1]
    return Axis(ticks[0], ticks[-1], tuple(ticks[:: 1 + len(ticks) // 9]), log=True)
