"""The share of the tokens that each part of the data has, and how the shares change during a run.

A *stratum* is a language in a source, restricted to the documents that a filter accepts. A mixture gives every stratum a share. Phases
are further mixtures: each begins at some token of the run, and the shares move to it at once or along a straight line. The number of
tokens that a stratum has contributed up to any point of the run is therefore an integral in closed form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.hints import nearest
from varietas.data.stream.mixture import Mixture, parse_sources, parse_weights
from varietas.data.unimax import unimax


@dataclass(frozen=True)
class Stratum:
    """A language in a source, restricted to the documents that a filter accepts."""

    source: str  # "" if there is only one
    code: str  # of the language
    where: str  # the filter; "" accepts every document


def strata_of(corpus: Corpus | Sources, mixture: Mixture) -> list[Stratum]:
    """Returns all strata that the mixture may draw from, in an order that depends on nothing but the two arguments."""
    filters = dict.fromkeys([mixture.where, *(phase.mixture.where for phase in mixture.phases)])
    return [Stratum(source, code, where) for where in filters for source, part in sources_of(corpus).items() for code in part.languages]


def shares(mixture: Mixture, tokens: Mapping[str, int], name: str = "data.mixture") -> np.ndarray:
    """Returns the share of tokens that each language gets.

    Args:
        mixture: The mixture, of which weights and strategy are used.
        tokens: Number of tokens that there are of each language.
        name: What the config calls the mixture, for messages.

    Returns:
        float64 (languages,) in the order of `tokens`, with sum 1.

    Raises:
        ValueError: If explicit weights name a language that is not in `tokens` or has no tokens, or if no language gets a share.
    """
    if mixture.weights:
        weights = parse_weights(mixture.weights, name)
        for code in weights:
            if code not in tokens:
                raise ValueError(_no_such(f"{name}.weights", "language", code, list(tokens)))
        share = np.array([weights.get(code, 0.0) for code in tokens])
        for code, weight in zip(tokens, share, strict=True):
            if weight > 0 and not tokens[code]:
                raise ValueError(f"{name}: where={mixture.where!r} and sources={mixture.sources!r} leave no text of {code}")
    elif mixture.strategy == "unimax":
        share = unimax(np.array([float(n) for n in tokens.values()]), mixture.budget or sum(tokens.values()), mixture.max_epochs)
    else:
        share = np.array([float(n) ** mixture.alpha if n else 0.0 for n in tokens.values()])
    if share.sum() <= 0:
        raise ValueError(f"{name}: at least one language needs a weight above 0 and text that where= and sources= accept")
    return np.round(share / share.sum(), 12)  # because the last bits of pow() differ between machines


def stratum_shares(mixture: Mixture, strata: Sequence[Stratum], tokens: np.ndarray, name: str = "data.mixture") -> np.ndarray:
    """Returns the share of tokens that each stratum gets.

    The share of a language is split over its sources in proportion to their weights times their tokens.

    Args:
        mixture: The mixture, without its phases.
        strata: All strata.
        tokens: Number of tokens that there are of each stratum, (strata,).
        name: What the config calls the mixture, for messages.

    Returns:
        float64 (strata,), with sum 1. Strata under another filter than the mixture's get 0.

    Raises:
        ValueError: If `mixture.sources` names an unknown source, and where `shares` raises it.
    """
    weight_of = parse_sources(mixture.sources, name)
    known = sorted({stratum.source for stratum in strata})
    if weight_of and known == [""]:
        raise ValueError(f"{name}.sources={mixture.sources!r}: there is only one corpus; name several in data.corpus, or none here")
    for source in weight_of:
        if source not in known:
            raise ValueError(_no_such(f"{name}.sources", "source", source, known))
    weighed = np.array(
        [weight_of.get(s.source, 1.0) * n if s.where == mixture.where else 0.0 for s, n in zip(strata, tokens.tolist(), strict=True)]
    )
    codes = list(dict.fromkeys(stratum.code for stratum in strata))
    number = np.array([codes.index(stratum.code) for stratum in strata])
    there: np.ndarray = np.bincount(number, np.where(weighed > 0, tokens, 0))
    if mixture.strategy == "unimax":  # no source may be repeated more than max_epochs times: the highest weight sets the limit
        most = np.full(len(codes), 1e-300)
        np.maximum.at(most, number, np.where(weighed > 0, [weight_of.get(s.source, 1.0) for s in strata], 0.0))
        there = np.bincount(number, weighed) / most
    share = shares(mixture, dict(zip(codes, there.astype(np.int64).tolist(), strict=True)), name)
    if len(codes) == np.count_nonzero(weighed) == len(strata):
        return share[number]  # nothing to split: the shares stay exact to the last bit
    return share[number] * weighed / np.maximum(np.bincount(number, weighed)[number], 1e-300)


@dataclass(frozen=True)
class Course:
    """The shares of the strata over the run.

    From token `begin[k]` on, shares move in a straight line from `start[k]` to `end[k]`, which they reach after `ramp[k]` tokens.
    """

    begin: tuple[int, ...]
    ramp: tuple[int, ...]
    start: np.ndarray  # (phases, strata)
    end: np.ndarray  # (phases, strata)

    def taken(self, tokens: int) -> np.ndarray:
        """Returns how many of the first `tokens` tokens of the run come from each stratum, float64 (strata,).

        It is the integral of its share.
        """
        total = np.zeros(self.end.shape[1])
        for k, begin in enumerate(self.begin):
            length = min(tokens, self.begin[k + 1] if k + 1 < len(self.begin) else tokens) - begin
            if length <= 0:
                break
            start, end = self.start[k], self.end[k]
            on_ramp = min(length, self.ramp[k])
            if on_ramp:
                total += start * on_ramp + (end - start) * on_ramp * (on_ramp / (2 * self.ramp[k]))
            total += end * (length - on_ramp)
        return total


def course(mixture: Mixture, strata: Sequence[Stratum], tokens: np.ndarray) -> Course:
    """Returns the course of a mixture and its phases; `tokens` are those that there are of each stratum, (strata,).

    Raises:
        ValueError: Where `stratum_shares` raises it.
    """
    parts = {"data.mixture": mixture} | {f"data.mixture.phases.{phase.name}": phase.mixture for phase in mixture.phases}
    ends = [stratum_shares(part, strata, tokens, name) for name, part in parts.items()]
    return Course(
        begin=(0, *(phase.begin for phase in mixture.phases)),
        ramp=(0, *(phase.ramp for phase in mixture.phases)),
        start=np.stack([ends[0], *ends[:-1]]),
        end=np.stack(ends),
    )


def _no_such(field: str, what: str, name: str, known: Sequence[str]) -> str:
    return f"{field}: the corpus has no {name}; it has {len(known)} {what}{'s' * (len(known) != 1)}, the nearest is {nearest(name, known)}"
