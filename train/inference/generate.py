"""Token by token from a model: batched prompts, a key-value cache, greedy or sampled by temperature and top-p.

Prompts of different lengths are padded on the left, so that all rows write to the same place of the cache; what a row may see and its
positions leave the padding out. Each row has its own random key, so its text does not depend on the other rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from varietas.model.attention.cache import Cache, Contiguous, empty_cache
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, graph_and_shapes, layers_of, random_key
from varietas.model.linear.product import quantized_product
from varietas.model.linear.quantized import is_quantized
from varietas.model.sharding import matrices, on_all
from varietas.train.inference.network import Network
from varietas.train.inference.sampling import Sampling, check_lengths

ROUND = 64  # cache lengths are multiples of it, so that few programs are compiled


class Weights(NamedTuple):
    """Parameters as generation reads them, once a token: matrices of the compute dtype, layers one by one."""

    others: Params  # all but the layers
    layers: dict[str, list[Params]]  # by the name of their stack


@dataclass(frozen=True)
class Generator:
    """A network made ready to generate."""

    weights: Weights
    config: ModelConfig
    mesh: Mesh
    build: Build = Decoder


class Drawn(NamedTuple):
    """How tokens are drawn at random, for all rows or for each (B,). These are arrays, so that other values need no other program."""

    temperature: jax.Array  # float32; 0 takes the likeliest token
    top_p: jax.Array  # float32


class _Prompts(NamedTuple):
    """What every step needs to know of the rows."""

    padding_B: jax.Array  # int32, tokens of padding before the prompt
    keys_B: jax.Array  # random keys
    drawn: Drawn | None  # None: always the likeliest token


def generator(network: Network) -> Generator:
    """Makes a network ready to generate. The weights are a copy: drop the network if its memory is needed."""
    return Generator(_weights(network.params, network.config), network.config, network.mesh, network.build)


@partial(jax.jit, static_argnames="cfg")
def _weights(params: Params, cfg: ModelConfig) -> Weights:
    def narrow(path: tuple[Any, ...], x: Any, matrix: bool) -> jax.Array:
        narrower = matrix and "router" not in path[-1].key and not is_quantized(x)  # routers are computed in float32
        return x.astype(cfg.dtype) if narrower else x

    cast = jax.tree_util.tree_map_with_path(narrow, params, matrices(params), is_leaf=is_quantized)
    layers = layers_of(cast)
    return Weights({name: x for name, x in cast.items() if name not in layers}, layers)


def generate(
    model: Generator, prompts: Sequence[Sequence[int]], sampling: Sampling, ends: Sequence[int], n_pieces: int | None = None
) -> Iterator[list[int | None]]:
    """Generates tokens for several prompts at once.

    Args:
        model: From `generator`.
        prompts: Token ids of each prompt, bos first.
        sampling: How tokens are chosen, and how many.
        ends: The tokens that end a text.
        n_pieces: Only ids below it are chosen, where the model's vocabulary is larger than the tokenizer's.

    Yields:
        The next token of each prompt, None once it has ended.

    Raises:
        ValueError: If a prompt is empty or too long, or a sampling value is out of its range.
    """
    cfg = model.config
    check_lengths(prompts, sampling.max_tokens, cfg.max_seq_len)
    sampling.check()
    graph, _ = graph_and_shapes(cfg, model.build)
    length = -(-max(map(len, prompts)) // ROUND) * ROUND
    size = length + -(-sampling.max_tokens // ROUND) * ROUND
    tokens = np.zeros((len(prompts), length), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, length - len(prompt) :] = prompt
    keys, empty = _start(random_key(sampling.seed), cfg, len(prompts), size)
    drawn = Drawn(jnp.float32(sampling.temperature), jnp.float32(sampling.top_p)) if sampling.temperature else None
    rows = _Prompts(jnp.array([length - len(prompt) for prompt in prompts], jnp.int32), keys, drawn)

    def advance(cache: list[Cache], tokens_BL: jax.Array, offset: int) -> tuple[jax.Array, list[Cache]]:
        with jax.set_mesh(model.mesh):  # not around the loop: a generator would leave it set for its caller
            return _advance(graph, n_pieces, model.weights, cache, tokens_BL, rows, jnp.int32(offset))

    chosen, cache = advance(empty, jnp.asarray(tokens), 0)
    ended = np.zeros(len(prompts), bool)
    for n in range(sampling.max_tokens):
        values = np.asarray(chosen)  # waits, so that at most one program is queued
        ended |= np.isin(values, ends)
        yield [None if end else int(value) for value, end in zip(values, ended, strict=True)]
        if ended.all() or n + 1 == sampling.max_tokens:
            return
        chosen, cache = advance(cache, chosen[:, None], length + n)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: jax.Array, cfg: ModelConfig, batch: int, length: int) -> tuple[jax.Array, list[Cache]]:
    """Returns a random key for each row, and an empty cache."""
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(batch)), empty_cache(cfg, batch, length)


@partial(jax.jit, static_argnames=("graph", "n_pieces"), donate_argnames="cache")
def _advance(
    graph: Any,
    n_pieces: int | None,
    weights: Weights,
    cache: list[Cache],
    tokens_BL: jax.Array,
    rows: _Prompts,
    offset: jax.Array,
) -> tuple[jax.Array, list[Cache]]:
    """Writes these tokens to the cache at `offset` and chooses the token of each row that follows them.

    `n_pieces` is the number of pieces to choose from; None for all.
    """
    L = tokens_BL.shape[1]
    start = offset if L == 1 else 0  # the prompts come first; a plain 0 lets attention leave out the keys that come later
    place = start + jnp.arange(L)
    segments_BL = (place >= rows.padding_B[:, None]).astype(jnp.int32)
    segments_BS = (jnp.arange(cache[0][0].shape[1]) >= rows.padding_B[:, None]).astype(jnp.int32)
    decoder = decoder_of(graph, weights)
    positions_BL = jnp.maximum(place - rows.padding_B[:, None], 0)
    hidden, cache = decoder.extend(tokens_BL, segments_BL, positions_BL, weights.layers, cache, Contiguous(segments_BS, start))
    logits = logits_of(decoder, hidden[:, -1])
    keys_B = jax.vmap(jax.random.fold_in)(rows.keys_B, start + L - rows.padding_B)
    return on_all(choose(logits[:, :n_pieces], keys_B, rows.drawn)), cache


def decoder_of(graph: Any, weights: Weights) -> Decoder:
    """Returns the model whose `extend` is then given `weights.layers`. `graph` comes from `graph_and_shapes`."""
    return bind(graph, {**weights.others, **{name: layers[0] for name, layers in weights.layers.items()}})


def logits_of(decoder: Decoder, hidden: jax.Array) -> jax.Array:
    """Returns the logits (…, V), float32, of hidden states (…, D)."""
    head: Any = decoder.head_DV
    if is_quantized(head):
        return quantized_product(hidden, head, dtype=jnp.float32)
    return jnp.einsum("...D,DV->...V", hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)


def choose(logits_BV: jax.Array, keys_B: jax.Array, drawn: Drawn | None) -> jax.Array:
    """Chooses a token for each row; returns int32 (B,). Without `drawn`, that is always the likeliest."""
    likeliest = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    if drawn is None:
        return likeliest
    temperature, top_p = (x[..., None] for x in drawn)

    def nucleus(scaled: jax.Array) -> jax.Array:
        """Leaves out the tokens beyond top-p."""
        ranked = -jnp.sort(-jax.nn.softmax(scaled), axis=-1)
        before = jnp.cumsum(ranked, axis=-1) - ranked  # probability of all more likely tokens
        least = jnp.min(jnp.where(before < top_p, ranked, jnp.inf), axis=-1, keepdims=True)
        return jnp.where((jax.nn.softmax(scaled) >= least) | (top_p >= 1), scaled, -jnp.inf)

    def random() -> jax.Array:
        scaled = logits_BV / jnp.where(temperature > 0, temperature, 1)
        scaled = jax.lax.cond(jnp.any(top_p < 1), nucleus, lambda scaled: scaled, scaled)  # sorts only if it must
        return jnp.where(temperature[..., 0] > 0, jax.vmap(jax.random.categorical)(keys_B, scaled), likeliest).astype(jnp.int32)

    return jax.lax.cond(jnp.any(temperature > 0), random, lambda: likeliest)
