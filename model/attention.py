"""Causal attention within segments: grouped queries, rotary positions, optional QK-norm, an optional key-value cache.

Token i sees token j if j <= i and both are of one segment, so packed documents never see each other. Computed block by block
(blockwise.py), or by cuDNN's flash kernel on NVIDIA GPUs.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from varietas.model.blockwise import MASKED, attend_blockwise
from varietas.model.config import ModelConfig
from varietas.model.norm import RMSNorm
from varietas.model.product import product
from varietas.model.sharding import constrain

CUDNN_LONGEST = 8192  # tokens of a row; its mask grows with their square

Cache = tuple[jax.Array, jax.Array]  # keys, values of a layer: each (B, S, K, H)


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
        k_BSKH, v_BSKH = k_BLKH, v_BLKH
        if cache is not None:
            k_BSKH, v_BSKH = cache = (_write(cache[0], k_BLKH, offset), _write(cache[1], v_BLKH, offset))
        mixed_BLNH = attend(q_BLNH, k_BSKH, v_BSKH, segments_BL, segments_BS, offset, cfg.attention)
        return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), cache


def _write(cache_BSKH: jax.Array, new_BLKH: jax.Array, offset: jax.Array | int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(cache_BSKH, new_BLKH.astype(cache_BSKH.dtype), offset, axis=1)


def rotate(x_BLNH: jax.Array, positions_BL: jax.Array, theta: float) -> jax.Array:
    """Rotary position embedding, halves convention (as Llama's weights on disk have it), angles in float32."""
    half = x_BLNH.shape[-1] // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions_BL[:, :, None, None].astype(jnp.float32) * frequencies
    return _turn(x_BLNH, jnp.sin(angle), jnp.cos(angle))


@jax.custom_vjp
def _turn(x_BLNH: jax.Array, sin: jax.Array, cos: jax.Array) -> jax.Array:
    first, second = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x_BLNH.dtype)


# The gradient is turned back: automatic differentiation would pad each half with zeros and add.
_turn.defvjp(lambda x, sin, cos: (_turn(x, sin, cos), (sin, cos)), lambda saved, d: (_turn(d, -saved[0], saved[1]), None, None))


def attend(
    q_BLNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    segments_BL: jax.Array,
    segments_BS: jax.Array,
    offset: jax.Array | int = 0,
    implementation: str = "auto",
) -> jax.Array:
    """softmax(q kᵀ / √H) v over the keys that each query may see, itself at least; query i stands at place `offset + i` of the keys.

    implementation: "blocks", "cudnn", or "auto" for the faster of the two where the program runs. Both need an `offset` of 0, a
    plain int; at another, all scores are computed at once, which suits the few tokens that follow a prompt. Raises ValueError for
    another implementation.
    """
    L, H = q_BLNH.shape[1], q_BLNH.shape[-1]
    if not (isinstance(offset, int) and offset == 0):
        return _attend_at(q_BLNH, k_BSKH, v_BSKH, segments_BL, segments_BS, offset)
    k_BLKH, v_BLKH, key_segments_BL = k_BSKH[:, :L], v_BSKH[:, :L], segments_BS[:, :L]
    if implementation == "auto":
        implementation = "cudnn" if on_nvidia() and suits_cudnn(q_BLNH.dtype, L, H) else "blocks"
    if implementation == "blocks":
        return attend_blockwise(q_BLNH, k_BLKH, v_BLKH, segments_BL, key_segments_BL)
    if implementation != "cudnn":
        raise ValueError(f"attention {implementation!r} is none of auto, blocks, cudnn")
    same_BLL = segments_BL[:, :, None] == key_segments_BL[:, None, :]
    return jax.nn.dot_product_attention(q_BLNH, k_BLKH, v_BLKH, mask=same_BLL[:, None], is_causal=True, implementation="cudnn")


def suits_cudnn(dtype: DTypeLike, length: int, head_dim: int) -> bool:
    """Whether cuDNN's kernel takes such queries, and its mask is not too large."""
    return dtype == jnp.bfloat16 and head_dim % 8 == 0 and head_dim <= 128 and length % 2 == 0 and length <= CUDNN_LONGEST


def on_nvidia() -> bool:
    """Whether programs run on NVIDIA GPUs from Ampere on, where alone there is cuDNN's flash kernel."""
    device = jax.devices()[0]
    return device.platform == "gpu" and "nvidia" in device.device_kind.lower() and float(device.compute_capability) >= 8


def _attend_at(
    q_BLNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BL: jax.Array, segments_BS: jax.Array, offset: jax.Array | int
) -> jax.Array:
    B, L, N, H = q_BLNH.shape
    S, K = k_BSKH.shape[1:3]
    q_BLKGH = q_BLNH.reshape(B, L, K, N // K, H)
    seen_BLS = (offset + jnp.arange(L)[:, None] >= jnp.arange(S)) & (segments_BL[:, :, None] == segments_BS[:, None, :])
    scores = jnp.einsum("BLKGH,BSKH->BKGLS", q_BLKGH, k_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    weights = jax.nn.softmax(jnp.where(seen_BLS[:, None, None], scores, MASKED), axis=-1).astype(v_BSKH.dtype)
    return jnp.einsum("BKGLS,BSKH->BLKGH", weights, v_BSKH).reshape(B, L, N, H)
