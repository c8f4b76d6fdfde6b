"""The program that serves. It extends rows of a paged cache by some tokens each, and chooses the token that follows in each row.

It is compiled for a few shapes only, all before the first request: one token each of up to so many rows, and a chunk of one row's prompt.
Its arguments are arrays, so that no request needs another program.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from varietas.model.attention.cache import Cache, Paged, empty_pages, on_devices
from varietas.model.config import ModelConfig
from varietas.model.decoder import graph_and_shapes, random_key
from varietas.model.sharding import on_all
from varietas.train.inference.generate import Drawn, Generator, Weights, choose, decoder_of, logits_of
from varietas.train.memory import free_on_each
from varietas.train.serving.pages import PAGE, pages_for

CHUNKS = (16, 64, 128, 256)  # tokens of a prompt that are computed at once; the smaller ones are for the end of a prompt
MOST_TOP = 20  # likeliest tokens that are told, as many as OpenAI allows
COMPILERS = 4  # programs that are compiled at the same time
SHARE = 0.7  # of the memory that is free beside the parameters, for the cache


class Rows(NamedTuple):
    """What the program is told of its rows, as arrays of numpy. L is 1 or one of CHUNKS, M the pages of the longest text."""

    tokens_BL: np.ndarray  # int32
    targets_BL: np.ndarray  # int32, the token after each, if it is known
    positions_BL: np.ndarray  # int32, -1 for padding, which comes last
    table_BM: np.ndarray  # int32, the pages of each row
    keys_B2: np.ndarray  # uint32, from `key_of`
    temperature_B: np.ndarray  # float32
    top_p_B: np.ndarray  # float32


class Likelihoods(NamedTuple):
    """Natural logarithms of probabilities at temperature 1, over the whole vocabulary."""

    own: Any  # float32 (…), of the token in question
    top: Any  # float32 (…, n), of the likeliest tokens, the first one most
    ids: Any  # int32 (…, n), which tokens these are


class Found(NamedTuple):
    """What the program returns. Likelihoods are zeros where they were not asked for."""

    chosen_B: Any  # int32, the token after the last one of each row
    of_chosen: Likelihoods  # (B,)
    of_targets: Likelihoods | None  # (B, L); None if L is 1


def empty_rows(batch: int, length: int, context: int) -> Rows:
    """Returns arrays for rows that are not there."""
    return Rows(
        np.zeros((batch, length), np.int32),
        np.zeros((batch, length), np.int32),
        np.full((batch, length), -1, np.int32),
        np.zeros((batch, pages_for(context)), np.int32),
        np.zeros((batch, 2), np.uint32),
        np.zeros(batch, np.float32),
        np.ones(batch, np.float32),
    )


def batches(most: int) -> list[int]:
    """Returns for how many rows the program is compiled: 1, 4, 16 … and `most`."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(4 * sizes[-1], most))
    return sizes


def shapes(most: int, context: int) -> Iterator[tuple[int, int]]:
    """Yields the rows and tokens of each shape that the program is compiled for."""
    yield from product(batches(most), (1,))
    yield from ((1, length) for length, shorter in zip(CHUNKS, (1, *CHUNKS), strict=False) if shorter < context)


@partial(jax.jit, static_argnames=("graph", "n_pieces"), donate_argnames="cache")
def advance(
    graph: Any, n_pieces: int, weights: Weights, cache: list[Cache], rows: Any, of_chosen: Any, of_targets: Any
) -> tuple[Found, list[Cache]]:
    """Adds the tokens of all rows to the cache, and chooses the next one of each.

    Args:
        graph: From `graph_and_shapes`.
        n_pieces: Only ids below it are chosen.
        weights: From `inference.generate.generator`.
        cache: From `empty_pages`. It is overwritten.
        rows: `Rows`.
        of_chosen: Whether the likelihoods of the chosen tokens are asked for, bool ().
        of_targets: Whether those of the targets are, bool ().
    """
    decoder = decoder_of(graph, weights)
    segments_BL = (rows.positions_BL >= 0).astype(jnp.int32)
    hidden, cache = decoder.extend(rows.tokens_BL, segments_BL, rows.positions_BL, weights.layers, cache, Paged(rows.table_BM))
    cache = on_devices(cache)
    last_B1 = jnp.maximum(segments_BL.sum(1, keepdims=True) - 1, 0)
    logits_BV = logits_of(decoder, jnp.take_along_axis(hidden, last_B1[:, :, None], axis=1)[:, 0])
    n_before_B = jnp.take_along_axis(rows.positions_BL, last_B1, axis=1)[:, 0] + 1
    keys_B = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(rows.keys_B2, impl="threefry2x32"), n_before_B)
    chosen_B = choose(logits_BV[:, :n_pieces], keys_B, Drawn(rows.temperature_B, rows.top_p_B))
    found = Found(chosen_B, _if(of_chosen, lambda: _likelihoods(logits_BV, chosen_B, n_pieces)), None)
    if rows.tokens_BL.shape[1] > 1:
        told = _if(of_targets, lambda: _likelihoods(logits_of(decoder, hidden), rows.targets_BL, n_pieces))
        found = found._replace(of_targets=told)
    return jax.tree.map(on_all, found), cache


def _if(wanted: jax.Array, compute: Any) -> Likelihoods:
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
    return jax.lax.cond(wanted, compute, lambda: zeros)


def _likelihoods(logits: jax.Array, tokens: jax.Array, n_pieces: int) -> Likelihoods:
    """Returns the likelihoods of tokens (…), and of the likeliest ones, from logits (…, V)."""
    logs = jax.nn.log_softmax(logits)
    top, ids = jax.lax.top_k(logs[..., :n_pieces], min(MOST_TOP, n_pieces))
    return Likelihoods(jnp.take_along_axis(logs, tokens[..., None], axis=-1)[..., 0], top, ids.astype(jnp.int32))


class Programs:
    """The program compiled for all its shapes, and the cache that it works on.

    Args:
        model: From `inference.generate.generator`.
        n_pieces: Only ids below it are chosen.
        n_pages: Pages of the cache.
        batch_size: The most rows of a step.
        context: The longest text, in tokens.
    """

    def __init__(self, model: Generator, n_pieces: int, n_pages: int, batch_size: int, context: int):
        graph, _ = graph_and_shapes(model.config, model.build)
        self._weights, no = model.weights, np.array(False)
        with jax.set_mesh(model.mesh):
            self._cache = jax.jit(empty_pages, static_argnums=(0, 1, 2))(model.config, n_pages + 1, PAGE)
            lowered = {
                shape: advance.lower(graph, n_pieces, self._weights, self._cache, empty_rows(*shape, context), no, no)
                for shape in shapes(batch_size, context)
            }
        with ThreadPoolExecutor(COMPILERS) as beside:
            self._compiled = dict(zip(lowered, beside.map(lambda program: program.compile(), lowered.values()), strict=True))

    def start(self, rows: Rows, of_chosen: bool, of_targets: bool) -> Found:
        """Starts a step, see `advance`, and returns arrays that can be waited for."""
        compiled = self._compiled[rows.tokens_BL.shape]
        found, self._cache = compiled(self._weights, self._cache, rows, np.array(of_chosen), np.array(of_targets))
        return found


def key_of(seed: int, row: int) -> np.ndarray:
    """Returns the random key of a text, uint32 (2,): that of row `row` in `inference.generate` with this seed."""
    return np.asarray(jax.random.key_data(jax.random.fold_in(random_key(seed), row)))


def token_bytes(cfg: ModelConfig, mesh: Mesh) -> int:
    """Returns how many bytes a device needs to keep a token in the cache."""
    cache = jax.eval_shape(partial(empty_pages, cfg, 1, 1))
    split = 1 if cfg.kv_rank else mesh.shape["tensor"]
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(cache)) // split


def pages_that_fit(cfg: ModelConfig, mesh: Mesh, asked: int | None, batch_size: int) -> int:
    """Returns how many pages the cache has.

    Args:
        cfg: The shape of the model.
        mesh: Where its parameters are.
        asked: For how many tokens the user asks; None for as many as `batch_size` texts may have, if there is memory.
        batch_size: How many texts are continued at once.

    Raises:
        MemoryError: If there is not enough memory.
    """
    free, where, _ = free_on_each(mesh)
    each = token_bytes(cfg, mesh)
    most = int(SHARE * free) // (each * PAGE)
    pages = pages_for(asked or batch_size * pages_for(cfg.max_seq_len) * PAGE)
    if most < (pages if asked else 1):
        tokens, gib = asked or PAGE, 2**30
        raise MemoryError(
            f"a cache for {tokens:,} tokens needs {tokens * each / gib:,.2f} GiB on a device, but {where} has {free / gib:,.2f} GiB free, "
            f"of which {SHARE:.0%} may be used; lower --cache_tokens, or round the weights with --quantize"
        )
    return min(pages, most)
