"""Text from a model: batched prompts, a key-value cache, greedy or sampled by temperature and top-p.

Prompts of different lengths are padded on the left, so that all rows write to the same place of the cache; what a row may
see and its positions leave the padding out. Each row has a random key of its own: its text does not depend on its neighbours.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from varietas.model.attention import Cache
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, empty_cache, graph_and_shapes, unstack
from varietas.model.sharding import matrices

ROUND = 64  # cache lengths are multiples of it, so that few programs are compiled


class Weights(NamedTuple):
    """Parameters as generation reads them, once a token: matrices of the compute dtype, layers one by one."""

    others: Params  # all but the layers
    layers: list[Params]


@partial(jax.jit, static_argnames="cfg")
def weights_of(params: Params, cfg: ModelConfig) -> Weights:
    """A copy of the parameters; the tokens are the same as with casting them where they are used, as training does."""
    cast = jax.tree.map(lambda x, matrix: x.astype(cfg.dtype) if matrix else x, params, matrices(params))
    layers = cast.pop("layers")
    return Weights(cast, unstack(layers, cfg.n_layers))


def generate(
    weights: Weights,
    cfg: ModelConfig,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    eos_id: int,
    mesh: Mesh,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    n_pieces: int | None = None,
    build: Build = Decoder,
) -> Iterator[list[int | None]]:
    """Yields the next token of each prompt (None after its end of sequence), up to max_tokens times.

    temperature 0 is greedy. n_pieces: only ids below it are chosen, where the model has more than the tokenizer.
    top_p: sample from the smallest set of tokens that holds this much probability (Holtzman et al., 2020).
    Raises ValueError on an empty prompt or one that leaves no room in the context.
    """
    if not prompts or not all(prompts):
        raise ValueError("there is no prompt, or one holds no token; begin each with bos")
    longest = max(len(prompt) for prompt in prompts)
    if longest + max_tokens > cfg.max_seq_len:
        room = cfg.max_seq_len - longest
        raise ValueError(
            f"a prompt of {longest} tokens and {max_tokens} new ones exceed the model's context of {cfg.max_seq_len}; "
            + (f"ask for {room} or fewer" if room > 0 else "shorten the prompt")
        )
    if not (temperature >= 0 and 0 < top_p <= 1):
        raise ValueError(f"temperature={temperature} must be 0 or more and top_p={top_p} above 0 and at most 1")
    graph, _ = graph_and_shapes(cfg, build)
    length = -(-longest // ROUND) * ROUND
    size = length + -(-max_tokens // ROUND) * ROUND
    tokens = np.zeros((len(prompts), length), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, length - len(prompt) :] = prompt
    padding = jnp.array([length - len(prompt) for prompt in prompts], jnp.int32)
    keys, empty = _start(jax.random.key(seed), cfg, len(prompts), size)

    def advance(cache: list[Cache], tokens_BL: jax.Array, offset: int) -> tuple[jax.Array, list[Cache]]:
        with jax.set_mesh(mesh):  # not around the loop: a generator would leave it set for its caller
            return _advance(graph, weights, cache, tokens_BL, padding, keys, jnp.int32(offset), temperature, top_p, n_pieces)

    chosen, cache = advance(empty, jnp.asarray(tokens), 0)
    ended = np.zeros(len(prompts), bool)
    for n in range(max_tokens):
        values = np.asarray(chosen)  # waits, so that never more than one program is queued
        ended |= values == eos_id
        yield [None if end else int(value) for value, end in zip(values, ended, strict=True)]
        if ended.all() or n + 1 == max_tokens:
            return
        chosen, cache = advance(cache, chosen[:, None], length + n)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: jax.Array, cfg: ModelConfig, batch: int, length: int) -> tuple[jax.Array, list[Cache]]:
    """A random key for each row, and a cache."""
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(batch)), empty_cache(cfg, batch, length)


@partial(jax.jit, static_argnames=("graph", "temperature", "top_p", "n_pieces"), donate_argnames="cache")
def _advance(
    graph: Any,
    weights: Weights,
    cache: list[Cache],
    tokens_BL: jax.Array,
    padding_B: jax.Array,
    keys_B: jax.Array,
    offset: jax.Array,
    temperature: float,
    top_p: float,
    n_pieces: int | None,
) -> tuple[jax.Array, list[Cache]]:
    """The token of each row that follows these, which are written to the cache at `offset`, and the cache."""
    L = tokens_BL.shape[1]
    start = offset if L == 1 else 0  # the prompts come first; a plain 0 lets attention leave out the keys that come later
    place = start + jnp.arange(L)
    segments_BL = (place >= padding_B[:, None]).astype(jnp.int32)
    segments_BS = (jnp.arange(cache[0][0].shape[1]) >= padding_B[:, None]).astype(jnp.int32)
    decoder = bind(graph, {**weights.others, "layers": weights.layers[0]})
    positions_BL = jnp.maximum(place - padding_B[:, None], 0)
    hidden, cache = decoder.extend(tokens_BL, segments_BL, positions_BL, weights.layers, cache, segments_BS, start)
    head = decoder.head_DV.astype(hidden.dtype)
    logits = jnp.einsum("BD,DV->BV", hidden[:, -1], head, preferred_element_type=jnp.float32)
    return choose(logits[:, :n_pieces], jax.vmap(jax.random.fold_in)(keys_B, start + L - padding_B), temperature, top_p), cache


def choose(logits_BV: jax.Array, keys_B: jax.Array, temperature: float, top_p: float) -> jax.Array:
    """A token for each row (int32)."""
    if temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    scaled = logits_BV / temperature
    if top_p < 1:
        ranked = -jnp.sort(-jax.nn.softmax(scaled), axis=-1)
        before = jnp.cumsum(ranked, axis=-1) - ranked  # probability of all more likely tokens
        least = jnp.min(jnp.where(before < top_p, ranked, jnp.inf), axis=-1, keepdims=True)
        scaled = jnp.where(jax.nn.softmax(scaled) >= least, scaled, -jnp.inf)
    return jax.vmap(jax.random.categorical)(keys_B, scaled).astype(jnp.int32)
