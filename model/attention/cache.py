"""Key-value caches: what attention keeps of the tokens it has seen, so that each token is computed once.

A cache has one array of keys and one of values for each layer. Its places are arranged in one of two ways. In `Contiguous`, each row of a
batch has a row of places, and all rows write to the same place of theirs. In `Paged`, places are in pages that rows take as they grow
(Kwon et al., 2023), so that rows of any length share the memory.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from varietas.model.attention.blockwise import MASKED
from varietas.model.config import ModelConfig
from varietas.model.sharding import constrain

KEYS_AT_ONCE = 256  # of each row of a paged cache, about

Cache = tuple[jax.Array, jax.Array]  # keys and values of one layer, (B, S, K, H) or (pages, S, K, H), or what `LatentAttention` keeps


class Contiguous(NamedTuple):
    """Rows of places, (B, S, …)."""

    segments_BS: jax.Array  # int32, the segment of each place, also of those of the new tokens; tokens attend to their own segment
    offset: jax.Array | int  # how many places come before the new tokens


class Paged(NamedTuple):
    """Pages of S places, (pages, S, …), of which each row has some. Page 0 belongs to none: what nobody needs is written there."""

    table_BM: jax.Array  # int32, the pages of each row in order; 0 where it has none


Places = Contiguous | Paged


def empty_cache(cfg: ModelConfig, rows: int, length: int) -> list[Cache]:
    """Returns a key-value cache: for each layer two zero arrays of the compute dtype.

    They are (B, S, K, H), or with latent attention (B, S, C) and (B, S, R).

    Args:
        cfg: The shape of the model.
        rows: Rows of a batch, or pages.
        length: Places of each.
    """
    heads = (cfg.n_kv_heads, cfg.head_dim)
    widths = ((cfg.kv_rank,), (cfg.d_rope,)) if cfg.kv_rank else (heads, heads)

    def zeros(width: tuple[int, ...]) -> jax.Array:
        return jnp.zeros((rows, length, *width), cfg.dtype)

    return [(zeros(widths[0]), zeros(widths[1])) for _ in range(cfg.n_layers)]


def empty_pages(cfg: ModelConfig, pages: int, length: int) -> list[Cache]:
    """Returns an empty paged cache whose heads are split over `tensor`. Call it under jit."""
    return on_devices(empty_cache(cfg, pages, length))


def on_devices(cache: list[Cache]) -> list[Cache]:
    """Constrains a paged cache to its sharding on the active mesh."""
    return jax.tree.map(lambda x: constrain(x, "LLKH" if x.ndim == 4 else "LLQ"), cache)


def write(cache: jax.Array, new_BL: jax.Array, places: Places, positions_BL: jax.Array) -> jax.Array:
    """Writes what is kept of new tokens.

    Args:
        cache: The keys or the values of a layer.
        new_BL: Those of the new tokens (B, L, …).
        places: Where they belong.
        positions_BL: Position of each new token. In pages it says the place; a token whose position is below 0 is not kept.
    """
    new_BL = new_BL.astype(cache.dtype)
    if isinstance(places, Contiguous):
        return jax.lax.dynamic_update_slice_in_dim(cache, new_BL, places.offset, axis=1)
    size = cache.shape[1]
    pages_BL = jnp.take_along_axis(places.table_BM, jnp.maximum(positions_BL, 0) // size, axis=1)
    return cache.at[jnp.where(positions_BL < 0, 0, pages_BL), positions_BL % size].set(new_BL)


def attend_paged(
    q_BLNH: jax.Array,
    read: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    size: int,
    paged: Paged,
    positions_BL: jax.Array,
    scale: float,
    window: int = 0,
) -> jax.Array:
    """Computes softmax(scale q kᵀ) v over the pages of each row, as many of them at a time as hold about KEYS_AT_ONCE keys.

    The loop ends after the longest row, so one program serves rows of all lengths, and takes memory for the keys of one pass only.

    Args:
        q_BLNH: Queries.
        read: Returns the keys (B, S, K, H) and values (B, S, K, …) of some pages of each row, from their numbers (B, pages).
        size: Places of a page.
        paged: The pages of each row.
        positions_BL: Position of each query, which attends to positions up to its own; below 0 where there is no query.
        scale: What scores are multiplied by.
        window: If it is not 0, a query attends only to this many positions, its own included.

    Returns:
        An array (B, L, N, …) of the dtype of the queries; finite, and of no meaning, where there is no query.
    """
    B, L, N, H = q_BLNH.shape
    at_once = min(max(1, KEYS_AT_ONCE // size), paged.table_BM.shape[1])
    table_BM = jnp.pad(paged.table_BM, ((0, 0), (0, -paged.table_BM.shape[1] % at_once)))
    S = at_once * size

    def part(n: jax.Array | int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the highest score (B, K, G, L, 1), the sum of weights (the same) and the weighted sum of values of some keys."""
        k_BSKH, v_BSKH = read(jax.lax.dynamic_slice_in_dim(table_BM, n * at_once, at_once, axis=1))
        K = k_BSKH.shape[2]
        far_BLS = positions_BL[:, :, None] - (n * S + jnp.arange(S))
        seen_BLS = (far_BLS >= 0) & (far_BLS < window) if window else far_BLS >= 0
        q_BLKGH = q_BLNH.reshape(B, L, K, N // K, H)
        scores = jnp.einsum("BLKGH,BSKH->BKGLS", q_BLKGH, k_BSKH, preferred_element_type=jnp.float32) * scale
        scores = jnp.where(seen_BLS[:, None, None], scores, MASKED)
        top = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - top)
        mixed = jnp.einsum("BKGLS,BSKH->BKGLH", weights.astype(v_BSKH.dtype), v_BSKH, preferred_element_type=jnp.float32)
        return top, weights.sum(-1, keepdims=True), mixed

    def absorb(n: jax.Array, before: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        more = part(n)
        top = jnp.maximum(before[0], more[0])
        old, new = jnp.exp(before[0] - top), jnp.exp(more[0] - top)
        return top, before[1] * old + more[1] * new, before[2] * old + more[2] * new

    if table_BM.shape[1] == at_once:
        _, total, mixed = part(0)
    else:
        first = jnp.min(jnp.where(positions_BL < 0, jnp.iinfo(jnp.int32).max, positions_BL))
        begin = jnp.maximum(first - window + 1, 0) // S if window else jnp.int32(0)
        kinds = jax.eval_shape(part, 0)
        start = jnp.full(kinds[0].shape, MASKED), jnp.zeros(kinds[1].shape), jnp.zeros(kinds[2].shape)
        _, total, mixed = jax.lax.fori_loop(begin, jnp.max(positions_BL) // S + 1, absorb, start)
    total = jnp.maximum(total, jnp.finfo(jnp.float32).tiny)  # a row of padding alone has none, and NaN in its places would spread
    return jnp.moveaxis(mixed / total, 3, 1).reshape(B, L, N, -1).astype(q_BLNH.dtype)
