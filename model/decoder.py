"""The decoder: embedding, pre-norm layers of attention and feed-forward, a last norm, an output matrix.

One set of weights per kind of part, stacked over layers (R, …): in training a few layers are written out, more are scanned, so that
compile time does not grow with depth.
Parts are exchanged by handing in another class; parameters are nested dicts of arrays wherever they leave this module.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.attention import Attention, Cache
from varietas.model.config import ModelConfig
from varietas.model.embedding import embed
from varietas.model.feed_forward import SwiGLU
from varietas.model.norm import RMSNorm
from varietas.model.product import PRODUCT
from varietas.model.sharding import constrain, weights_split

Params = dict[str, Any]
WRITTEN_OUT = 12  # layers at the most: to compile a longer stack takes too long; what is recomputed or gathered anew needs a scan

REMAT: dict[str, Callable[..., bool]] = {
    "none": lambda operation, *_, **__: operation.name != "sharding_constraint",  # keep all activations, but no gathered weights
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),  # keep products with weights
    "full": jax.checkpoint_policies.nothing_saveable,  # keep each layer's input
}


class Layer(nnx.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs, feed_forward: Callable[[ModelConfig, nnx.Rngs], nnx.Module]):
        self.attention_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.attention = Attention(cfg, rngs)
        self.feed_forward_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.feed_forward = feed_forward(cfg, rngs)

    def __call__(
        self,
        x_BLD: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        cache: Cache | None,
        segments_BS: jax.Array,
        offset: jax.Array | int,
    ) -> tuple[jax.Array, Cache | None]:
        """`cache`: this layer's keys and values, each (B, S, K, H). See Attention for the rest."""
        mixed_BLD, cache = self.attention(self.attention_norm(x_BLD), segments_BL, positions_BL, cache, segments_BS, offset)
        x_BLD = constrain(x_BLD + mixed_BLD, "BLD")
        return constrain(x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD)), "BLD"), cache


class Decoder(nnx.Module):
    """Tokens to hidden states; `head_DV` turns those into logits."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs, feed_forward: Callable[[ModelConfig, nnx.Rngs], nnx.Module] = SwiGLU):
        init = nnx.initializers.normal(cfg.init_std)
        self.cfg = cfg
        self.embedding_VD = nnx.Param(init(rngs.params(), (cfg.vocab_size, cfg.d_model)))
        stack = nnx.split_rngs(splits=cfg.n_layers)(nnx.vmap(lambda keys: Layer(cfg, keys, feed_forward)))
        self.layers = stack(rngs)
        self.final_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.unembedding_DV = None if cfg.tied_embeddings else nnx.Param(init(rngs.params(), (cfg.d_model, cfg.vocab_size)))

    @property
    def head_DV(self) -> jax.Array:
        """The output matrix, float32."""
        return self.embedding_VD.T if self.unembedding_DV is None else self.unembedding_DV[...]

    def __call__(self, tokens_BL: jax.Array, segments_BL: jax.Array, positions_BL: jax.Array) -> jax.Array:
        """Hidden states (B, L, D) of the compute dtype, normed, for int32 tokens, segments (0: padding) and positions."""
        cfg = self.cfg
        graph, layers = nnx.split(self.layers)

        def body(x_BLD: jax.Array, weights: Any) -> tuple[jax.Array, Cache | None]:
            return nnx.merge(graph, weights)(x_BLD, segments_BL, positions_BL, None, segments_BL, 0)

        x_BLD = constrain(embed(self.embedding_VD[...], tokens_BL, cfg.dtype), "BLD")
        if cfg.n_layers <= WRITTEN_OUT and cfg.remat == "none" and not weights_split():  # XLA's CPU backend runs it a tenth faster
            for weights in unstack(layers, cfg.n_layers):
                x_BLD, _ = body(x_BLD, weights)
        else:
            x_BLD, _ = jax.lax.scan(jax.checkpoint(body, policy=REMAT[cfg.remat], prevent_cse=False), x_BLD, layers)
        return self.final_norm(x_BLD)

    def extend(
        self,
        tokens_BL: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        layers: Sequence[Params],
        cache: Sequence[Cache],
        segments_BS: jax.Array,
        offset: jax.Array | int,
    ) -> tuple[jax.Array, list[Cache]]:
        """Hidden states of tokens that follow `offset` others in the cache of each layer, and the caches with them added.

        `layers`: the weights of each, as `unstack` gives them; the decoder's own are not read. segments_BS says which places of the
        cache may be seen, the new tokens' own included.
        """
        graph, kept = nnx.split(self.layers)[0], list[Any]()
        x_BLD = constrain(embed(self.embedding_VD[...], tokens_BL, self.cfg.dtype), "BLD")
        for weights, of_layer in zip(layers, cache, strict=True):
            layer = nnx.merge(graph, nnx.State(weights))
            x_BLD, written = layer(x_BLD, segments_BL, positions_BL, of_layer, segments_BS, offset)
            kept.append(written)
        return self.final_norm(x_BLD), kept


def stack(layers: list[Any]) -> Any:
    """Trees of arrays as one tree of stacked arrays."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def unstack(stacked: Any, n: int) -> list[Any]:
    """The layers of a tree of stacked arrays. Its gradient is one stack, not the sum of n padded ones."""
    return [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(n)]


unstack.defvjp(
    lambda stacked, n: (unstack(stacked, n), None),
    lambda n, _, d_layers: (stack(d_layers),),
)

Build = Callable[[ModelConfig, nnx.Rngs], Decoder]


@lru_cache(maxsize=8)  # tracing a model takes as long as reading a prompt
def graph_and_shapes(cfg: ModelConfig, build: Build = Decoder) -> tuple[Any, Params]:
    """The static half of a model, and its parameters as ShapeDtypeStructs: nothing is allocated."""
    graph, state = nnx.split(nnx.eval_shape(lambda: build(cfg, nnx.Rngs(0))))
    return graph, nnx.to_pure_dict(state)


def init_params(cfg: ModelConfig, seed: int, build: Build = Decoder) -> Params:
    """Fresh parameters, float32. Call it under jit with out_shardings so that each is born sharded."""
    return nnx.to_pure_dict(nnx.state(build(cfg, nnx.Rngs(seed))))


def bind(graph: Any, params: Params) -> Decoder:
    """The model with these parameters."""
    return nnx.merge(graph, nnx.State(params))


def empty_cache(cfg: ModelConfig, batch: int, length: int) -> list[Cache]:
    """A key-value cache for `length` tokens: of each layer two zero arrays (B, S, K, H) of the compute dtype."""
    shape = (batch, length, cfg.n_kv_heads, cfg.head_dim)
    return [(jnp.zeros(shape, cfg.dtype), jnp.zeros(shape, cfg.dtype)) for _ in range(cfg.n_layers)]
