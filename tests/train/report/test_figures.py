"""Numbers and dates as text."""

from datetime import datetime

import pytest

from varietas.train.report import figures


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (12345.6, "12 346"),
        (3.14159, "3.142"),
        (3e-4, "3 × 10⁻⁴"),
        (-0.5, "−0.5"),
        (999.99, "1 000"),
    ],
)
def test_figures_have_four_digits_and_a_sign_for_what_is_missing(value: float | None, words: str) -> None:
    assert figures.figure(value).replace(figures.NARROW_SPACE, " ") == words


@pytest.mark.parametrize(
    ("value", "words"), [(34212352, "34.2 M"), (999_960, "1.00 M"), (1.7e9, "1.70 B"), (9999, "9 999"), (12_000, "12.0 k")]
)
def test_large_counts_are_shortened(value: float, words: str) -> None:
    assert figures.compact(value).replace(figures.NARROW_SPACE, " ") == words


@pytest.mark.parametrize(
    ("value", "log", "words"),
    [
        (1.5e-4, False, "1.5·10⁻⁴"),
        (20_000, False, "20 k"),
        (0.001, True, "10⁻³"),
        (2e-5, True, "2·10⁻⁵"),
        (0.5, True, "0.5"),
        (0, False, "0"),
    ],
)
def test_labels_of_ticks_are_short(value: float, log: bool, words: str) -> None:
    assert figures.tick_label(value, log).replace(figures.NARROW_SPACE, " ") == words


def test_counts_have_their_plural_and_dates_are_in_utc() -> None:
    assert [figures.plural(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert figures.moment(datetime.fromisoformat("2026-01-02T00:05:00+02:00")) == "1 January 2026, 22:05 UTC"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"), (2.54, "2.5 s"), (9.96, "10 s"), (59.4, "59 s"), (119.9, "1 min 59 s"), (180, "3 min"), (754, "12 min"),
        (7384, "2 h 3 min"), (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_times_have_two_units_at_most(seconds: float, words: str) -> None:
    assert figures.duration(seconds) == words
