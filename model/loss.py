"""Cross-entropy with z-loss that never holds more than one chunk of the float32 logits.

The gradient is hand-written. While the logits of a chunk are in memory, softmax minus one-hot gives the gradients of the hidden states and
of the output matrix, so no logits are kept or recomputed for the backward pass.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from varietas.model.chunks import join, split
from varietas.model.sharding import batch_shards, constrain, gathered, sum_over_batch


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def cross_entropy(
    hidden_BLD: jax.Array, head_DV: jax.Array, targets_BL: jax.Array, weights_BL: jax.Array, z_loss: float, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Computes the weighted negative log-likelihood (nll) of the targets, in nats, with z-loss (Chowdhery et al., 2022, section 5).

    Only the sum has a gradient, and only with respect to `hidden_BLD` and `head_DV`.

    Args:
        hidden_BLD: Hidden states.
        head_DV: The output matrix. It is cast to the dtype of the hidden states.
        targets_BL: Token ids to predict, int32.
        weights_BL: Weight of each target in the sum, float32.
        z_loss: Weight of log(Z)².
        chunk: How many positions of each row are computed at once.

    Returns:
        sum(weights * (nll + z_loss * log(Z)²)), a float32 scalar, and the nll of each target, float32 (B, L).
    """
    _, L, _ = hidden_BLD.shape
    head = gathered(head_DV, "DV", hidden_BLD.dtype)

    def step(total: jax.Array, piece: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        hidden, targets, weights = piece
        nll, log_z, _ = _chunk(hidden, head, targets)
        return total + jnp.sum(weights * (nll + z_loss * log_z**2)), nll

    total, nll = jax.lax.scan(step, jnp.float32(0), _in_chunks(chunk, hidden_BLD, targets_BL, weights_BL))
    return total, join(nll, L, axis=1)


def _forward(hidden_BLD: jax.Array, head_DV: jax.Array, targets_BL: jax.Array, weights_BL: jax.Array, z_loss: float, chunk: int) -> Any:
    """Returns the result, and the gradients of the sum with respect to hidden and head."""
    _, L, _ = hidden_BLD.shape
    n_shards, head = batch_shards(), gathered(head_DV, "DV", hidden_BLD.dtype)
    places_V = jnp.arange(head_DV.shape[1], dtype=jnp.float32)  # XLA's CPU backend compares float32 twice as fast as int32

    def of_shards(x: jax.Array) -> jax.Array:
        return x.reshape(n_shards, -1, *x.shape[2:])

    def step(carry: tuple[jax.Array, jax.Array], piece: tuple[jax.Array, ...]) -> tuple[Any, Any]:
        total, d_head = carry
        hidden, targets, weights = piece
        nll, log_z, logits = _chunk(hidden, head, targets)
        p = jnp.exp(logits - log_z[..., None])
        d_logits = p * (1 + 2 * z_loss * log_z)[..., None] - (places_V == targets[..., None].astype(jnp.float32)).astype(jnp.float32)
        d_logits = constrain((d_logits * weights[..., None]).astype(hidden.dtype), "BLV")
        d_hidden = jnp.einsum("BLV,DV->BLD", d_logits, head)
        products = jnp.einsum("BLD,BLV->BDV", of_shards(hidden), of_shards(d_logits), preferred_element_type=jnp.float32)
        d_head = constrain(d_head + products, "BDV")
        return (total + jnp.sum(weights * (nll + z_loss * log_z**2)), d_head), (nll, d_hidden)

    zeros = constrain(jnp.zeros((n_shards, *head_DV.shape), jnp.float32), "BDV")
    (total, d_head), (nll, d_hidden) = jax.lax.scan(step, (jnp.float32(0), zeros), _in_chunks(chunk, hidden_BLD, targets_BL, weights_BL))
    return (total, join(nll, L, axis=1)), (join(d_hidden, L, axis=1), sum_over_batch(d_head, "DV").astype(head_DV.dtype))


def _backward(z_loss: float, chunk: int, saved: tuple[jax.Array, jax.Array], cotangents: tuple[jax.Array, jax.Array]) -> Any:
    """Scales the gradients that the forward pass has computed."""
    d_hidden, d_head = saved
    scale = cotangents[0]
    return d_hidden * scale.astype(d_hidden.dtype), d_head * scale.astype(d_head.dtype), None, None


cross_entropy.defvjp(_forward, _backward)


def _chunk(hidden: jax.Array, head_DV: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns nll, log Z and the float32 logits of a chunk."""
    logits = constrain(jnp.einsum("BLD,DV->BLV", hidden, head_DV, preferred_element_type=jnp.float32), "BLV")
    log_z = jax.nn.logsumexp(logits, axis=-1)
    return log_z - jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0], log_z, logits


def _in_chunks(chunk: int, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Splits arrays over positions: (B, L, …) -> (n, B, chunk, …). Padding has weight zero."""
    return tuple(split(x, min(chunk, x.shape[1]), axis=1) for x in arrays)
