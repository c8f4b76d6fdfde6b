"""Direct preference optimisation (Rafailov et al., 2023): a model learns which of two answers is better, measured against a reference.

A pair is two segments of a row: the chosen one has an odd number, and the rejected one the next. With π the trained model and ρ the
reference, the loss of a pair is

    -log σ(margin),  margin = β (log π(chosen) / ρ(chosen) - log π(rejected) / ρ(rejected))

where the probabilities are those of the tokens that are learned. β times a logarithm is called the reward of its side. Dimension P stands
for the pairs that a row may have.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Pairs(NamedTuple):
    """The pairs of each row. A place without a pair has zeros."""

    there_BP: jax.Array  # whether there is a pair, float32, 0 or 1
    languages_BP: jax.Array  # int32
    loss_BP: jax.Array  # nats, float32
    chosen_BP: jax.Array  # reward of the chosen side: β times its log ratio, float32
    rejected_BP: jax.Array  # of the rejected side; the margin is the difference
    weights_BL: jax.Array  # derivative of the sum of the losses with respect to the nll of each token, float32


def pairs(
    nll_BL: jax.Array, reference_BL: jax.Array, mask_BL: jax.Array, segments_BL: jax.Array, languages_BL: jax.Array, beta: float
) -> Pairs:
    """Compares the two sides of each pair.

    Args:
        nll_BL: Negative log-likelihood of each target under the trained model, in nats, float32.
        reference_BL: The same under the reference.
        mask_BL: Whether a target is learned, float32, 0 or 1.
        segments_BL: Segment of each token, int32; 0 is padding.
        languages_BL: Language of each target, int32.
        beta: How far the model may go from the reference; the less, the farther.
    """
    there_BP = are_there(mask_BL, segments_BL)
    chosen_BP, rejected_BP = (there_BP * beta * x_BP for x_BP in _of_sides(mask_BL * (reference_BL - nll_BL), segments_BL))
    margin_BP = chosen_BP - rejected_BP
    slope_BP = there_BP * beta * jax.nn.sigmoid(-margin_BP)
    return Pairs(
        there_BP,
        jnp.maximum(_by_pair(jax.ops.segment_max, jnp.where(mask_BL > 0, languages_BL, 0), segments_BL), 0),
        there_BP * jax.nn.softplus(-margin_BP),
        chosen_BP,
        rejected_BP,
        mask_BL * (2 * _is_chosen(segments_BL) - 1) * jnp.take_along_axis(slope_BP, _place(segments_BL), axis=1, mode="clip"),
    )


def are_there(mask_BL: jax.Array, segments_BL: jax.Array) -> jax.Array:
    """Returns which pairs have something to learn on both sides, float32 (B, P), 0 or 1. The arguments are those of `pairs`."""
    return (jnp.minimum(*_of_sides(mask_BL, segments_BL)) > 0).astype(jnp.float32)


def _is_chosen(segments_BL: jax.Array) -> jax.Array:
    """Returns 1 for tokens of chosen sides, 0 for those of rejected ones."""
    return segments_BL % 2


def _of_sides(x_BL: jax.Array, segments_BL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums the values of tokens over the chosen and over the rejected side of each pair, (B, P) each."""
    is_chosen_BL = _is_chosen(segments_BL)
    chosen_BP, rejected_BP = (_by_pair(jax.ops.segment_sum, x_BL * side, segments_BL) for side in (is_chosen_BL, 1 - is_chosen_BL))
    return chosen_BP, rejected_BP


def _by_pair(reduce: Callable[..., jax.Array], x_BL: jax.Array, segments_BL: jax.Array) -> jax.Array:
    """Reduces the values of the tokens of each pair to one, (B, P)."""
    P = segments_BL.shape[1] // 2
    return jax.vmap(lambda x, place: reduce(x, place, P))(x_BL, _place(segments_BL))


def _place(segments_BL: jax.Array) -> jax.Array:
    """Returns the number of each token's pair within its row, from 0. Padding has that of the first pair."""
    return jnp.maximum(segments_BL - 1, 0) // 2
