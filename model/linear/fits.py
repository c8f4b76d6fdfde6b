"""The scales by which weights become whole numbers: the best by least squares, over several ways of rounding."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

LEAST, TINY = 1e-3, 1e-30  # of an importance as a part of the mean, and of a mean
ROUNDINGS = np.linspace(-2, 2, 11, dtype=np.float32)  # each gives other whole numbers, and so another least-squares fit

Fit = tuple[jax.Array, jax.Array, jax.Array]  # squared error, scale and low of each part


def relative(importance: np.ndarray) -> np.ndarray:
    """Returns importances (…, inputs) as parts of their mean, and none as nothing, so that each weight keeps a value."""
    return np.maximum(importance / np.maximum(importance.mean(-1, keepdims=True), TINY), LEAST)


def fits(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the best `scale * q - low` for parts of weights, with q from 0 to 15.

    Args:
        x: The weights, float32 (…, part).
        weights: By which their squared errors count, of the same shape.

    Returns:
        The scale and the low of each part (…), float32, not negative.
    """
    n, smallest = weights.sum(-1), jnp.minimum(x.min(-1), 0)
    width = jnp.maximum(x.max(-1) - smallest, 1e-30)
    sum_x, sum_xx = (weights * x).sum(-1), (weights * x * x).sum(-1)

    def fit(rounding: jax.Array) -> Fit:
        q = jnp.clip(jnp.round((x - smallest[..., None]) * ((15 + rounding) / width)[..., None]), 0, 15)
        sum_q, sum_qq, sum_qx = (weights * q).sum(-1), (weights * q * q).sum(-1), (weights * q * x).sum(-1)
        scale, low = n * sum_qx - sum_q * sum_x, sum_q * sum_qx - sum_qq * sum_x
        determinant = n * sum_qq - sum_q * sum_q
        inside = (determinant > 0) & (low >= 0)
        scale = jnp.where(inside, scale / determinant, jnp.where(sum_qq > 0, sum_qx / sum_qq, 0))
        low = jnp.where(inside, low / determinant, 0)
        error = sum_xx - 2 * scale * sum_qx + 2 * low * sum_x + scale**2 * sum_qq - 2 * scale * low * sum_q + n * low**2
        return error, scale, low

    return best(fit, ROUNDINGS)[1:]


def best(of: Callable[[jax.Array], Fit], candidates: np.ndarray) -> Fit:
    """Returns for each part the fit with the smallest error among those of all candidates."""

    def better(so_far: Fit, candidate: jax.Array) -> tuple[Fit, None]:
        other = of(candidate)
        smaller = other[0] < so_far[0]
        return jax.tree.map(partial(jnp.where, smaller), other, so_far), None

    return jax.lax.scan(better, of(jnp.asarray(candidates[0])), jnp.asarray(candidates[1:]))[0]


def whole_numbers(x: jax.Array, unit: jax.Array, most: int) -> jax.Array:
    """Returns x as a whole number of units, from 0 to `most`; 0 if the unit is 0."""
    return jnp.where(unit > 0, jnp.clip(jnp.round(x / jnp.where(unit > 0, unit, 1)), 0, most), 0)
