"""The law of scaling: loss(N, D) = E + A / N^α + B / D^β for N parameters and D tokens (Hoffmann et al., 2022, approach 3).

Fitted as there: the Huber loss of the logarithm, from a grid of starting points. The minimum is found to the last digits, which the
published fit stopped short of (Besiroglu et al., 2024, arXiv:2404.10102). Intervals are by bootstrap of the residuals, which keeps the
layout of the runs (Efron and Tibshirani, 1993, chapter 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy.optimize import least_squares, minimize_scalar

DELTA = 1e-3  # of the Huber loss, in the logarithm of the loss
LOGARITHMS = slice(0, 3)  # of the parameters, those of A, B and E
# Starting points: what share of the median loss is due to size, to tokens and to neither, then α and β.
STARTS = tuple(product((0.1, 0.4), (0.1, 0.4), (0.3, 0.8), (0.2, 0.6), (0.2, 0.6)))
BOUNDS = ((-40.0, -40.0, -40.0, 0.05, 0.05), (10.0, 10.0, 10.0, 1.5, 1.5))  # log A and B at the middle of the runs, log E, α, β
RESAMPLES = 200
MOST_EVALUATIONS = 200
LEAST_RUNS = 6  # for five parameters
SPAN = (1e-6, 1e6)  # of N over the root of the budget, in which the best size is searched


@dataclass(frozen=True)
class Law:
    """A fitted law. Losses are of any unit, such as bits per byte.

    Attributes:
        parameters: log A, log B, log E, α, β; float64 (5,).
        resampled: The same of resamples, float64 (S, 5).
    """

    parameters: np.ndarray
    resampled: np.ndarray

    @cached_property
    def constants(self) -> dict[str, float]:
        """A, B, E, alpha and beta."""
        return dict(zip(("A", "B", "E", "alpha", "beta"), _constants(self.parameters).tolist(), strict=True))

    def loss(self, n_params: float, tokens: float) -> float:
        """Returns the loss that the law predicts."""
        return float(_loss(self.parameters, n_params, tokens))

    def interval(self, n_params: float, tokens: float, level: float = 0.9) -> tuple[float, float]:
        """Returns the percentile interval of that prediction over the resamples."""
        low, high = np.quantile(_loss(self.resampled.T, n_params, tokens), ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def interval_of(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """Returns the percentile interval of a constant."""
        place = list(self.constants).index(name)
        low, high = np.quantile(_constants(self.resampled.T)[place], ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def best_size(self, flops: float, per_parameter: float = 6.0) -> float:
        """Returns the parameters of the model that reaches the lowest loss with a budget of `per_parameter` · N · D operations."""
        budget = flops / per_parameter

        def loss(log_size: float) -> float:
            size = np.exp(log_size) * np.sqrt(budget)
            return self.loss(size, budget / size)

        found = minimize_scalar(loss, bounds=np.log(SPAN), method="bounded", options={"xatol": 1e-9})
        return float(np.exp(found.x) * np.sqrt(budget))

    def tokens_for(self, n_params: float, loss: float) -> float:
        """Returns how many tokens a model of this size needs for a loss; infinite if it never reaches it."""
        A, B, E, alpha, beta = _constants(self.parameters)
        left = loss - E - A / n_params**alpha
        return float((B / left) ** (1 / beta)) if left > 0 else float("inf")


def fit(n_params: Sequence[float], tokens: Sequence[float], losses: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Law:
    """Fits the law to runs.

    Args:
        n_params: Parameters of each run's model.
        tokens: Tokens that each run has read.
        losses: The loss of each run, above 0.
        seed: Of the resamples.
        resamples: How many resamples of the residuals the intervals come from.

    Raises:
        ValueError: If there are fewer than LEAST_RUNS runs, fewer than two sizes or numbers of tokens, or a loss that is not above 0.
    """
    N, D, y = (np.array(values, np.float64) for values in (n_params, tokens, losses))
    if len(N) < LEAST_RUNS or len(set(n_params)) < 2 or len(set(tokens)) < 2:
        raise ValueError(f"a law has five constants: it needs {LEAST_RUNS} runs or more, of several sizes and numbers of tokens")
    if not (np.isfinite(y) & (y > 0)).all():
        raise ValueError(f"losses have to be above 0, found {min(losses)}")
    x, target = np.log([N, D]), np.log(y)
    middle = x.mean(axis=1)
    x -= middle[:, None]  # in which A and α, and B and β, hardly depend on each other, so that few iterations suffice
    typical = np.log(np.median(y))
    starts = (np.array([*(typical + np.log(start[LOGARITHMS])), *start[3:]]) for start in STARTS)
    best = min((_minimised(start, x, target) for start in starts), key=lambda found: found[0])[1]
    predicted = _logarithm(best, x)[0]
    free = max(1, len(N) - len(best))  # a fit follows its points, the more of them it has constants for
    errors = (target - predicted) * np.sqrt(len(N) / free)
    chosen = np.random.default_rng(seed).choice(errors, (resamples, len(N)))
    resampled = np.stack([best, *(_minimised(best, x, predicted + some)[1] for some in chosen)])
    resampled[:, :2] += resampled[:, 3:] * middle
    return Law(resampled[0], resampled[1:] if resamples else resampled)


def _minimised(start: np.ndarray, x: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the sum of Huber losses that is reached from a starting point, and the parameters there."""
    found = least_squares(
        lambda parameters: _logarithm(parameters, x)[0] - target,
        start,
        jac=lambda parameters: _logarithm(parameters, x)[1],
        loss="huber",
        f_scale=DELTA,
        bounds=BOUNDS,
        x_scale="jac",
        max_nfev=MOST_EVALUATIONS,
    )
    return float(found.cost), found.x


def _logarithm(parameters: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logarithm of the predicted losses (n,), and its derivative with respect to the parameters (n, 5)."""
    a, b, e, alpha, beta = parameters
    terms = np.stack([a - alpha * x[0], b - beta * x[1], np.full(x.shape[1], e)])
    predicted = np.logaddexp.reduce(terms)
    of_a, of_b, of_e = np.exp(terms - predicted)
    return predicted, np.stack([of_a, of_b, of_e, -of_a * x[0], -of_b * x[1]], axis=1)


def _constants(parameters: np.ndarray) -> np.ndarray:
    """Returns A, B, E, α, β of parameters (5, …)."""
    return np.concatenate([np.exp(parameters[LOGARITHMS]), parameters[3:]])


def _loss(parameters: np.ndarray, n_params: float, tokens: float) -> np.ndarray:
    A, B, E, alpha, beta = _constants(parameters)
    return np.asarray(E + A / n_params**alpha + B / tokens**beta)
