"""Multi-head latent attention (DeepSeek-AI, 2024): keys and values are made from one narrow vector for each token, and only that is cached.

A head has a part without positions (H = `d_head`), and a part of width `d_rope` that is rotated; the rotated keys are the same in all
heads. Values have the width `d_value`. Over whole rows keys and values are written out. In generation the matrices that would make them are
applied to the queries and to the result instead, so that attention works on the narrow vectors.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.attention.blockwise import MASKED, visible
from varietas.model.attention.cache import Cache, Contiguous, Paged, Places, attend_paged, write
from varietas.model.attention.grouped_query import attend
from varietas.model.attention.rope import rotate
from varietas.model.config import ModelConfig
from varietas.model.initial import initializers
from varietas.model.linear.lora import whole
from varietas.model.linear.product import product
from varietas.model.norm import RMSNorm
from varietas.model.sharding import constrain

LATENT_EPS = 1e-6  # added to the mean square of the narrow vectors, as in transformers, whatever `norm_eps` is


class LatentAttention(nnx.Module):
    """Attention whose cache holds for each token a vector of the width `kv_rank` and one rotated key."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, N, H, R, C = cfg.d_model, cfg.n_heads, cfg.head_dim, cfg.d_rope, cfg.kv_rank
        init, init_out = initializers(cfg)
        if cfg.q_rank:
            self.query_down_DQ = nnx.Param(init(rngs.params(), (D, cfg.q_rank)))
            self.query_norm = RMSNorm(cfg.q_rank, "Q", LATENT_EPS)
            self.query_up_ZNH = nnx.Param(init(rngs.params(), (cfg.q_rank, N, cfg.key_dim)))
        else:
            self.query_DNH = nnx.Param(init(rngs.params(), (D, N, cfg.key_dim)))
        self.latent_down_DQ = nnx.Param(init(rngs.params(), (D, C + R)))
        self.latent_norm = RMSNorm(C, "Q", LATENT_EPS)
        self.latent_up_ZNH = nnx.Param(init(rngs.params(), (C, N, H + cfg.d_value)))
        self.out_NHD = nnx.Param(init_out(rngs.params(), (N, cfg.d_value, D)))
        self.cfg = cfg

    def __call__(
        self,
        x_BLD: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        cache: Cache | None,
        places: Places | None,
    ) -> tuple[jax.Array, Cache | None]:
        """Attends like `Attention`. The cache holds the narrow vectors (B, S, C) and the rotated keys (B, S, R)."""
        cfg = self.cfg
        if cfg.q_rank:
            narrow_BLQ = self.query_norm(product("BLD,DQ->BLQ", x_BLD, self.query_down_DQ[...]))
            q_BLNH = product("BLZ,ZNH->BLNH", narrow_BLQ, self.query_up_ZNH[...])
        else:
            q_BLNH = product("BLD,DNH->BLNH", x_BLD, self.query_DNH[...])
        plain, turned = jnp.split(constrain(q_BLNH, "BLNH"), [cfg.head_dim], axis=-1)
        q_BLNH = jnp.concatenate([plain, rotate(turned, positions_BL, cfg)], -1) * cfg.rope_score_factor
        latent_BLC, key_BLR = jnp.split(product("BLD,DQ->BLQ", x_BLD, self.latent_down_DQ[...]), [cfg.kv_rank], axis=-1)
        latent_BLC = self.latent_norm(latent_BLC)
        key_BLR = rotate(key_BLR[:, :, None], positions_BL, cfg)[:, :, 0]
        if cache is None or places is None:
            mixed_BLNH = self._over_rows(q_BLNH, latent_BLC, key_BLR, segments_BL, segments_BL)
            return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), None
        cache = (write(cache[0], latent_BLC, places, positions_BL), write(cache[1], key_BLR, places, positions_BL))
        if isinstance(places, Paged):
            mixed_BLNH = self._over_pages(q_BLNH, cache, places, positions_BL)
        elif isinstance(places.offset, int) and places.offset == 0:
            mixed_BLNH = self._over_rows(q_BLNH, latent_BLC, key_BLR, segments_BL, places.segments_BS[:, : x_BLD.shape[1]])
        else:
            mixed_BLNH = self._over_cache(q_BLNH, cache, segments_BL, places)
        return product("BLNH,NHD->BLD", mixed_BLNH, self.out_NHD[...]), cache

    def _over_rows(
        self, q_BLNH: jax.Array, latent_BLC: jax.Array, key_BLR: jax.Array, segments_BL: jax.Array, key_segments_BL: jax.Array
    ) -> jax.Array:
        """Attends with keys and values written out. Values are padded to the width of keys."""
        cfg = self.cfg
        both_BLNH = constrain(product("BLZ,ZNH->BLNH", latent_BLC, self.latent_up_ZNH[...]), "BLNH")
        plain, v_BLNH = jnp.split(both_BLNH, [cfg.head_dim], axis=-1)
        k_BLNH = jnp.concatenate([plain, jnp.broadcast_to(key_BLR[:, :, None], (*plain.shape[:3], cfg.d_rope))], -1)
        wide = max(k_BLNH.shape[-1], cfg.d_value)
        q_BLNH, k_BLNH, v_BLNH = (jnp.pad(x, [(0, 0)] * 3 + [(0, wide - x.shape[-1])]) for x in (q_BLNH, k_BLNH, v_BLNH))
        q_BLNH *= math.sqrt(wide / cfg.key_dim)  # `attend` divides scores by the root of the padded width
        return attend(q_BLNH, k_BLNH, v_BLNH, segments_BL, key_segments_BL, 0, cfg.attention)[..., : cfg.d_value]

    def _over_cache(self, q_BLNH: jax.Array, cache: Cache, segments_BL: jax.Array, places: Contiguous) -> jax.Array:
        """Attends to the narrow vectors of the cache themselves."""
        latent_BSC, key_BSR = cache
        q_BLNC, turned, up_value_CNH = self._narrow(q_BLNH)
        scores = jnp.einsum("BLNC,BSC->BNLS", q_BLNC, latent_BSC, preferred_element_type=jnp.float32)
        scores += jnp.einsum("BLNR,BSR->BNLS", turned, key_BSR, preferred_element_type=jnp.float32)
        at = places.offset + jnp.arange(q_BLNH.shape[1])
        seen_BLS = visible(at, jnp.arange(latent_BSC.shape[1]), segments_BL, places.segments_BS)
        scores = jnp.where(seen_BLS[:, None], scores * q_BLNH.shape[-1] ** -0.5, MASKED)
        weights = jax.nn.softmax(scores, axis=-1).astype(latent_BSC.dtype)
        return jnp.einsum("BNLS,BSC,CNH->BLNH", weights, latent_BSC, up_value_CNH)

    def _over_pages(self, q_BLNH: jax.Array, cache: Cache, paged: Paged, positions_BL: jax.Array) -> jax.Array:
        """Attends to the narrow vectors of pages: for all heads, the key is a narrow vector and a rotated key, and the value the former."""
        q_BLNC, turned, up_value_CNH = self._narrow(q_BLNH)

        def read(pages: jax.Array) -> tuple[jax.Array, jax.Array]:
            latent_BSC, key_BSR = (constrain(x[pages].reshape(len(pages), -1, x.shape[2]), "BLQ") for x in cache)
            return jnp.concatenate([latent_BSC, key_BSR], -1)[:, :, None], latent_BSC[:, :, None]

        both, scale = jnp.concatenate([q_BLNC, turned], -1), q_BLNH.shape[-1] ** -0.5
        mixed_BLNC = attend_paged(both, read, cache[0].shape[1], paged, positions_BL, scale)
        return jnp.einsum("BLNC,CNH->BLNH", mixed_BLNC, up_value_CNH)

    def _narrow(self, q_BLNH: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns queries of narrow vectors (B, L, N, C) and of rotated keys (B, L, N, R), and what makes values of narrow vectors."""
        up_CNH = whole(self.latent_up_ZNH[...]).astype(q_BLNH.dtype)
        plain, turned = jnp.split(q_BLNH, [self.cfg.head_dim], axis=-1)
        return jnp.einsum("BLNH,CNH->BLNC", plain, up_CNH[..., : self.cfg.head_dim]), turned, up_CNH[..., self.cfg.head_dim :]
