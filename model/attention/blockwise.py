"""Causal attention within segments, block by block, with a hand-written gradient. Memory grows with the length, not with its square.

A block of queries is multiplied only with the keys before its end, one chunk of keys at a time. Two numbers of each query's softmax are
kept, the highest score and the sum, from which the backward pass recomputes every weight (FlashAttention, Dao et al., 2022, in plain jax).
Both passes use the unnormalised weights exp(score - highest) and divide the weighted sum of the values instead, so that XLA may compute
the weights once for both.
One more dimension letter is used here: M = L * G, all queries that share a key head, so that each key head needs one product.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from varietas.model.chunks import join, split

N_BLOCKS = 8  # blocks of queries; 1/2 + 1/(2 * N_BLOCKS) of the full product is computed
SMALLEST_BLOCK = 64  # queries
KEYS_AT_ONCE = 2048  # keys in a chunk, at most
MASKED = -1e30  # score of a key that a query does not attend to

Arrays = tuple[jax.Array, ...]


class Block(NamedTuple):
    """A block of queries, and the keys that any of them attends to."""

    begin: int  # first query
    end: int  # query after the last, and key after the last
    window: int  # a query attends to this many keys, up to its own place; 0: to all before it

    @property
    def first_key(self) -> int:
        """The first key that the first query attends to."""
        return max(0, self.begin - self.window + 1) if self.window else 0


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend_blockwise(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, segments_BL: jax.Array, key_segments_BL: jax.Array, window: int = 0
) -> jax.Array:
    """Computes softmax(q kᵀ / √H) v, where query i attends to key j if j <= i and both are in the same segment.

    If `window` is not 0, then i - j < window is required too. Keys outside of all windows of a block of queries are not multiplied.

    Returns:
        An array (B, L, N, H) of the dtype of q.
    """
    return _forward(q_BLNH, k_BLKH, v_BLKH, segments_BL, key_segments_BL, window)[0]


def _forward(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, segments_BL: jax.Array, key_segments_BL: jax.Array, window: int
) -> tuple[jax.Array, Arrays]:
    """Returns the result, and what the backward pass needs."""
    L, G = q_BLNH.shape[1], q_BLNH.shape[2] // k_BLKH.shape[2]
    q_BKMH, keys = _by_key_head(q_BLNH, G), (k_BLKH.swapaxes(1, 2), v_BLKH.swapaxes(1, 2), key_segments_BL)
    parts = [_mix(q_BKMH[:, :, b.begin * G : b.end * G], segments_BL[:, b.begin : b.end], b, keys) for b in blocks(L, window)]
    mixed_BKMH, top_BKM1, total_BKM1 = (jnp.concatenate(of_blocks, axis=2) for of_blocks in zip(*parts, strict=True))
    mixed_BKMH = mixed_BKMH.astype(q_BLNH.dtype)
    return _by_query_head(mixed_BKMH, G), (q_BKMH, segments_BL, *keys, mixed_BKMH, top_BKM1, total_BKM1)


def _mix(q_BKMH: jax.Array, segments_BL: jax.Array, block: Block, keys: Arrays) -> Arrays:
    """Attends from one block of queries to its keys.

    Returns the weighted means of the values (B, K, M, H), the highest score and the sum of the weights of each query (B, K, M, 1); float32.
    """

    def absorb(before: Arrays | None, chunk: Arrays) -> tuple[Arrays, None]:
        k, v, segments, places = chunk
        scores = _scores(q_BKMH, k, segments_BL, segments, block, places)
        top = scores.max(-1, keepdims=True)
        if before is not None:
            top = jnp.maximum(top, before[0])
        weights = _rounded(jnp.exp(scores - top), v.dtype)
        total, mixed = (
            weights.sum(-1, keepdims=True),
            jnp.einsum("BKMS,BKSH->BKMH", weights.astype(v.dtype), v, preferred_element_type=jnp.float32),
        )
        if before is not None:
            shrink = jnp.exp(before[0] - top)
            total, mixed = total + before[1] * shrink, mixed + before[2] * shrink
        return (top, total, mixed), None

    nothing = jnp.zeros((*q_BKMH.shape[:3], 1), jnp.float32)
    start = nothing + MASKED, nothing, jnp.zeros(q_BKMH.shape, jnp.float32)
    (top, total, mixed), _ = _over_keys(absorb, start, block, keys)
    return mixed / total, top, total


def _backward(window: int, saved: Arrays, d_BLNH: jax.Array) -> tuple[jax.Array | None, ...]:
    """Returns the gradients of q, k and v, and None for the segments."""
    q_BKMH, segments_BL, *keys, mixed_BKMH, top_BKM1, total_BKM1 = saved
    k_BKLH, v_BKLH = keys[:2]
    L, G = k_BKLH.shape[2], q_BKMH.shape[2] // k_BKLH.shape[2]
    d_BKMH = _by_key_head(d_BLNH, G).astype(jnp.float32) / total_BKM1
    d_BKMH = _rounded(d_BKMH, d_BLNH.dtype).astype(d_BLNH.dtype)
    inner_BKM1 = jnp.sum(d_BKMH.astype(jnp.float32) * mixed_BKMH.astype(jnp.float32), -1, keepdims=True)
    d_q, zeros_BKHL = [], jnp.zeros(k_BKLH.swapaxes(2, 3).shape, jnp.float32)
    d_k_BKHL, d_v_BKHL = zeros_BKHL, zeros_BKHL
    for b in blocks(L, window):
        q, d, inner, top = (x[:, :, b.begin * G : b.end * G] for x in (q_BKMH, d_BKMH, inner_BKM1, top_BKM1))
        d_q_BKMH, (d_k, d_v) = _gradients(q, d, inner, top, segments_BL[:, b.begin : b.end], b, tuple(keys))
        d_q.append(d_q_BKMH)
        seen = slice(b.first_key, b.end)
        d_k_BKHL, d_v_BKHL = d_k_BKHL.at[..., seen].add(d_k), d_v_BKHL.at[..., seen].add(d_v)
    d_q_BLNH = _by_query_head(jnp.concatenate(d_q, axis=2).astype(q_BKMH.dtype), G)
    d_k_BLKH, d_v_BLKH = jnp.moveaxis(d_k_BKHL, 3, 1), jnp.moveaxis(d_v_BKHL, 3, 1)
    return d_q_BLNH, d_k_BLKH.astype(k_BKLH.dtype), d_v_BLKH.astype(v_BKLH.dtype), None, None


def _gradients(
    q_BKMH: jax.Array,
    d_BKMH: jax.Array,
    inner_BKM1: jax.Array,
    top_BKM1: jax.Array,
    segments_BL: jax.Array,
    block: Block,
    keys: Arrays,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns the gradient of one block of queries (B, K, M, H), and what the block adds to the gradients of its keys and values
    (B, K, H, S); all float32.

    `d_BKMH` is the gradient of the block's result divided by the sum of the weights; `inner_BKM1` is its dot product with that result.
    """

    def step(before: jax.Array | None, chunk: Arrays) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        k, v, segments, places = chunk
        weights = _rounded(jnp.exp(_scores(q_BKMH, k, segments_BL, segments, block, places) - top_BKM1), v.dtype)
        d_weights = jnp.einsum("BKMH,BKSH->BKMS", d_BKMH, v, preferred_element_type=jnp.float32)
        d_scores = (weights * (d_weights - inner_BKM1) * q_BKMH.shape[-1] ** -0.5).astype(k.dtype)
        d_q_BKMH = jnp.einsum("BKMS,BKSH->BKMH", d_scores, k, preferred_element_type=jnp.float32)
        # With HS instead of SH, XLA's CPU backend takes half the time.
        d_k_BKHS = jnp.einsum("BKMH,BKMS->BKHS", q_BKMH, d_scores, preferred_element_type=jnp.float32)
        d_v_BKHS = jnp.einsum("BKMH,BKMS->BKHS", d_BKMH, weights.astype(v.dtype), preferred_element_type=jnp.float32)
        return d_q_BKMH if before is None else before + d_q_BKMH, (d_k_BKHS, d_v_BKHS)

    return _over_keys(step, jnp.zeros(q_BKMH.shape, jnp.float32), block, keys)


attend_blockwise.defvjp(_forward, _backward)


def _rounded(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Rounds x to `dtype` and returns it in its own dtype.

    Sums then use the same numbers as products in `dtype`, and the gradients of a query's scores add up to zero. XLA removes a cast to
    another dtype and back unless there is a barrier between the two. Its compiler for TPU v6e crashed on jax.lax.reduce_precision.
    """
    return x if x.dtype == dtype else jax.lax.optimization_barrier(x.astype(dtype)).astype(x.dtype)


def blocks(length: int, window: int = 0) -> Iterator[Block]:
    """Yields the blocks of a row of `length` queries."""
    size = max(SMALLEST_BLOCK, math.ceil(length / N_BLOCKS))
    for begin in range(0, length, size):
        yield Block(begin, min(begin + size, length), window)


def _scores(
    q_BKMH: jax.Array, k_BKSH: jax.Array, segments_BL: jax.Array, key_segments_BS: jax.Array, block: Block, places_S: jax.Array
) -> jax.Array:
    """Returns the scaled scores (B, K, M, S), float32, of a block of queries; MASKED where there is no attention."""
    L, H = segments_BL.shape[1], q_BKMH.shape[-1]
    seen_BLS = visible(block.begin + jnp.arange(L), places_S, segments_BL, key_segments_BS, block.window)
    scores = jnp.einsum("BKMH,BKSH->BKMS", q_BKMH, k_BKSH, preferred_element_type=jnp.float32)
    B, K, M, S = scores.shape
    return jnp.where(seen_BLS[:, None, :, None], scores.reshape(B, K, L, M // L, S) * H**-0.5, MASKED).reshape(scores.shape)


def visible(places_L: jax.Array, key_places_S: jax.Array, segments_BL: jax.Array, key_segments_BS: jax.Array, window: int = 0) -> jax.Array:
    """Returns whether a query at each place attends to the key at each place, by their distance and their segments: bool (B, L, S)."""
    causal = places_L[:, None] >= key_places_S
    near = causal & (places_L[:, None] - key_places_S < window) if window else causal
    return near & (segments_BL[:, :, None] == key_segments_BS[:, None, :])


def _over_keys(step: Any, carry: Any, block: Block, keys: Arrays) -> tuple[Any, Any]:
    """Runs jax.lax.scan of `step` over chunks of a block's keys, and joins the outputs along the keys.

    A chunk holds keys, values, segments and places. If one chunk is enough, `step` is called once, with None instead of a carry.
    """
    first, end = block.first_key, block.end
    k_BKSH, v_BKSH, segments_BS = keys[0][:, :, first:end], keys[1][:, :, first:end], keys[2][:, first:end]
    n = math.ceil((end - first) / KEYS_AT_ONCE)
    if n == 1:
        return step(None, (k_BKSH, v_BKSH, segments_BS, jnp.arange(first, end)))
    size = math.ceil((end - first) / n)
    places = jnp.arange(first, first + n * size).reshape(n, size)  # the padding gets places after all queries
    # The barrier ties the masks to the keys, which differ between layers. Otherwise jax would compute the masks of all chunks before the
    # first layer, and keep them.
    k_BKSH, segments_BS, places = jax.lax.optimization_barrier((k_BKSH, segments_BS, places))
    carry, out = jax.lax.scan(step, carry, (split(k_BKSH, size, 2), split(v_BKSH, size, 2), split(segments_BS, size, 1), places))
    return carry, jax.tree.map(lambda x: join(x, end - first, axis=3), out)


def _by_key_head(x_BLNH: jax.Array, group: int) -> jax.Array:
    """(B, L, N, H) -> (B, K, M, H). XLA's CPU backend is fast only if heads come first in memory."""
    B, L, N, H = x_BLNH.shape
    return x_BLNH.reshape(B, L, N // group, group, H).transpose(0, 2, 1, 3, 4).reshape(B, N // group, L * group, H)


def _by_query_head(x_BKMH: jax.Array, group: int) -> jax.Array:
    """(B, K, M, H) -> (B, L, N, H)."""
    B, K, M, H = x_BKMH.shape
    return x_BKMH.reshape(B, K, M // group, group, H).transpose(0, 2, 1, 3, 4).reshape(B, M // group, K * group, H)
