"""Causal attention within segments: grouped queries, rotary positions, optional QK-norm, an optional key-value cache.

Token i sees token j if j <= i and both are of one segment, so packed documents never see each other. On CPU and TPU each
block of queries multiplies only the keys before it and skips the masked half; on NVIDIA GPUs cuDNN's flash kernel is used.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.config import ModelConfig
from varietas.model.norm import RMSNorm
from varietas.model.product import product
from varietas.model.sharding import constrain

N_BLOCKS = 8  # of queries: 1/2 + 1/(2 * N_BLOCKS) of the full product is computed
SMALLEST_BLOCK = 64

Cache = tuple[jax.Array, jax.Array]  # keys, values: each (B, S, K, H); (R, B, S, K, H) for a stack of layers


class Attention(nnx.Module):
    """Grouped-query attention (Ainslie et al., 2023) with rotary positions (Su et al., 2021)."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, N, K, H = cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.head_dim
        init = nnx.initializers.normal(cfg.init_std)
        init_out = nnx.initializers.normal(cfg.init_std / math.sqrt(2 * cfg.n_layers))
        self.query_DNH = nnx.Param(init(rngs.params(), (D, N, H)))
        self.key_DKH = nnx.Param(init(rngs.params(), (D, K, H)))
        self.value_DKH = nnx.Param(init(rngs.params(), (D, K, H)))
        self.out_NHD = nnx.Param(init_out(rngs.params(), (N, H, D)))
        self.query_norm = RMSNorm(H, "H", cfg.norm_eps) if cfg.qk_norm else None
        self.key_norm = RMSNorm(H, "H", cfg.norm_eps) if cfg.qk_norm else None
        self.cfg = cfg

    def __call__(
        self,
        x_BLD: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        cache: Cache | None,
        segments_BS: jax.Array,
        offset: jax.Array | int,
    ) -> tuple[jax.Array, Cache | None]:
        """Attends from x to itself, or, with a cache, to the cache after x has been written to it at `offset`."""
        cfg = self.cfg
        q_BLNH = constrain(product("BLD,DNH->BLNH", x_BLD, self.query_DNH[...]), "BLNH")
        k_BLKH = constrain(product("BLD,DKH->BLKH", x_BLD, self.key_DKH[...]), "BLKH")
        v_BLKH = constrain(product("BLD,DKH->BLKH", x_BLD, self.value_DKH[...]), "BLKH")
        if self.query_norm is not None and self.key_norm is not None:
            q_BLNH, k_BLKH = self.query_norm(q_BLNH), self.key_norm(k_BLKH)
        q_BLNH = rotate(q_BLNH, positions_BL, cfg.rope_theta)
        k_BLKH = rotate(k_BLKH, positions_BL, cfg.rope_theta)
        if cache is not None:
            k_BLKH, v_BLKH = cache = (_write(cache[0], k_BLKH, offset), _write(cache[1], v_BLKH, offset))
        mixed_BLNH = attend(q_BLNH, k_BLKH, v_BLKH, segments_BL, segments_BS, offset, cfg.attention)
        return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), cache


def _write(cache_BSKH: jax.Array, new_BLKH: jax.Array, offset: jax.Array | int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(cache_BSKH, new_BLKH.astype(cache_BSKH.dtype), offset, axis=1)


def rotate(x_BLNH: jax.Array, positions_BL: jax.Array, theta: float) -> jax.Array:
    """Rotary position embedding, halves convention (as Llama's weights on disk have it), angles in float32."""
    half = x_BLNH.shape[-1] // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions_BL[:, :, None, None].astype(jnp.float32) * frequencies
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = x_BLNH[..., :half].astype(jnp.float32), x_BLNH[..., half:].astype(jnp.float32)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x_BLNH.dtype)


def attend(
    q_BLNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    segments_BL: jax.Array,
    segments_BS: jax.Array,
    offset: jax.Array | int = 0,
    implementation: str = "auto",
) -> jax.Array:
    """softmax(q kᵀ / √H) v over the keys that each query may see; query i stands at place `offset + i` of the keys.

    implementation: "blocks", "cudnn", or "auto" for the faster of the two where the program runs. Keys behind the last query
    are left out only where `offset` is a plain int.
    """
    H = q_BLNH.shape[-1]
    whole_rows = isinstance(offset, int) and q_BLNH.shape[1] == k_BSKH.shape[1]
    if implementation == "auto":
        implementation = "cudnn" if q_BLNH.dtype == jnp.bfloat16 and H % 8 == 0 and H <= 128 and on_nvidia() else "blocks"
    if implementation == "cudnn" and whole_rows:
        same_BLS = segments_BL[:, :, None] == segments_BS[:, None, :]
        return jax.nn.dot_product_attention(q_BLNH, k_BSKH, v_BSKH, mask=same_BLS[:, None], is_causal=True, implementation="cudnn")
    return _attend_in_blocks(q_BLNH, k_BSKH, v_BSKH, segments_BL, segments_BS, offset)


def on_nvidia() -> bool:
    """Whether programs run on NVIDIA GPUs, where alone there is cuDNN."""
    return jax.default_backend() == "gpu" and "nvidia" in jax.devices()[0].device_kind.lower()


def _attend_in_blocks(
    q_BLNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BL: jax.Array, segments_BS: jax.Array, offset: jax.Array | int
) -> jax.Array:
    B, L, N, H = q_BLNH.shape
    S, K = k_BSKH.shape[1:3]
    # Heads lead in memory: each head's products are then contiguous, which XLA's CPU backend needs to be fast.
    q_BKGLH = jnp.transpose(q_BLNH.reshape(B, L, K, N // K, H), (0, 2, 3, 1, 4))
    k_BKSH, v_BKSH = jnp.transpose(k_BSKH, (0, 2, 1, 3)), jnp.transpose(v_BSKH, (0, 2, 1, 3))
    from_start = isinstance(offset, int)
    size = max(SMALLEST_BLOCK, -(-L // N_BLOCKS)) if from_start else L
    out = []
    for begin in range(0, L, size):
        end = min(begin + size, L)
        seen = min(offset + end, S) if from_start else S  # keys that some query of this block may see
        place = offset + jnp.arange(begin, end)
        mask_BLS = (place[:, None] >= jnp.arange(seen)) & (segments_BL[:, begin:end, None] == segments_BS[:, None, :seen])
        scores = jnp.einsum("BKGLH,BKSH->BKGLS", q_BKGLH[..., begin:end, :], k_BKSH[:, :, :seen], preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(jnp.where(mask_BLS[:, None, None], scores * H**-0.5, -1e30), axis=-1).astype(v_BKSH.dtype)
        out.append(jnp.einsum("BKGLS,BKSH->BKGLH", weights, v_BKSH[:, :, :seen]))
    mixed = jnp.concatenate(out, axis=3) if len(out) > 1 else out[0]
    return jnp.transpose(mixed, (0, 3, 1, 2, 4)).reshape(B, L, N, H)
