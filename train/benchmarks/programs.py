"""What the devices compute for likelihoods: they read tokens into a key-value cache, and score tokens that follow what was read."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from varietas.model.attention.cache import Cache, Contiguous, empty_cache
from varietas.model.chunks import join, split
from varietas.model.config import ModelConfig
from varietas.model.decoder import Decoder
from varietas.model.sharding import on_all
from varietas.train.inference.generate import Weights, decoder_of, logits_of


class Before(NamedTuple):
    """Tokens that have been read, in the same number of rows as those that follow, or fewer, of which each then stands for several."""

    cache: list[Cache]  # of each layer
    segments_BS: jax.Array  # 1 for tokens, 0 for padding, int32


@partial(jax.jit, static_argnums=(0, 1))
def read(
    graph: Any, cfg: ModelConfig, weights: Weights, before: Before | None, tokens_BL: jax.Array, segments_BL: jax.Array
) -> tuple[list[Cache], jax.Array]:
    """Reads rows of tokens.

    Args:
        graph: From `graph_and_shapes`.
        cfg: The shape of the model.
        weights: Its parameters.
        before: What was read before; None for nothing.
        tokens_BL: The tokens, int32. What is to follow them is at their end, so padding comes first.
        segments_BL: 1 for tokens, 0 for padding, int32.

    Returns:
        What has been read now, as `Before` holds it.
    """
    _, cache, segments_BS = _extended(decoder_of(graph, weights), cfg, weights, before, tokens_BL, segments_BL)
    return cache, segments_BS


@partial(jax.jit, static_argnums=(0, 1))
def score(
    graph: Any,
    cfg: ModelConfig,
    weights: Weights,
    before: Before | None,
    tokens_BL: jax.Array,
    segments_BL: jax.Array,
    asked: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Reads rows of tokens and scores tokens that may follow.

    Args:
        graph: As for `read`, like the other arguments that are not explained.
        cfg: As for `read`.
        weights: As for `read`.
        before: As for `read`.
        tokens_BL: The tokens, int32. Padding comes last.
        segments_BL: 1 for tokens, 0 for padding, int32.
        asked: Places in the rows, and for each a token that may follow it, int32, both (B, P).

    Returns:
        The log-likelihood of each of these tokens, float32, and whether it is the likeliest one, both (B, P), on all devices.
    """
    decoder, (places_BP, targets_BP) = decoder_of(graph, weights), asked
    hidden_BLD, _, _ = _extended(decoder, cfg, weights, before, tokens_BL, segments_BL)
    hidden_BPD, P = jnp.take_along_axis(hidden_BLD, places_BP[..., None], axis=1), targets_BP.shape[1]

    def step(_: None, piece: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        hidden, targets = piece
        logits = logits_of(decoder, hidden)
        target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return None, (target - jax.nn.logsumexp(logits, axis=-1), target >= logits.max(axis=-1))

    size = min(cfg.loss_chunk, P)  # so that only a chunk of the logits is in memory
    _, found = jax.lax.scan(step, None, (split(hidden_BPD, size, 1), split(targets_BP, size, 1)))
    scores_BP, best_BP = (on_all(join(x, P, axis=1)) for x in found)
    return scores_BP, best_BP


def _extended(
    decoder: Decoder, cfg: ModelConfig, weights: Weights, before: Before | None, tokens_BL: jax.Array, segments_BL: jax.Array
) -> tuple[jax.Array, list[Cache], jax.Array]:
    """Returns the hidden states of tokens (B, L, D), and what has been read then."""
    B, L = tokens_BL.shape
    if before is None:
        cache, segments_BS = empty_cache(cfg, B, L), jnp.zeros((B, 0), jnp.int32)
    else:
        cache, segments_BS = jax.tree.map(lambda x: jnp.repeat(x, B // x.shape[0], axis=0), before)
        cache = jax.tree.map(lambda x: jnp.pad(x, [(0, L if axis == 1 else 0) for axis in range(x.ndim)]), cache)
    n_before = segments_BS.sum(axis=1, keepdims=True)
    positions_BL = jnp.maximum(n_before + jnp.cumsum(segments_BL, axis=1) - 1, 0)
    offset, segments_BS = segments_BS.shape[1], jnp.concatenate([segments_BS, segments_BL], axis=1)
    hidden_BLD, cache = decoder.extend(tokens_BL, segments_BL, positions_BL, weights.layers, cache, Contiguous(segments_BS, offset))
    return hidden_BLD, cache, segments_BS
