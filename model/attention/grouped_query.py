"""Causal attention within segments, with grouped queries, rotary positions and an optional key-value cache. QK-norm, biases and a sliding
window are optional too.

Token i attends to token j if j <= i and both are in the same segment, so packed documents never attend to each other. Attention is
computed block by block (blockwise.py), or by cuDNN's flash attention kernel on NVIDIA GPUs.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from varietas.model.attention.blockwise import MASKED, attend_blockwise, visible
from varietas.model.attention.cache import Cache, Contiguous, Paged, Places, attend_paged, write
from varietas.model.attention.rope import rotate
from varietas.model.config import ModelConfig
from varietas.model.initial import initializers
from varietas.model.linear.product import product
from varietas.model.norm import RMSNorm
from varietas.model.sharding import constrain

CUDNN_LONGEST = 8192  # longest row in tokens; the mask of the cuDNN kernel grows with the square of the length


class Attention(nnx.Module):
    """Grouped-query attention (Ainslie et al., 2023) with rotary position embeddings (Su et al., 2021)."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, N, K, H = cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.head_dim
        init, init_out = initializers(cfg)
        self.query_DNH = nnx.Param(init(rngs.params(), (D, N, H)))
        self.key_DKH = nnx.Param(init(rngs.params(), (D, K, H)))
        self.value_DKH = nnx.Param(init(rngs.params(), (D, K, H)))
        self.out_NHD = nnx.Param(init_out(rngs.params(), (N, H, D)))
        if cfg.qkv_bias:
            self.query_bias_NH = nnx.Param(jnp.zeros((N, H), jnp.float32))
            self.key_bias_KH = nnx.Param(jnp.zeros((K, H), jnp.float32))
            self.value_bias_KH = nnx.Param(jnp.zeros((K, H), jnp.float32))
        self.query_norm = RMSNorm(H, "H", cfg.norm_eps) if cfg.qk_norm else None
        self.key_norm = RMSNorm(H, "H", cfg.norm_eps) if cfg.qk_norm else None
        self.cfg = cfg

    def __call__(
        self,
        x_BLD: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        cache: Cache | None,
        places: Places | None,
    ) -> tuple[jax.Array, Cache | None]:
        """Attends from `x_BLD` to itself, or to the cache if there is one.

        Args:
            x_BLD: Inputs, already normalised.
            segments_BL: Segment of each input token.
            positions_BL: Position of each input token within its segment.
            cache: Keys and values of this layer. Those of the inputs are written to it before attention is computed.
            places: Where rows have their places in the cache; None without a cache.

        Returns:
            The outputs (B, L, D), and the cache with the new keys and values, or None.
        """
        cfg = self.cfg
        q_BLNH = constrain(product("BLD,DNH->BLNH", x_BLD, self.query_DNH[...]), "BLNH")
        k_BLKH = constrain(product("BLD,DKH->BLKH", x_BLD, self.key_DKH[...]), "BLKH")
        v_BLKH = constrain(product("BLD,DKH->BLKH", x_BLD, self.value_DKH[...]), "BLKH")
        if cfg.qkv_bias:
            q_BLNH += self.query_bias_NH[...].astype(q_BLNH.dtype)
            k_BLKH += self.key_bias_KH[...].astype(k_BLKH.dtype)
            v_BLKH += self.value_bias_KH[...].astype(v_BLKH.dtype)
        if self.query_norm is not None and self.key_norm is not None:
            q_BLNH, k_BLKH = self.query_norm(q_BLNH), self.key_norm(k_BLKH)
        q_BLNH = rotate(q_BLNH, positions_BL, cfg)
        k_BLKH = rotate(k_BLKH, positions_BL, cfg)
        if cache is None or places is None:
            mixed_BLNH = attend(q_BLNH, k_BLKH, v_BLKH, segments_BL, segments_BL, cfg.sliding_window, cfg.attention)
            return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), None
        keys, values = cache = (write(cache[0], k_BLKH, places, positions_BL), write(cache[1], v_BLKH, places, positions_BL))
        if isinstance(places, Paged):
            mixed_BLNH = self._over_pages(q_BLNH, cache, places, positions_BL)
        elif isinstance(places.offset, int) and places.offset == 0:
            k_BLKH, v_BLKH, key_segments_BL = (x[:, : x_BLD.shape[1]] for x in (keys, values, places.segments_BS))
            mixed_BLNH = attend(q_BLNH, k_BLKH, v_BLKH, segments_BL, key_segments_BL, cfg.sliding_window, cfg.attention)
        else:
            mixed_BLNH = attend_at(q_BLNH, keys, values, segments_BL, places, cfg.sliding_window)
        return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), cache

    def _over_pages(self, q_BLNH: jax.Array, cache: Cache, paged: Paged, positions_BL: jax.Array) -> jax.Array:
        def read(pages: jax.Array) -> tuple[jax.Array, jax.Array]:
            k_BSKH, v_BSKH = (constrain(x[pages].reshape(len(pages), -1, *x.shape[2:]), "BLKH") for x in cache)
            return k_BSKH, v_BSKH

        scale, window = q_BLNH.shape[-1] ** -0.5, self.cfg.sliding_window
        return attend_paged(q_BLNH, read, cache[0].shape[1], paged, positions_BL, scale, window)


def attend(
    q_BLNH: jax.Array,
    k_BLKH: jax.Array,
    v_BLKH: jax.Array,
    segments_BL: jax.Array,
    key_segments_BL: jax.Array,
    window: int = 0,
    implementation: str = "auto",
) -> jax.Array:
    """Computes softmax(q kᵀ / √H) v within the segments of whole rows.

    Query i attends to key j if j <= i and both are in the same segment. So every query attends at least to itself.

    Args:
        q_BLNH: Queries.
        k_BLKH: Keys.
        v_BLKH: Values.
        segments_BL: Segment of each query.
        key_segments_BL: Segment of each key.
        window: If it is not 0, query i attends to key j only if i - j < window.
        implementation: "blocks", "cudnn", or "auto" for the faster of the two on this device.

    Raises:
        ValueError: If the implementation is unknown.
    """
    if implementation == "auto":
        implementation = "cudnn" if on_nvidia() and suits_cudnn(q_BLNH.dtype, *q_BLNH.shape[1::2]) else "blocks"
    if implementation == "blocks":
        return attend_blockwise(q_BLNH, k_BLKH, v_BLKH, segments_BL, key_segments_BL, window)
    if implementation != "cudnn":
        raise ValueError(f"attention {implementation!r} is not one of auto, blocks, cudnn")
    same_BLL = segments_BL[:, :, None] == key_segments_BL[:, None, :]
    before = (window - 1, 0) if window else None  # keys before and after a query's own place
    return jax.nn.dot_product_attention(
        q_BLNH, k_BLKH, v_BLKH, mask=same_BLL[:, None], is_causal=True, local_window_size=before, implementation="cudnn"
    )


def suits_cudnn(dtype: DTypeLike, length: int, head_dim: int) -> bool:
    """Returns whether cuDNN's kernel supports these queries and its mask stays small enough."""
    return dtype == jnp.bfloat16 and head_dim % 8 == 0 and head_dim <= 128 and length % 2 == 0 and length <= CUDNN_LONGEST


def on_nvidia() -> bool:
    """Returns whether programs run on NVIDIA GPUs that have cuDNN's flash attention kernel, which are those from Ampere on."""
    device = jax.devices()[0]
    return device.platform == "gpu" and "nvidia" in device.device_kind.lower() and float(device.compute_capability) >= 8


def attend_at(
    q_BLNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    segments_BL: jax.Array,
    places: Contiguous,
    window: int = 0,
) -> jax.Array:
    """Computes the same as `attend` for queries of which the first is at `places.offset` of the keys.

    All scores are computed at once, which is fast enough for the few tokens that follow a prompt.
    """
    B, L, N, H = q_BLNH.shape
    S, K = k_BSKH.shape[1:3]
    q_BLKGH = q_BLNH.reshape(B, L, K, N // K, H)
    seen_BLS = visible(places.offset + jnp.arange(L), jnp.arange(S), segments_BL, places.segments_BS, window)
    scores = jnp.einsum("BLKGH,BSKH->BKGLS", q_BLKGH, k_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    weights = jax.nn.softmax(jnp.where(seen_BLS[:, None, None], scores, MASKED), axis=-1).astype(v_BSKH.dtype)
    return jnp.einsum("BKGLS,BSKH->BLKGH", weights, v_BSKH).reshape(B, L, N, H)
