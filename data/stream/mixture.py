"""The mixture of a config: what share of the tokens comes from each part of the data, and the phases in which the shares change."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from varietas.data.hints import nearest
from varietas.data.text.languages import canonical

KINDS = {int: "a whole number", float: "a number", str: "text"}  # types of fields, for messages
STRATEGIES = ("alpha", "unimax")
LARGEST_WEIGHT = 1e12  # so that a weight times any number of tokens is a finite number


@dataclass(frozen=True)
class Mixture:
    """The fields of `data.mixture` in a config; configs/base.py explains them. Explicit weights take precedence over the strategy."""

    alpha: float = 1.0
    weights: str = ""
    strategy: str = "alpha"
    max_epochs: float = 4.0
    budget: int = 0
    sources: str = ""
    where: str = ""
    phases: tuple["Phase", ...] = ()


@dataclass(frozen=True)
class Phase:
    """A mixture to which the run moves from token `begin` on, along a straight line of `ramp` tokens."""

    name: str
    begin: int
    ramp: int
    mixture: Mixture


def from_config(config: Mapping[str, Any]) -> Mixture:
    """Makes a mixture of `data.mixture` of a config. A phase inherits the fields that it does not name from `data.mixture` itself.

    Raises:
        ValueError: If a phase has an unknown field, if phases overlap, or if a value is out of range.
    """
    config = dict(config)
    phases = config.pop("phases", {})
    usual: dict[str, Any] = {field.name: field.default for field in fields(Mixture) if field.name != "phases"}
    _check_fields(config, usual, "data.mixture")
    base = Mixture(**{field: type(usual[field])(value) for field, value in config.items()})  # a ledger tells 1 from 1.0
    _check(base, "data.mixture")
    own = list(usual)
    out = []
    for name, phase in phases.items():
        where = f"data.mixture.phases.{name}"
        _check_fields(phase, {**{field: getattr(base, field) for field in own}, "begin": 0, "ramp": 0}, where)
        begin, ramp = int(phase.get("begin", 0)), int(phase.get("ramp", 0))
        if begin <= 0 or ramp < 0:
            raise ValueError(f"{where}: begin={begin} must be 1 token or more, and ramp={ramp} 0 or more")
        mixture = replace(base, **{field: phase[field] for field in phase if field in own})
        _check(mixture, where)
        out.append(Phase(name, begin, ramp, mixture))
    out.sort(key=lambda phase: phase.begin)
    for first, second in pairwise(out):
        if first.begin + first.ramp > second.begin:
            raise ValueError(f"data.mixture.phases: the ramp of {first.name} has not ended when {second.name} begins; delay the latter")
    return replace(base, phases=tuple(out))


def _check_fields(phase: object, usual: Mapping[str, Any], where: str) -> None:
    """Raises ValueError if a phase is no group of fields, has a field that `usual` lacks, or a value of another type than there."""
    if not isinstance(phase, Mapping):
        raise ValueError(f"{where}={phase!r}: expected fields, as in ConfigDict({{'begin': 1_000_000, 'where': 'quality >= 0.8'}})")
    for field, value in phase.items():
        if field not in usual:
            raise ValueError(f"{where} has an unknown field {field}; did you mean {nearest(field, usual)}?")
        kind = type(usual[field])
        fits = isinstance(value, str if kind is str else (int, float)) and not isinstance(value, bool)
        if not fits or (kind is int and not float(value).is_integer()):
            raise ValueError(f"{where}.{field}={value!r}: expected {KINDS[kind]}")


def _check(mixture: Mixture, where: str) -> None:
    if mixture.strategy not in STRATEGIES:
        near = nearest(mixture.strategy, STRATEGIES)
        raise ValueError(f"{where}.strategy={mixture.strategy!r}: expected {' or '.join(STRATEGIES)}; did you mean {near}?")
    for field, value, least in (("max_epochs", mixture.max_epochs, 0.0), ("budget", mixture.budget, -1)):
        if not least < value < float("inf"):
            raise ValueError(f"{where}.{field}={value} must be more than {least if least else 0} and finite")
    if not 0 <= mixture.alpha <= 1:
        raise ValueError(f"{where}.alpha={mixture.alpha} must be from 0 to 1")
    parse_weights(mixture.weights, where)
    parse_sources(mixture.sources, where)


def parse_weights(text: str, mixture: str = "data.mixture") -> dict[str, float]:
    """Parses the weights of languages: `"ces_Latn:2, mlt:1"` gives {"ces_Latn": 2.0, "mlt_Latn": 1.0}.

    Args:
        text: The value of the field.
        mixture: The mixture or phase that has the field, for messages.

    Raises:
        ValueError: If the text has another form, names a language twice, or has a weight that is negative or above LARGEST_WEIGHT.
    """
    return _parse(text, f"{mixture}.weights", canonical, "CODE:WEIGHT", "'ces_Latn:2, mlt_Latn:1'")


def parse_sources(text: str, mixture: str = "data.mixture") -> dict[str, float]:
    """Parses the weights of sources: `"wiki:3, web:1"` gives {"wiki": 3.0, "web": 1.0}. Arguments and errors are as in `parse_weights`."""
    return _parse(text, f"{mixture}.sources", str, "SOURCE:WEIGHT", "'wiki:3, web:1'")


def _parse(text: str, field: str, name_of: Any, form: str, example: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, number = item.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = float("nan")
        if not key or not 0 <= weight <= LARGEST_WEIGHT:
            raise ValueError(f"{field}: {item!r} is not {form} with a weight from 0 to {LARGEST_WEIGHT:g}, as in {example}")
        name = name_of(key.strip())
        if name in weights:
            raise ValueError(f"{field} names {name} twice")
        weights[name] = weight
    return weights
