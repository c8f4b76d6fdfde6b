"""How much of what: the share that each part of the data has of the tokens, and how it changes while the run goes on.

A *stratum* is a language in a source, as far as a filter lets it through. A mixture gives every stratum a share; phases are other
mixtures from some token of the run on, reached at once or in a straight line. So how many tokens a stratum has given up to any place
of the run is an integral in closed form.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from varietas.data.languages import canonical

STRATEGIES = ("alpha", "unimax")


@dataclass(frozen=True)
class Mixture:
    """`data.mixture` of a config; configs/base.py says what each field means. Explicit weights win over the strategy."""

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
    """From token `begin` of the run on, the mixture moves to this one, evenly over `ramp` tokens."""

    name: str
    begin: int
    ramp: int
    mixture: Mixture


@dataclass(frozen=True)
class Stratum:
    """A language in a source ("" where there is one only), as far as `where` lets it through ("": all of it)."""

    source: str
    code: str
    where: str


def from_config(config: Mapping[str, Any]) -> Mixture:
    """The mixture of a config's data.mixture. A phase takes what it does not name from the mixture above it.

    Raises ValueError on a field that there is not, on phases that overlap, and on values out of their range.
    """
    config = dict(config)
    phases = config.pop("phases", {})
    base = Mixture(**config)
    _check(base, "data.mixture")
    own = [field.name for field in fields(Mixture) if field.name != "phases"]
    out = []
    for name, phase in phases.items():
        where = f"data.mixture.phases.{name}"
        for field in phase:
            if field not in (*own, "begin", "ramp"):
                near = difflib.get_close_matches(field, [*own, "begin", "ramp"], n=1, cutoff=0.0)
                raise ValueError(f"{where} has an unknown field {field}; did you mean {near[0]}?")
        begin, ramp = int(phase.get("begin", 0)), int(phase.get("ramp", 0))
        if begin <= 0 or ramp < 0:
            raise ValueError(f"{where}: begin={begin} must be 1 token or more, and ramp={ramp} 0 or more")
        mixture = replace(base, **{field: phase[field] for field in phase if field in own})
        _check(mixture, where)
        out.append(Phase(name, begin, ramp, mixture))
    out.sort(key=lambda phase: phase.begin)
    for first, second in pairwise(out):
        if first.begin + first.ramp > second.begin:
            raise ValueError(f"data.mixture.phases: {first.name} is still on its way when {second.name} begins; begin that later")
    return replace(base, phases=tuple(out))


def _check(mixture: Mixture, where: str) -> None:
    if mixture.strategy not in STRATEGIES:
        near = difflib.get_close_matches(mixture.strategy, STRATEGIES, n=1, cutoff=0.0)
        raise ValueError(f"{where}.strategy={mixture.strategy!r}: expected {' or '.join(STRATEGIES)}; did you mean {near[0]}?")
    for field, value, least in (("max_epochs", mixture.max_epochs, 0.0), ("budget", mixture.budget, -1)):
        if not least < value < float("inf"):
            raise ValueError(f"{where}.{field}={value} must be more than {least if least else 0} and finite")
    if not 0 <= mixture.alpha <= 1:
        raise ValueError(f"{where}.alpha={mixture.alpha} must be from 0 to 1")
    parse_weights(mixture.weights)
    parse_sources(mixture.sources)


def parse_weights(text: str) -> dict[str, float]:
    """`"ces_Latn:2, mlt:1"` as {"ces_Latn": 2.0, "mlt_Latn": 1.0}. Raises ValueError on anything else."""
    return _parse(text, "data.mixture.weights", canonical, "CODE:WEIGHT", "'ces_Latn:2, mlt_Latn:1'")


def parse_sources(text: str) -> dict[str, float]:
    """`"wiki:3, web:1"` as {"wiki": 3.0, "web": 1.0}. Raises ValueError on anything else."""
    return _parse(text, "data.mixture.sources", str, "SOURCE:WEIGHT", "'wiki:3, web:1'")


def _parse(text: str, field: str, name_of: Any, form: str, example: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, number = item.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = float("nan")
        if not key or not 0 <= weight < float("inf"):
            raise ValueError(f"{field}: {item!r} is not {form} with a weight of 0 or more, as in {example}")
        name = name_of(key.strip())
        if name in weights:
            raise ValueError(f"{field} names {name} twice")
        weights[name] = weight
    return weights


def shares(mixture: Mixture, tokens: Mapping[str, int]) -> np.ndarray:
    """Share of tokens of each language of `tokens` (code -> tokens there are): float64, sum 1.

    Raises ValueError if explicit weights name a language that there is not or are all zero.
    """
    if mixture.weights:
        weights = parse_weights(mixture.weights)
        for code in weights:
            if code not in tokens:
                raise ValueError(_no_such("data.mixture.weights", "language", code, list(tokens)))
        share = np.array([weights.get(code, 0.0) for code in tokens])
        for code, weight in zip(tokens, share, strict=True):
            if weight > 0 and not tokens[code]:
                raise ValueError(f"data.mixture: nothing of {code} is left by where={mixture.where!r} and sources={mixture.sources!r}")
    elif mixture.strategy == "unimax":
        share = unimax(np.array([float(n) for n in tokens.values()]), mixture.budget or sum(tokens.values()), mixture.max_epochs)
    else:
        share = np.array([float(n) ** mixture.alpha if n else 0.0 for n in tokens.values()])
    if share.sum() <= 0:
        raise ValueError("data.mixture: at least one language needs a weight above 0 and text that where= and sources= let through")
    return np.round(share / share.sum(), 12)  # the last bits of pow() differ between machines


def unimax(tokens: np.ndarray, budget: float, max_epochs: float) -> np.ndarray:
    """Tokens of each language: as even as can be, but no language more than `max_epochs` times (Chung et al., 2023, algorithm 1)."""
    out, left = np.zeros(len(tokens)), float(budget)
    for done, at in enumerate(np.argsort(tokens, kind="stable")):
        out[at] = min(left / (len(tokens) - done), max_epochs * tokens[at])
        left -= out[at]
    return out


def stratum_shares(mixture: Mixture, strata: Sequence[Stratum], tokens: np.ndarray) -> np.ndarray:
    """Share of each stratum, (strata,), sum 1: a language's share, split over its sources by their weight times their tokens.

    `tokens` are those of each stratum. Strata of another filter than the mixture's have none.
    Raises ValueError if sources= names a source that there is not.
    """
    weight_of = parse_sources(mixture.sources)
    known = sorted({stratum.source for stratum in strata})
    for source in weight_of:
        if source not in known:
            raise ValueError(_no_such("data.mixture.sources", "source", source, known))
    weighed = np.array(
        [weight_of.get(s.source, 1.0) * n if s.where == mixture.where else 0.0 for s, n in zip(strata, tokens.tolist(), strict=True)]
    )
    codes = list(dict.fromkeys(stratum.code for stratum in strata))
    number = np.array([codes.index(stratum.code) for stratum in strata])
    there: np.ndarray = np.bincount(number, np.where(weighed > 0, tokens, 0))
    if mixture.strategy == "unimax":  # no source of a language may come more often than max_epochs: the most wanted sets the limit
        most = np.full(len(codes), 1e-300)
        np.maximum.at(most, number, np.where(weighed > 0, [weight_of.get(s.source, 1.0) for s in strata], 0.0))
        there = np.bincount(number, weighed) / most
    share = shares(mixture, dict(zip(codes, there.astype(np.int64).tolist(), strict=True)))
    if len(codes) == np.count_nonzero(weighed) == len(strata):
        return share[number]  # nothing to split, not a bit to lose
    return share[number] * weighed / np.maximum(np.bincount(number, weighed)[number], 1e-300)


@dataclass(frozen=True)
class Course:
    """Shares over the run: from token `begin[k]` on they go in a line from `start[k]` to `end[k]`, and are there after `ramp[k]` tokens."""

    begin: tuple[int, ...]
    ramp: tuple[int, ...]
    start: np.ndarray  # (phases, strata)
    end: np.ndarray

    def taken(self, tokens: int, stratum: int) -> float:
        """Tokens of a stratum among the first `tokens` of the run: the integral of its share."""
        total = 0.0
        for k, begin in enumerate(self.begin):
            length = min(tokens, self.begin[k + 1] if k + 1 < len(self.begin) else tokens) - begin
            if length <= 0:
                break
            start, end = float(self.start[k, stratum]), float(self.end[k, stratum])
            on_ramp = min(length, self.ramp[k])
            if on_ramp:
                total += start * on_ramp + (end - start) * on_ramp * (on_ramp / (2 * self.ramp[k]))
            total += end * (length - on_ramp)
        return total


def course(mixture: Mixture, strata: Sequence[Stratum], tokens: np.ndarray) -> Course:
    """The shares of a mixture with its phases. Raises ValueError as stratum_shares does."""
    ends = [stratum_shares(part, strata, tokens) for part in (mixture, *(phase.mixture for phase in mixture.phases))]
    return Course(
        begin=(0, *(phase.begin for phase in mixture.phases)),
        ramp=(0, *(phase.ramp for phase in mixture.phases)),
        start=np.stack([ends[0], *ends[:-1]]),
        end=np.stack(ends),
    )


def _no_such(field: str, what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{field}: the corpus has no {name}; it has {len(known)} {what}{'s' * (len(known) != 1)}, the nearest is {near[0]}"
