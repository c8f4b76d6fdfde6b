"""What the runs of a ladder say: a law for each language, what it predicts for the model that the ladder speaks for, and what to do."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from varietas.train.ladder.law import Law, fit
from varietas.train.ladder.layout import Rung

ALL = "all languages"  # the mean over languages


@dataclass(frozen=True)
class Findings:
    """The laws of a ladder.

    Attributes:
        runs: Its runs.
        bits: Bits per byte of each run, by language and for ALL.
        laws: The laws that fit them.
        aim: The model that the ladder speaks for.
    """

    runs: Sequence[Rung]
    bits: Sequence[Mapping[str, float]]
    laws: Mapping[str, Law]
    aim: Rung

    @property
    def per_parameter(self) -> float:
        """Floating-point operations for each parameter and token, of the model that the ladder speaks for."""
        return self.aim.flops / (self.aim.n_params * self.aim.tokens)

    @cached_property
    def predicted(self) -> dict[str, float]:
        """Bits per byte of that model, the worst language first."""
        found = {code: law.loss(self.aim.n_params, self.aim.tokens) for code, law in self.laws.items() if code != ALL}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def interval(self, code: str) -> tuple[float, float]:
        """Returns the interval of such a prediction that holds nine tenths of the resamples."""
        return self.laws[code].interval(self.aim.n_params, self.aim.tokens)

    def with_budget(self, times: float) -> tuple[float, float, dict[str, float]]:
        """Returns what the best model for `times` the operations of that model would be.

        Returns:
            Its parameters and tokens, and its bits per byte by language and for ALL.
        """
        flops = times * self.aim.flops
        size = self.laws[ALL].best_size(flops, self.per_parameter)
        tokens = flops / self.per_parameter / size
        return size, tokens, {code: law.loss(size, tokens) for code, law in self.laws.items()}


def findings(runs: Sequence[Rung], bits: Sequence[Mapping[str, float]], aim: Rung) -> Findings:
    """Fits a law to each language, and to the mean over languages.

    Args:
        runs: The runs of a ladder.
        bits: Bits per byte of each run, by language.
        aim: The model that the ladder speaks for.

    Raises:
        ValueError: If there are too few runs, or they were evaluated in different languages.
    """
    if any(set(each) != set(bits[0]) for each in bits):
        raise ValueError("the runs of the ladder were evaluated in different languages; remove its folder, and begin again")
    with_mean = [{ALL: statistics.mean(each.values()), **each} for each in bits]
    sizes, tokens = [run.n_params for run in runs], [run.tokens for run in runs]
    laws = {code: fit(sizes, tokens, [each[code] for each in with_mean]) for code in with_mean[0]}
    return Findings(runs, with_mean, laws, aim)


def record(found: Findings) -> dict[str, Any]:
    """Returns the findings as JSON."""
    runs = [
        {"name": run.name, "parameters": run.n_params, "tokens": run.tokens, "flops": run.flops, "bits_per_byte": bits}
        for run, bits in zip(found.runs, found.bits, strict=True)
    ]
    laws = {
        code: {**law.constants, "intervals": {name: law.interval_of(name) for name in law.constants}} for code, law in found.laws.items()
    }
    predicted = {code: {"bits_per_byte": bits, "interval": found.interval(code)} for code, bits in found.predicted.items()}
    aim = {"parameters": found.aim.n_params, "tokens": found.aim.tokens, "flops": found.aim.flops, "predicted": predicted}
    return {"aim": aim, "laws": laws, "runs": runs}


def advice(found: Findings) -> list[str]:
    """Says in sentences what follows."""
    aim = found.aim
    size, tokens, bits = found.with_budget(1.0)
    more_size, more_tokens, more = found.with_budget(2.0)
    own = found.laws[ALL].loss(aim.n_params, aim.tokens)
    law = found.laws[ALL]
    return [
        f"With its {aim.flops:.2g} FLOP the config's model of {aim.n_params:,} parameters is predicted to reach {own:.3f} bits per byte.",
        f"The best model for the same budget has {size:,.0f} parameters and reads {tokens:,.0f} tokens: {bits[ALL]:.3f}.",
        f"Twice the budget buys {bits[ALL] - more[ALL]:.3f} bits per byte, with {more_size:,.0f} parameters and {more_tokens:,.0f} tokens.",
        f"No budget leads below {law.constants['E']:.3f} (90 % interval {' to '.join(f'{end:.3f}' for end in law.interval_of('E'))}).",
    ]
