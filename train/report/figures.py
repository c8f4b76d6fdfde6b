"""Numbers and dates as text for a reader: rounded, with thin spaces between groups of three digits and before units."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

NARROW_SPACE = "\u202f"  # the space that ISO 80000-1 puts between groups of digits; lines do not break there
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def finite(values: Iterable[float | None]) -> list[float]:
    """Returns the values that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def quotient(above: float | None, below: float | None) -> float | None:
    """Returns `above / below`, or None if either is missing or `below` is zero."""
    return above / below if above is not None and below else None


def power(exponent: int) -> str:
    """Formats a power of ten: `10⁻⁴`."""
    return "10" + str(exponent).translate(SUPERSCRIPT)


def figure(value: float | None, digits: int = 4, zeros: bool = False) -> str:
    """Formats a number to significant digits: `12 346`, `3.142`, `3 × 10⁻⁴`.

    Args:
        value: The number. A dash stands for None and for numbers that are not finite.
        digits: Number of significant digits. Digits before the decimal point are always kept.
        zeros: Whether to keep zeros at the end, as in `1.50`.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')} × {power(int(exponent))}".replace(" ", NARROW_SPACE)
    elif abs(float(f"{value:.{digits}g}")) >= 1000:
        text = f"{value:,.0f}".replace(",", NARROW_SPACE)
    else:
        text = f"{value:#.{digits}g}".rstrip(".") if zeros else f"{value:.{digits}g}"
    return text.replace("-", "−")


def fixed(value: float | None, places: int = 3) -> str:
    """Formats a number with a fixed number of decimal places, for columns."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """Formats a share of one as a percentage."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{figure(100 * share, 3, zeros=True) if abs(share) >= 1e-3 else fixed(100 * share)}{NARROW_SPACE}%"


def compact(value: float | None) -> str:
    """Formats a number to three digits and a unit: `34.2 M`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value is not None and abs(value) >= (1e4 if unit == "k" else 0.9995 * size):
            return f"{figure(value / size, 3, zeros=True)}{NARROW_SPACE}{unit}"
    return figure(value, 3)


def tick_label(value: float, log: bool) -> str:
    """Formats the label of a mark on an axis, which is logarithmic if `log`."""
    if log and value > 0 and (value < 0.01 or value >= 1e4):
        exponent = math.floor(math.log10(value) + 1e-9)
        leading = round(value / 10.0**exponent)
        return power(exponent) if leading == 1 else f"{leading}·{power(exponent)}"
    if abs(value) >= 1e4:
        size, unit = (1e9, "B") if abs(value) >= 1e9 else (1e6, "M") if abs(value) >= 1e6 else (1e3, "k")
        return f"{value / size:.6g}{NARROW_SPACE}{unit}"
    return figure(value).replace(f"{NARROW_SPACE}×{NARROW_SPACE}", "·")  # there is little room beside an axis


def plural(count: int, noun: str) -> str:
    """Formats a count of things: `1 step`, `480 steps`."""
    return f"{figure(count)} {noun}{'' if count == 1 else 's'}"


def moment(when: datetime) -> str:
    """Formats a date and time in UTC: `27 November 2026, 04:09 UTC`."""
    utc = when.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """Formats a time with one or two units: `3 d 4 h`, `5 h 10 min`, `12 min`, `2 min 5 s`, `40 s`, `2.5 s`."""
    days, hours, minutes = int(seconds // 86400), int(seconds // 3600 % 24), int(seconds // 60 % 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min" + (f" {rest} s" if minutes < 10 and (rest := int(seconds % 60)) else "")
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
