"""Causal attention within segments, block by block, with the gradient written out: memory grows with the length, not its square.

A block of queries multiplies only the keys before its end, a chunk at a time, and keeps two numbers a query of its softmax: the highest
score and the sum, from which the backward pass has every weight again (FlashAttention: Dao et al., 2022, in plain jax). Weights stay
undivided, exp(score - highest), in both directions, and what they mix is divided: so XLA may compute them once for both.
Letters besides ours: M = L * G, the queries that share a key head, in one dimension, so that each key head is one product.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from varietas.model.chunks import join, split

N_BLOCKS = 8  # of queries: 1/2 + 1/(2 * N_BLOCKS) of the full product is computed
SMALLEST_BLOCK = 64
KEYS_AT_ONCE = 2048
MASKED = -1e30

Arrays = tuple[jax.Array, ...]


@jax.custom_vjp
def attend_blockwise(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, segments_BL: jax.Array, key_segments_BL: jax.Array
) -> jax.Array:
    """softmax(q kᵀ / √H) v, where query i sees key j if j <= i and both are of one segment; (B, L, N, H) of the dtype of q."""
    return _forward(q_BLNH, k_BLKH, v_BLKH, segments_BL, key_segments_BL)[0]


def _forward(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, segments_BL: jax.Array, key_segments_BL: jax.Array
) -> tuple[jax.Array, Arrays]:
    L, G = q_BLNH.shape[1], q_BLNH.shape[2] // k_BLKH.shape[2]
    q_BKMH, keys = _by_key_head(q_BLNH, G), (k_BLKH.swapaxes(1, 2), v_BLKH.swapaxes(1, 2), key_segments_BL)
    parts = [_mix(q_BKMH[:, :, begin * G : end * G], segments_BL[:, begin:end], begin, keys) for begin, end in blocks(L)]
    mixed_BKMH, top_BKM1, total_BKM1 = (jnp.concatenate(of_blocks, axis=2) for of_blocks in zip(*parts, strict=True))
    mixed_BKMH = mixed_BKMH.astype(q_BLNH.dtype)
    return _by_query_head(mixed_BKMH, G), (q_BKMH, segments_BL, *keys, mixed_BKMH, top_BKM1, total_BKM1)


def _mix(q_BKMH: jax.Array, segments_BL: jax.Array, begin: int, keys: Arrays) -> Arrays:
    """What a block of queries mixes from the values (B, K, M, H), its highest scores and its sums of weights (B, K, M, 1); float32."""

    def absorb(before: Arrays | None, chunk: Arrays) -> tuple[Arrays, None]:
        k, v, segments, places = chunk
        scores = _scores(q_BKMH, k, segments_BL, segments, begin, places)
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
    (top, total, mixed), _ = _over_keys(absorb, start, begin + segments_BL.shape[1], keys)
    return mixed / total, top, total


def _backward(saved: Arrays, d_BLNH: jax.Array) -> tuple[jax.Array | None, ...]:
    q_BKMH, segments_BL, *keys, mixed_BKMH, top_BKM1, total_BKM1 = saved
    k_BKLH, v_BKLH = keys[:2]
    L, G = k_BKLH.shape[2], q_BKMH.shape[2] // k_BKLH.shape[2]
    d_BKMH = _by_key_head(d_BLNH, G).astype(jnp.float32) / total_BKM1
    d_BKMH = _rounded(d_BKMH, d_BLNH.dtype).astype(d_BLNH.dtype)
    inner_BKM1 = jnp.sum(d_BKMH.astype(jnp.float32) * mixed_BKMH.astype(jnp.float32), -1, keepdims=True)
    d_q, zeros_BKHL = [], jnp.zeros(k_BKLH.swapaxes(2, 3).shape, jnp.float32)
    d_k_BKHL, d_v_BKHL = zeros_BKHL, zeros_BKHL
    for begin, end in blocks(L):
        q, d, inner, top = (x[:, :, begin * G : end * G] for x in (q_BKMH, d_BKMH, inner_BKM1, top_BKM1))
        d_q_BKMH, (d_k, d_v) = _gradients(q, d, inner, top, segments_BL[:, begin:end], begin, tuple(keys))
        d_q.append(d_q_BKMH)
        d_k_BKHL, d_v_BKHL = d_k_BKHL.at[..., :end].add(d_k), d_v_BKHL.at[..., :end].add(d_v)
    d_q_BLNH = _by_query_head(jnp.concatenate(d_q, axis=2).astype(q_BKMH.dtype), G)
    d_k_BLKH, d_v_BLKH = jnp.moveaxis(d_k_BKHL, 3, 1), jnp.moveaxis(d_v_BKHL, 3, 1)
    return d_q_BLNH, d_k_BLKH.astype(k_BKLH.dtype), d_v_BLKH.astype(v_BKLH.dtype), None, None


def _gradients(
    q_BKMH: jax.Array,
    d_BKMH: jax.Array,
    inner_BKM1: jax.Array,
    top_BKM1: jax.Array,
    segments_BL: jax.Array,
    begin: int,
    keys: Arrays,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Of a block of queries (B, K, M, H), and its part in those of the keys and values before its end (B, K, H, S); float32.
    `d` is divided by the sum of weights; `inner` is d · what was mixed.
    """

    def step(before: jax.Array | None, chunk: Arrays) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        k, v, segments, places = chunk
        weights = _rounded(jnp.exp(_scores(q_BKMH, k, segments_BL, segments, begin, places) - top_BKM1), v.dtype)
        d_weights = jnp.einsum("BKMH,BKSH->BKMS", d_BKMH, v, preferred_element_type=jnp.float32)
        d_scores = (weights * (d_weights - inner_BKM1) * q_BKMH.shape[-1] ** -0.5).astype(k.dtype)
        d_q_BKMH = jnp.einsum("BKMS,BKSH->BKMH", d_scores, k, preferred_element_type=jnp.float32)
        # HS and not SH: XLA's CPU backend takes half the time.
        d_k_BKHS = jnp.einsum("BKMH,BKMS->BKHS", q_BKMH, d_scores, preferred_element_type=jnp.float32)
        d_v_BKHS = jnp.einsum("BKMH,BKMS->BKHS", d_BKMH, weights.astype(v.dtype), preferred_element_type=jnp.float32)
        return d_q_BKMH if before is None else before + d_q_BKMH, (d_k_BKHS, d_v_BKHS)

    return _over_keys(step, jnp.zeros(q_BKMH.shape, jnp.float32), begin + segments_BL.shape[1], keys)


attend_blockwise.defvjp(_forward, _backward)


def _rounded(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """As products in `dtype` see it, so that sums beside them agree and gradients of scores add up to zero for each query.

    Of a cast there and back, XLA leaves both out, unless a barrier stands between; on jax.lax.reduce_precision its v6e compiler crashed.
    """
    return x if x.dtype == dtype else jax.lax.optimization_barrier(x.astype(dtype)).astype(x.dtype)


def blocks(length: int) -> Iterator[tuple[int, int]]:
    """First and last query (exclusive) of each block."""
    size = max(SMALLEST_BLOCK, math.ceil(length / N_BLOCKS))
    for begin in range(0, length, size):
        yield begin, min(begin + size, length)


def _scores(
    q_BKMH: jax.Array, k_BKSH: jax.Array, segments_BL: jax.Array, key_segments_BS: jax.Array, begin: int, places_S: jax.Array
) -> jax.Array:
    """Scaled scores (B, K, M, S), float32, of a block of queries that begins at `begin`, with MASKED where a key is not seen."""
    L, H = segments_BL.shape[1], q_BKMH.shape[-1]
    seen_BLS = (begin + jnp.arange(L)[:, None] >= places_S) & (segments_BL[:, :, None] == key_segments_BS[:, None, :])
    scores = jnp.einsum("BKMH,BKSH->BKMS", q_BKMH, k_BKSH, preferred_element_type=jnp.float32)
    B, K, M, S = scores.shape
    return jnp.where(seen_BLS[:, None, :, None], scores.reshape(B, K, L, M // L, S) * H**-0.5, MASKED).reshape(scores.shape)


def _over_keys(step: Any, carry: Any, end: int, keys: Arrays) -> tuple[Any, Any]:
    """jax.lax.scan of `step` over chunks of the keys before `end`: keys, values, segments, places. Outputs are joined along the keys.

    Where one chunk is enough there is nothing to carry: `step` gets None.
    """
    k_BKSH, v_BKSH, segments_BS = keys[0][:, :, :end], keys[1][:, :, :end], keys[2][:, :end]
    n = math.ceil(end / KEYS_AT_ONCE)
    if n == 1:
        return step(None, (k_BKSH, v_BKSH, segments_BS, jnp.arange(end)))
    size = math.ceil(end / n)
    places = jnp.arange(n * size).reshape(n, size)  # so that what was padded lies behind all queries
    # Tied to the keys, which change from layer to layer: jax would else compute the masks of all chunks before the layers, and keep them.
    k_BKSH, segments_BS, places = jax.lax.optimization_barrier((k_BKSH, segments_BS, places))
    carry, out = jax.lax.scan(step, carry, (split(k_BKSH, size, 2), split(v_BKSH, size, 2), split(segments_BS, size, 1), places))
    return carry, jax.tree.map(lambda x: join(x, end, axis=3), out)


def _by_key_head(x_BLNH: jax.Array, group: int) -> jax.Array:
    """(B, L, N, H) -> (B, K, M, H). Heads lead in memory: XLA's CPU backend needs that to be fast."""
    B, L, N, H = x_BLNH.shape
    return x_BLNH.reshape(B, L, N // group, group, H).transpose(0, 2, 1, 3, 4).reshape(B, N // group, L * group, H)


def _by_query_head(x_BKMH: jax.Array, group: int) -> jax.Array:
    """(B, K, M, H) -> (B, L, N, H)."""
    B, K, M, H = x_BKMH.shape
    return x_BKMH.reshape(B, K, M // group, group, H).transpose(0, 2, 1, 3, 4).reshape(B, M // group, K * group, H)
