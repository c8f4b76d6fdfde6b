"""The decoder: an embedding, pre-norm layers of attention and feed-forward, a final norm and an output matrix.

Each parameter of a layer is stacked over all layers (R, …). Where the first layers are dense and the others have experts, there is a stack
of each. In training, a stack of few layers is unrolled and a deeper one is scanned, so that compile time does not grow with depth. A part
is replaced by passing another class. Outside of this module parameters are nested dicts of arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.attention.cache import Cache, Places
from varietas.model.attention.grouped_query import Attention
from varietas.model.attention.latent import LatentAttention
from varietas.model.config import ModelConfig
from varietas.model.embedding import embed
from varietas.model.feed_forward import XIELU, SwiGLU
from varietas.model.linear.lora import adapter_shapes, fresh_adapters
from varietas.model.linear.product import PRODUCT
from varietas.model.moe.experts import Experts
from varietas.model.moe.routing import Routed, routing
from varietas.model.norm import RMSNorm
from varietas.model.sharding import STACKS, constrain, weights_split

T = TypeVar("T")
Params = dict[str, Any]
FeedForward = Callable[[ModelConfig, nnx.Rngs], nnx.Module]
FEED_FORWARD: dict[str, FeedForward] = {"swiglu": SwiGLU, "xielu": XIELU, "experts": Experts}  # by `model.feed_forward`
WRITTEN_OUT = 12  # the most layers that are unrolled: a deeper stack compiles too slowly. Recomputing or gathering per layer needs a scan

REMAT: dict[str, Callable[..., bool]] = {
    "none": lambda operation, *_, **__: operation.name != "sharding_constraint",  # keep all activations, but not the gathered weights
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),  # keep the products with weights
    "full": jax.checkpoint_policies.nothing_saveable,  # keep only the input of each layer
}


class Layer(nnx.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs, feed_forward: FeedForward):
        self.attention_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.attention = (LatentAttention if cfg.kv_rank else Attention)(cfg, rngs)
        self.feed_forward_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.feed_forward = feed_forward(cfg, rngs)

    def __call__(
        self,
        x_BLD: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        cache: Cache | None,
        places: Places | None,
    ) -> tuple[jax.Array, Cache | None]:
        """Returns the output (B, L, D) and the updated cache. The arguments are those of `Attention`; `x_BLD` is not normalised yet."""
        mixed_BLD, cache = self.attention(self.attention_norm(x_BLD), segments_BL, positions_BL, cache, places)
        x_BLD = constrain(x_BLD + mixed_BLD, "BLD")
        return constrain(x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD)), "BLD"), cache


class Decoder(nnx.Module):
    """Maps tokens to hidden states, which a product with `head_DV` turns into logits.

    Args:
        cfg: The shape of the model.
        rngs: Random keys for the initial parameters.
        feed_forward: Makes the feed-forward part of a layer from `cfg` and random keys; by default the one that `cfg` names.
    """

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs, feed_forward: FeedForward | None = None):
        init = nnx.initializers.normal(cfg.std, jnp.float32)
        self.cfg = cfg
        self.embedding_VD = nnx.Param(init(rngs.params(), (cfg.vocab_size, cfg.d_model)))
        self.dense_layers = stacked(cfg, cfg.n_dense_layers, SwiGLU, rngs) if cfg.n_expert_layers and cfg.n_dense_layers else None
        part = feed_forward or FEED_FORWARD[cfg.feed_forward]
        self.layers = stacked(cfg, cfg.n_expert_layers or cfg.n_layers, part, rngs)
        self.final_norm = RMSNorm(cfg.d_model, "D", cfg.norm_eps)
        self.unembedding_DV = None if cfg.tied_embeddings else nnx.Param(init(rngs.params(), (cfg.d_model, cfg.vocab_size)))

    @property
    def head_DV(self) -> jax.Array:
        """The output matrix, float32; Quantized if the parameters are. With tied embeddings it is the transposed embedding."""
        return self.embedding_VD[...].T if self.unembedding_DV is None else self.unembedding_DV[...]

    def __call__(self, tokens_BL: jax.Array, segments_BL: jax.Array, positions_BL: jax.Array) -> jax.Array:
        """Computes the hidden states of whole rows.

        Args:
            tokens_BL: Token ids, int32.
            segments_BL: Number of the document that each token belongs to within its row, int32; 0 is padding.
            positions_BL: Position of each token within its document, int32.

        Returns:
            Normalised hidden states (B, L, D) of the compute dtype. What `routing` says of each layer with experts, stacked, is left in a
            variable for `pop_routed`.
        """
        cfg = self.cfg
        x_BLD, routed = constrain(embed(self.embedding_VD[...], tokens_BL, cfg.dtype), "BLD"), dict[str, jax.Array]()
        for layers in self._stacks().values():
            graph, stack_of_weights = nnx.split(layers)

            def body(x_BLD: jax.Array, weights: Any, graph: Any = graph) -> tuple[jax.Array, dict[str, jax.Array]]:
                layer = nnx.merge(graph, weights)
                x_BLD, _ = layer(x_BLD, segments_BL, positions_BL, None, None)
                return x_BLD, routing(layer, segments_BL > 0)

            n = _length(stack_of_weights)
            if cfg.n_layers <= WRITTEN_OUT and cfg.remat == "none" and not weights_split():  # a tenth faster on XLA's CPU backend
                found = list[dict[str, jax.Array]]()
                for weights in unstack(stack_of_weights, n):
                    x_BLD, of_layer = body(x_BLD, weights)
                    found.append(of_layer)
                routed = stack(found)
            else:
                x_BLD, routed = jax.lax.scan(jax.checkpoint(body, policy=REMAT[cfg.remat], prevent_cse=False), x_BLD, stack_of_weights)
        self.routed = Routed(routed)
        return self.final_norm(x_BLD)

    def _stacks(self) -> dict[str, Layer]:
        return {name: layers for name in STACKS if (layers := getattr(self, name)) is not None}

    def extend(
        self,
        tokens_BL: jax.Array,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        layers: Mapping[str, Sequence[Params]],
        cache: Sequence[Cache],
        places: Places,
    ) -> tuple[jax.Array, list[Cache]]:
        """Computes the hidden states of tokens that follow the tokens in a key-value cache.

        Args:
            tokens_BL: Token ids, int32.
            segments_BL: Segment of each token, int32.
            positions_BL: Position of each token, int32; in a paged cache below 0 for padding.
            layers: The parameters of each layer, from `layers_of`. They are used instead of the decoder's own layers.
            cache: Keys and values of each layer.
            places: Where rows have their places in the cache.

        Returns:
            Normalised hidden states (B, L, D), and the cache of each layer with the new tokens added.
        """
        kept = list[Any]()
        graphs = {name: nnx.split(of_stack)[0] for name, of_stack in self._stacks().items()}
        in_order = [(graphs[name], weights) for name in graphs for weights in layers[name]]
        x_BLD = constrain(embed(self.embedding_VD[...], tokens_BL, self.cfg.dtype), "BLD")
        for (graph, weights), of_layer in zip(in_order, cache, strict=True):
            layer = nnx.merge(graph, nnx.State(weights))
            x_BLD, written = layer(x_BLD, segments_BL, positions_BL, of_layer, places)
            kept.append(written)
        return self.final_norm(x_BLD), kept


def stacked(cfg: ModelConfig, n: int, feed_forward: FeedForward, rngs: nnx.Rngs) -> Layer:
    """Returns `n` layers as one, whose parameters are stacked."""
    return nnx.split_rngs(splits=n)(nnx.vmap(lambda keys: Layer(cfg, keys, feed_forward)))(rngs)


def layers_of(params: Params) -> dict[str, list[Params]]:
    """Returns the parameters of each layer, by the name of its stack."""
    return {name: unstack(params[name], _length(params[name])) for name in STACKS if name in params}


def _length(stack_of_weights: Any) -> int:
    return len(jax.tree.leaves(stack_of_weights)[0])


def stack(layers: list[T]) -> T:
    """Stacks the arrays of several trees into one tree."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def unstack(stacked: Any, n: int) -> list[Any]:
    """Splits a tree of stacked arrays into the trees of its `n` layers. The gradient is one stack, not a sum of n padded stacks."""
    return [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(n)]


unstack.defvjp(
    lambda stacked, n: (unstack(stacked, n), None),
    lambda n, _, d_layers: (stack(d_layers),),
)

Build = Callable[[ModelConfig, nnx.Rngs], Decoder]


@lru_cache(maxsize=8)  # tracing a model takes as long as reading a prompt
def graph_and_shapes(cfg: ModelConfig, build: Build = Decoder) -> tuple[Any, Params]:
    """Returns the static part of a model, and its parameters as ShapeDtypeStructs. Nothing is allocated."""
    graph, state = nnx.split(nnx.eval_shape(lambda: build(cfg, nnx.Rngs(0))))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), nnx.to_pure_dict(state))
    return graph, adapter_shapes(shapes, cfg)


def init_params(cfg: ModelConfig, seed: int, build: Build = Decoder) -> Params:
    """Returns initial parameters, float32. Call it under jit with out_shardings, so that every parameter is created sharded."""
    params = jax.tree.map(lambda x: x.astype(jnp.float32), nnx.to_pure_dict(nnx.state(build(cfg, nnx.Rngs(random_key(seed))))))
    return fresh_adapters(params, cfg, random_key(seed))


def random_key(seed: int) -> jax.Array:
    """Returns the random key of a seed below 2^64. jax.random.key itself ignores the upper half of a seed, unless 64-bit types are on."""
    return jax.random.wrap_key_data(jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32), impl="threefry2x32")


def bind(graph: Any, params: Params) -> Decoder:
    """Returns the model with these parameters. `graph` comes from `graph_and_shapes`."""
    return nnx.merge(graph, nnx.State(params))
